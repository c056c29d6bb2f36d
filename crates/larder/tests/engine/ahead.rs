//! Loading ahead of expiry.

use crate::support::{Gate, MINUTE, Row, alone_by_hand, node_with, policy};
use larder::{Cache, Fetched, ManualClock, Outcome, Policy, Tier, key};
use larder_testkit::{RedisServer, assert_eventually};
use std::convert::Infallible;
use std::sync::Arc;
use std::time::Duration;
use tokio::task::JoinSet;

const SOON: Duration = Duration::from_secs(10);
const SECOND: Duration = Duration::from_secs(1);

fn eager() -> Policy {
    policy().eager_refresh(10.0)
}

async fn read(cache: &Cache, policy: Policy, row: &Row) -> Fetched<u64> {
    let row = row.clone();
    cache.tenant("acme").fetch(key!("k"), policy, move || row.load()).await.unwrap()
}

#[tokio::test]
async fn a_value_that_takes_long_to_load_is_loaded_once_before_it_expires() {
    // 22
    let ((cache, clock), row, gate) = (alone_by_hand().await, Row::default(), Gate::new());
    let (slow, time) = (row.clone(), clock.clone());
    let load = move || async move {
        time.advance(5 * SECOND);
        Ok::<_, Infallible>(slow.read())
    };
    cache.tenant("acme").fetch(key!("k"), eager(), load).await.unwrap();
    row.write();
    // Nearly at its end, compared with the time that its load took: all but certain at each read.
    clock.advance(MINUTE - SECOND / 10);
    let mut readers = JoinSet::new();
    for _ in 0..200 {
        let (acme, load) = (cache.tenant("acme"), gate.load(&row));
        readers.spawn(async move { acme.fetch(key!("k"), eager(), move || load).await.unwrap() });
    }
    for hit in readers.join_all().await {
        assert_eq!((hit.status.outcome, *hit.value), (Outcome::Hit, 0), "nobody waits for it");
    }
    gate.reached().await;
    gate.open();
    assert_eventually!(cache.stats().flights == 0, SOON, "the load ends");
    assert_eq!(row.loads(), 2, "one for all");
    clock.advance(30 * SECOND);
    let hit = read(&cache, eager(), &row).await;
    assert_eq!((hit.status.outcome, *hit.value), (Outcome::Hit, 1));
}

#[tokio::test]
async fn a_value_is_not_loaded_ahead_where_nobody_asked_for_that_or_it_takes_no_time() {
    for policy in [policy(), eager()] {
        let ((cache, clock), row) = (alone_by_hand().await, Row::default());
        read(&cache, policy.clone(), &row).await;
        clock.advance(MINUTE - Duration::from_millis(1));
        for _ in 0..100 {
            assert_eq!(read(&cache, policy.clone(), &row).await.status.outcome, Outcome::Hit);
        }
        assert_eq!((row.loads(), cache.stats().flights), (1, 0));
    }
}

#[tokio::test]
async fn a_load_ahead_that_fails_leaves_the_value_in_place() {
    let ((cache, clock), row) = (alone_by_hand().await, Row::default());
    let (slow, time) = (row.clone(), clock.clone());
    let load = move || async move {
        time.advance(5 * SECOND);
        Ok::<_, Infallible>(slow.read())
    };
    let acme = cache.tenant("acme");
    acme.fetch(key!("k"), eager(), load).await.unwrap();
    clock.advance(MINUTE - SECOND / 10);
    let failing = || acme.fetch::<u64, _, _, _>(key!("k"), eager(), || async { Err("down") });
    while cache.stats().total.load_errors == 0 {
        assert_eq!(failing().await.unwrap().status.outcome, Outcome::Hit);
        tokio::task::yield_now().await;
    }
    for _ in 0..100 {
        assert_eq!(failing().await.unwrap().status.outcome, Outcome::Hit);
    }
    assert_eventually!(cache.stats().flights == 0, SOON, "nothing is left of it");
    assert_eq!(cache.stats().total.load_errors, 1, "not again at once");
}

/// Ten seconds, which a load of a third of a second comes before by up to a minute.
fn hot(tiers: larder::Tiers) -> Policy {
    Policy::ttl(10 * SECOND).jitter(0.0).eager_refresh(10.0).tiers(tiers)
}

/// Reads by a load that takes a third of a second of the cache's clock.
async fn read_slowly(
    cache: &Cache,
    clock: &Arc<ManualClock>,
    tiers: larder::Tiers,
    row: &Row,
) -> Fetched<u64> {
    let (row, clock) = (row.clone(), Arc::clone(clock));
    let load = move || async move {
        clock.advance(3 * SECOND / 10);
        Ok::<_, Infallible>(row.read())
    };
    cache.tenant("acme").fetch(key!("k"), hot(tiers), load).await.unwrap()
}

#[tokio::test]
async fn a_value_in_redis_is_loaded_ahead_also_where_memory_is_not_used() {
    // 21
    let (redis, row) = (RedisServer::start(), Row::default());
    let clock = Arc::new(ManualClock::default());
    let node = || node_with(&redis, |builder| builder.clock(clock.clone()));
    let (one, other) = (node().await, node().await);
    read_slowly(&one, &clock, larder::Tiers::Redis, &row).await;
    row.write();
    assert_eventually!(
        *read_slowly(&other, &clock, larder::Tiers::Redis, &row).await.value == 1,
        SOON,
        "the other node loads ahead, and both read that"
    );
    let hit = read_slowly(&one, &clock, larder::Tiers::Redis, &row).await.status;
    assert_eq!((hit.outcome, hit.tier), (Outcome::Hit, Tier::Redis));
    assert_eq!((one.stats().entries, other.stats().entries), (0, 0));
}
