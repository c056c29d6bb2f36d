//! Warming, and values that are loaded again before they expire.

use crate::support::{Row, alone, alone_by_hand, node, policy};
use larder::{Cache, Outcome, Tier, key, warm};
use larder_testkit::RedisServer;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

const SECOND: Duration = Duration::from_secs(1);

async fn refresh(cache: &Cache, row: &Row, below: Duration) {
    let row = row.clone();
    cache.tenant("acme").refresh(key!("k"), policy(), below, move || row.load()).await.unwrap();
}

async fn read(cache: &Cache, row: &Row) -> larder::Fetched<u64> {
    let row = row.clone();
    cache.tenant("acme").fetch(key!("k"), policy(), move || row.load()).await.unwrap()
}

#[tokio::test]
async fn no_more_jobs_run_at_once_than_asked_for() {
    let (cache, running, most) =
        (alone().await, Arc::new(AtomicUsize::new(0)), Arc::new(AtomicUsize::new(0)));
    let jobs = (0..50).map(|i| {
        let (acme, running, most) = (cache.tenant("acme"), running.clone(), most.clone());
        move || async move {
            let load = move || async move {
                most.fetch_max(running.fetch_add(1, Ordering::SeqCst) + 1, Ordering::SeqCst);
                tokio::task::yield_now().await;
                running.fetch_sub(1, Ordering::SeqCst);
                if i == 7 { Err("the seventh fails") } else { Ok(i) }
            };
            acme.get_or_load(key!("k", i), policy(), load).await
        }
    });
    let mut seen = 0;
    let warmed = warm(jobs, 4, |ended| seen = ended).await;
    assert_eq!((warmed.done, warmed.failed, seen), (49, 1, 50));
    assert!(most.load(Ordering::SeqCst) <= 4);
}

#[tokio::test]
async fn a_value_is_loaded_again_only_when_little_of_it_is_left() {
    let ((cache, clock), row) = (alone_by_hand().await, Row::default());
    read(&cache, &row).await;
    refresh(&cache, &row, 10 * SECOND).await;
    assert_eq!(row.loads(), 1);
    clock.advance(55 * SECOND);
    row.write();
    refresh(&cache, &row, 10 * SECOND).await;
    assert_eq!(row.loads(), 2);
    let hit = read(&cache, &row).await;
    assert_eq!((hit.status.outcome, hit.status.ttl, *hit.value), (Outcome::Hit, 60 * SECOND, 1));
}

#[tokio::test]
async fn of_two_nodes_that_refresh_one_loads() {
    let redis = RedisServer::start();
    let (one, other, row) = (node(&redis).await, node(&redis).await, Row::default());
    read(&one, &row).await;
    // The policy's TTL is a minute: half an hour is never left, fifty seconds are. The other node has nothing in memory,
    // so it asks Redis.
    row.write();
    refresh(&one, &row, 1800 * SECOND).await;
    assert_eq!(row.loads(), 2);
    refresh(&other, &row, 50 * SECOND).await;
    assert_eq!(row.loads(), 2);
    assert_eq!(*read(&one, &row).await.value, 1);
}

#[tokio::test]
async fn a_failing_refresh_leaves_the_value_in_place() {
    let redis = RedisServer::start();
    let (one, other, row) = (node(&redis).await, node(&redis).await, Row::default());
    read(&one, &row).await;
    let failing = one.tenant("acme");
    let failed =
        failing.refresh::<u64, _, _, _>(key!("k"), policy(), 1800 * SECOND, || async { Err("down") }).await;
    assert!(failed.is_err());
    assert_eq!(read(&one, &row).await.status.tier, Tier::Memory);
    assert_eq!(read(&other, &row).await.status.tier, Tier::Redis);
    assert_eq!(row.loads(), 1);
}
