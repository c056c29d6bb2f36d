//! How long a value is fresh, and making that longer without a load.

use crate::support::{MINUTE, Row, alone_by_hand, node, policy};
use larder::{Cache, Outcome, Policy, Selector, Tier, Tiers, key, prefix, tag};
use larder_testkit::{RedisServer, assert_eventually};
use std::time::Duration;

const SECOND: Duration = Duration::from_secs(1);

async fn read(cache: &Cache, policy: Policy, row: &Row) -> larder::Fetched<u64> {
    let row = row.clone();
    cache.tenant("acme").fetch(key!("k", 1), policy, move || row.load()).await.unwrap()
}

#[tokio::test]
async fn a_touched_value_lives_on_and_is_as_old_as_it_is() {
    let ((cache, clock), row) = (alone_by_hand().await, Row::default());
    let acme = cache.tenant("acme");
    assert!(!acme.touch(key!("k", 1), policy()).await.unwrap());
    assert_eq!(acme.ttl(key!("k", 1)).await.unwrap(), None);
    read(&cache, policy().stale_if_error(MINUTE), &row).await;
    clock.advance(50 * SECOND);
    assert_eq!(acme.ttl(key!("k", 1)).await.unwrap(), Some(10 * SECOND));
    assert!(acme.touch(key!("k", 1), policy().stale_if_error(MINUTE)).await.unwrap());
    let hit = read(&cache, policy(), &row).await.status;
    assert_eq!((hit.outcome, hit.ttl, hit.age), (Outcome::Hit, MINUTE, 50 * SECOND));
    acme.touch(key!("k", 1), Policy::ttl(SECOND)).await.unwrap();
    assert_eq!(acme.ttl(key!("k", 1)).await.unwrap(), Some(MINUTE), "never shortened");
    clock.advance(90 * SECOND);
    assert_eq!(acme.ttl(key!("k", 1)).await.unwrap(), None, "stale");
    assert!(acme.touch(key!("k", 1), policy()).await.unwrap(), "and kept: its stale time has not ended");
    assert_eq!((read(&cache, policy(), &row).await.status.outcome, row.loads()), (Outcome::Hit, 1));
    clock.advance(60 * MINUTE);
    assert!(!acme.touch(key!("k", 1), policy()).await.unwrap());
}

#[tokio::test]
async fn what_is_wrong_with_the_policy_is_said() {
    let (cache, _clock) = alone_by_hand().await;
    let refused = cache.tenant("acme").touch(key!("k"), Policy::ttl(Duration::ZERO)).await.unwrap_err();
    assert_eq!(refused.kind(), larder::ErrorKind::InvalidPolicy);
}

#[tokio::test]
async fn neither_invalidated_nor_expired_values_come_back_to_life() {
    let (cache, _clock) = alone_by_hand().await;
    let redis = RedisServer::start();
    for cache in [cache, node(&redis).await] {
        let (acme, row) = (cache.tenant("acme"), Row::default());
        let tagged = || policy().tag("t").stale_if_error(60 * MINUTE);
        let selectors: [Selector; 4] = [tag("t"), key!("k", 1).into(), prefix!("k"), larder::all()];
        for what in selectors {
            read(&cache, tagged(), &row).await;
            acme.expire(what.clone()).await.unwrap();
            assert!(acme.touch(key!("k", 1), tagged()).await.unwrap(), "{what:?}");
            assert_eq!(acme.ttl(key!("k", 1)).await.unwrap(), None, "still stale: {what:?}");
            assert!(acme.get::<u64>(key!("k", 1)).await.unwrap().is_none(), "still stale: {what:?}");
            let load = || async { Err::<u64, _>("down") };
            assert!(acme.fetch(key!("k", 1), tagged(), load).await.is_ok(), "still kept: {what:?}");
            acme.invalidate(what.clone()).await.unwrap();
            assert!(!acme.touch(key!("k", 1), tagged()).await.unwrap(), "{what:?}");
            assert!(acme.get::<u64>(key!("k", 1)).await.unwrap().is_none(), "{what:?}");
        }
    }
}

#[tokio::test]
async fn a_touched_value_lives_on_in_redis_with_its_tags() {
    // 26: with its version and its lease, not by GET and SET
    let (redis, row) = (RedisServer::start(), Row::default());
    let (one, other) = (node(&redis).await, node(&redis).await);
    let tagged = || policy().tag("t");
    read(&one, tagged(), &row).await;
    let longer = Policy::ttl(60 * MINUTE).jitter(0.0);
    assert!(other.tenant("acme").touch(key!("k", 1), &longer).await.unwrap());
    let pttl = redis.command(&["PTTL", "ld1:test:{0}:e:4:acme:k:1"]).text().parse::<u64>().unwrap();
    assert!(pttl > 59 * 60_000, "{pttl}");
    // Behind the caller's back.
    let given_back = || redis.command(&["KEYS", "*:l:*"]).items().is_empty();
    assert_eventually!(given_back(), MINUTE, "the lease is given back");
    assert!(other.tenant("acme").ttl(key!("k", 1)).await.unwrap().unwrap() > 59 * MINUTE);
    let found = read(&node(&redis).await, tagged(), &row).await.status;
    assert_eq!((found.outcome, found.tier), (Outcome::Hit, Tier::Redis));
    assert!(found.ttl > 59 * MINUTE);
    row.write();
    one.tenant("acme").invalidate(tag("t")).acked().await.unwrap();
    assert_eq!(*read(&other, tagged(), &row).await.value, 1, "it kept its tags");
    assert!(!one.tenant("acme").touch(key!("none"), &longer).await.unwrap());
    // Behind the caller's back.
    let given_back = || redis.command(&["KEYS", "*:l:*"]).items().is_empty();
    assert_eventually!(given_back(), MINUTE, "the lease is given back");
}

#[tokio::test]
async fn what_is_for_memory_only_is_touched_there() {
    let (redis, row) = (RedisServer::start(), Row::default());
    let (one, here) = (node(&redis).await, policy().tiers(Tiers::Memory));
    read(&one, here.clone(), &row).await;
    let longer = Policy::ttl(60 * MINUTE).tiers(Tiers::Memory).jitter(0.0);
    assert!(one.tenant("acme").touch(key!("k", 1), longer).await.unwrap());
    assert!(read(&one, here, &row).await.status.ttl > 59 * MINUTE);
    assert!(redis.command(&["KEYS", "*:[el]:*"]).items().is_empty());
}
