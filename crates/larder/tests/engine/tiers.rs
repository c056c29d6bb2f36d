//! Policies that leave a tier out.

use crate::support::{Gate, MINUTE, Row, alone, node, policy};
use larder::{Cache, Fetched, Outcome, Tier, Tiers, key, tag};
use larder_testkit::{RedisServer, assert_eventually};
use std::time::Duration;

const SOON: Duration = Duration::from_secs(10);

async fn read(cache: &Cache, tiers: Tiers, row: &Row) -> Fetched<u64> {
    let (row, policy) = (row.clone(), policy().tag("t").tiers(tiers));
    cache.tenant("acme").fetch(key!("k"), policy, move || row.load()).await.unwrap()
}

#[tokio::test]
async fn what_is_for_memory_only_never_reaches_redis_and_is_invalidated_by_all_nodes() {
    let (redis, row) = (RedisServer::start(), Row::default());
    let (one, other) = (node(&redis).await, node(&redis).await);
    for cache in [&one, &other] {
        assert_eq!(read(cache, Tiers::Memory, &row).await.status.tier, Tier::Origin, "each for itself");
        assert_eq!(read(cache, Tiers::Memory, &row).await.status.tier, Tier::Memory);
    }
    assert!(redis.command(&["KEYS", "*:[el]:*"]).items().is_empty());
    for (version, what) in [(1, tag("t")), (2, key!("k").into()), (3, larder::all())] {
        row.write();
        one.tenant("acme").invalidate(what).await.unwrap();
        assert_eq!(*read(&one, Tiers::Memory, &row).await.value, version);
        assert_eventually!(*read(&other, Tiers::Memory, &row).await.value == version, SOON, "there too");
    }
}

#[tokio::test]
async fn what_is_set_for_memory_only_is_there_at_once() {
    let redis = RedisServer::start();
    let acme = node(&redis).await.tenant("acme");
    for version in 0..50_u64 {
        acme.set(key!("k"), version, policy().tiers(Tiers::Memory)).await.unwrap();
        let found = acme.get::<u64>(key!("k")).await.unwrap().expect("before its message has come back");
        assert_eq!(*found.value, version);
        acme.invalidate(key!("other")).await.unwrap();
    }
}

#[tokio::test]
async fn a_load_for_memory_only_that_an_invalidation_overtakes_is_not_kept() {
    // 1
    let (redis, row, gate) = (RedisServer::start(), Row::default(), Gate::new());
    let (one, other) = (node(&redis).await, node(&redis).await);
    let (acme, load) = (one.tenant("acme"), gate.load(&row));
    let policy = policy().tag("t").tiers(Tiers::Memory);
    let early = tokio::spawn(async move { acme.fetch(key!("k"), policy, move || load).await.unwrap() });
    gate.reached().await;
    row.write();
    other.tenant("acme").invalidate(tag("t")).await.unwrap();
    gate.open();
    early.await.unwrap();
    assert_eventually!(*read(&one, Tiers::Memory, &row).await.value == 1, SOON, "loaded again");
}

#[tokio::test]
async fn what_is_for_redis_only_is_asked_of_redis_each_time_and_invalidated_by_tag() {
    // 12
    let (redis, row) = (RedisServer::start(), Row::default());
    let (one, other) = (node(&redis).await, node(&redis).await);
    assert_eq!(read(&one, Tiers::Redis, &row).await.status.tier, Tier::Origin);
    for cache in [&one, &other, &one] {
        assert_eq!(read(cache, Tiers::Redis, &row).await.status.tier, Tier::Redis);
    }
    assert_eq!((one.stats().entries, other.stats().entries, row.loads()), (0, 0, 1));
    for (version, what) in [(1, tag("t")), (2, key!("k").into()), (3, larder::all())] {
        row.write();
        one.tenant("acme").invalidate(what).await.unwrap();
        // At once: no memory stands between this node and Redis.
        assert_eq!(*read(&other, Tiers::Redis, &row).await.value, version);
        assert_eq!(*read(&one, Tiers::Redis, &row).await.value, version);
    }
    one.tenant("acme").set(key!("k"), 9_u64, policy().tiers(Tiers::Redis)).await.unwrap();
    assert_eq!(*read(&other, Tiers::Redis, &row).await.value, 9);
    assert_eq!((one.stats().entries, other.stats().entries), (0, 0));
}

#[tokio::test]
async fn for_redis_only_without_redis_every_lookup_loads_and_those_at_once_share() {
    let (cache, row, gate) = (alone().await, Row::default(), Gate::new());
    for loads in 1..=2 {
        assert_eq!(read(&cache, Tiers::Redis, &row).await.status.outcome, Outcome::Miss);
        assert_eq!((row.loads(), cache.stats().entries), (loads, 0));
    }
    let fetch = || {
        let (acme, load) = (cache.tenant("acme"), gate.load(&row));
        let policy = policy().tiers(Tiers::Redis).stale_if_error(MINUTE);
        tokio::spawn(async move { acme.fetch(key!("k"), policy, move || load).await.unwrap() })
    };
    let first = fetch();
    gate.reached().await;
    let second = fetch();
    while cache.stats().total.coalesced == 0 && !second.is_finished() {
        gate.open();
        tokio::task::yield_now().await;
    }
    first.await.unwrap();
    second.await.unwrap();
    assert_eq!(row.loads(), 3);
}
