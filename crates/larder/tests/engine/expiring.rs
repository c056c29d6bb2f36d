//! Making values stale instead of taking them away.

use crate::support::{Gate, MINUTE, Row, alone_by_hand, node, policy, ready};
use larder::{Cache, Error, ErrorKind, Fetched, Outcome, Policy, Selector, Tier, Tiers, key, prefix, tag};
use larder_testkit::{RedisServer, assert_eventually};
use std::io;
use std::time::Duration;

const SOON: Duration = Duration::from_secs(10);

fn tolerant() -> Policy {
    policy().tag("t").stale_if_error(10 * MINUTE)
}

async fn read(cache: &Cache, policy: Policy, row: &Row) -> Fetched<u64> {
    let row = row.clone();
    cache.tenant("acme").fetch(key!("k", 1), policy, move || row.load()).await.unwrap()
}

async fn failing(cache: &Cache, policy: Policy) -> Result<Fetched<u64>, Error> {
    let load = || async { Err::<u64, _>(io::Error::other("down")) };
    cache.tenant("acme").fetch(key!("k", 1), policy, load).await
}

fn selectors() -> [Selector; 4] {
    [tag("t"), key!("k", 1).into(), prefix!("k"), larder::all()]
}

#[tokio::test]
async fn an_expired_value_is_loaded_again_and_served_where_that_fails() {
    // 10: by every selector, and `contains` agrees with `get`
    let (cache, _clock) = alone_by_hand().await;
    let (acme, row) = (cache.tenant("acme"), Row::default());
    for what in selectors() {
        read(&cache, tolerant(), &row).await;
        acme.expire(what.clone()).await.unwrap();
        assert!(acme.get::<u64>(key!("k", 1)).await.unwrap().is_none(), "{what:?}");
        assert!(!acme.contains::<u64>(key!("k", 1)).await.unwrap(), "{what:?}");
        let stale = failing(&cache, tolerant()).await.unwrap();
        assert_eq!((stale.status.outcome, stale.status.ttl), (Outcome::Stale, Duration::ZERO), "{what:?}");
        assert!(failing(&cache, policy()).await.is_err(), "who accepts no stale value gets none: {what:?}");
        row.write();
        let fresh = read(&cache, policy().tag("t"), &row).await;
        assert_eq!((fresh.status.outcome, *fresh.value), (Outcome::Miss, *stale.value + 1), "{what:?}");
        assert_eq!(read(&cache, tolerant(), &row).await.status.outcome, Outcome::Hit, "{what:?}");
    }
    cache.expire(larder::first_segment("k")).await.unwrap();
    assert!(!acme.contains::<u64>(key!("k", 1)).await.unwrap());
}

#[tokio::test]
async fn an_expired_value_is_served_while_it_is_loaded_behind() {
    let ((cache, _clock), row, gate) = (alone_by_hand().await, Row::default(), Gate::new());
    let lenient = || policy().stale_while_revalidate(10 * MINUTE);
    read(&cache, lenient(), &row).await;
    row.write();
    let acme = cache.tenant("acme");
    acme.expire(key!("k", 1)).await.unwrap();
    let load = gate.load(&row);
    let stale = acme.fetch(key!("k", 1), lenient(), move || load).await.unwrap();
    assert_eq!((stale.status.outcome, *stale.value), (Outcome::Stale, 0));
    gate.reached().await;
    gate.open();
    assert_eventually!(read(&cache, lenient(), &row).await.status.outcome == Outcome::Hit, SOON, "renewed");
    assert_eq!((*read(&cache, lenient(), &row).await.value, row.loads()), (1, 2));
}

#[tokio::test]
async fn nothing_brings_an_invalidated_value_back() {
    // 9: whichever came first
    let (cache, clock) = alone_by_hand().await;
    let (acme, row) = (cache.tenant("acme"), Row::default());
    for hard_first in [true, false] {
        for what in selectors() {
            read(&cache, tolerant(), &row).await;
            if hard_first {
                acme.invalidate(what.clone()).await.unwrap();
                acme.expire(what).await.unwrap();
            } else {
                acme.expire(what.clone()).await.unwrap();
                assert!(failing(&cache, tolerant()).await.is_ok());
                acme.invalidate(what).await.unwrap();
            }
            assert!(failing(&cache, tolerant()).await.is_err());
            clock.advance(Duration::from_secs(1));
        }
    }
}

#[tokio::test]
async fn an_expiration_counts_the_stale_time_from_itself_and_never_lengthens_a_life() {
    let (cache, clock) = alone_by_hand().await;
    let (acme, row) = (cache.tenant("acme"), Row::default());
    let brief = || policy().stale_if_error(MINUTE / 2);
    read(&cache, brief(), &row).await;
    clock.advance(MINUTE / 4);
    acme.expire(key!("k", 1)).await.unwrap();
    clock.advance(MINUTE / 4);
    assert_eq!(failing(&cache, brief()).await.unwrap().status.outcome, Outcome::Stale);
    clock.advance(MINUTE / 4);
    assert!(failing(&cache, brief()).await.is_err(), "half a minute after it was expired");
    read(&cache, brief(), &row).await;
    for _ in 0..5 {
        clock.advance(MINUTE / 4);
        acme.expire(key!("k", 1)).await.unwrap();
    }
    assert!(failing(&cache, brief()).await.is_ok());
    clock.advance(MINUTE / 4);
    acme.expire(key!("k", 1)).await.unwrap();
    assert!(failing(&cache, brief()).await.is_err(), "kept no longer than without");
}

#[tokio::test]
async fn a_load_that_began_before_an_expiration_leaves_nothing_fresh_behind() {
    // 1
    let ((cache, _clock), row) = (alone_by_hand().await, Row::default());
    let acme = cache.tenant("acme");
    for what in selectors() {
        acme.invalidate(larder::all()).await.unwrap();
        let (gate, early) = (Gate::new(), acme.clone());
        let load = gate.load(&row);
        let early = tokio::spawn(async move { early.fetch(key!("k", 1), tolerant(), move || load).await });
        gate.reached().await;
        row.write();
        acme.expire(what.clone()).await.unwrap();
        gate.open();
        let old = *early.await.unwrap().unwrap().value;
        assert_eventually!(cache.stats().flights == 0, SOON, "it has landed");
        let stale = failing(&cache, tolerant()).await.unwrap();
        assert_eq!((stale.status.outcome, *stale.value), (Outcome::Stale, old), "kept, and stale: {what:?}");
        assert_eq!(*read(&cache, policy().tag("t"), &row).await.value, old + 1);
    }
}

#[tokio::test]
async fn who_asks_after_an_expiration_does_not_wait_for_an_older_load() {
    let ((cache, _clock), row, gate) = (alone_by_hand().await, Row::default(), Gate::new());
    for what in selectors() {
        let (acme, early) = (cache.tenant("acme"), cache.tenant("acme"));
        acme.invalidate(larder::all()).await.unwrap();
        let load = gate.load(&row);
        let early = tokio::spawn(async move { early.fetch(key!("k", 1), tolerant(), move || load).await });
        gate.reached().await;
        row.write();
        acme.expire(what.clone()).await.unwrap();
        let late = tokio::time::timeout(SOON, read(&cache, tolerant(), &row)).await;
        let late = *late.unwrap_or_else(|_| panic!("it waits for the older load: {what:?}")).value;
        gate.open();
        assert_eq!(*early.await.unwrap().unwrap().value + 1, late);
        assert_eventually!(cache.stats().flights == 0, SOON, "the older load has ended");
        let kept = read(&cache, tolerant(), &row).await;
        assert_eq!(
            (kept.status.outcome, *kept.value),
            (Outcome::Hit, late),
            "and took nobody's place: {what:?}"
        );
    }
}

#[tokio::test]
async fn a_loader_sees_the_expired_value_and_may_renew_it() {
    let ((cache, _clock), row) = (alone_by_hand().await, Row::default());
    let acme = cache.tenant("acme");
    read(&cache, tolerant(), &row).await;
    acme.expire(tag("t")).await.unwrap();
    let load = |context: larder::LoadContext| async move {
        assert_eq!(context.previous().and_then(larder::Previous::value::<u64>).as_deref(), Some(&0));
        context.not_modified::<u64, std::convert::Infallible>()
    };
    let (value, status) = acme.fetch_with(key!("k", 1), tolerant(), load).await.unwrap();
    assert_eq!((*value.unwrap(), status.ttl), (0, MINUTE));
    assert_eq!(read(&cache, tolerant(), &row).await.status.outcome, Outcome::Hit);
}

#[tokio::test]
async fn an_expiration_reaches_memory_and_redis_of_all_nodes() {
    // 26
    let redis = RedisServer::start();
    for (round, what) in selectors().into_iter().enumerate() {
        let row = Row::default();
        let (one, other) = (node(&redis).await, node(&redis).await);
        one.invalidate(larder::all()).acked().await.unwrap();
        read(&one, tolerant(), &row).await;
        read(&other, tolerant(), &row).await;
        assert_eq!(read(&other, tolerant(), &row).await.status.tier, Tier::Memory);
        let pttl = redis.command(&["PTTL", "ld1:test:{0}:e:4:acme:k:1"]).text().parse::<u64>().unwrap();
        other.tenant("acme").expire(what.clone()).acked().await.unwrap();
        let after = redis.command(&["PTTL", "ld1:test:{0}:e:4:acme:k:1"]).text().parse::<u64>().unwrap();
        assert!(after <= pttl && after + 5_000 > pttl, "the bytes are not touched: {pttl} {after}");
        // In memory, and from Redis alone: a node that was not there.
        let late = node(&redis).await;
        for cache in [&one, &other, &late] {
            assert!(!cache.tenant("acme").contains::<u64>(key!("k", 1)).await.unwrap(), "{what:?}");
            assert!(failing(cache, policy().tag("t")).await.is_err(), "{what:?}");
            let stale = failing(cache, tolerant()).await.unwrap();
            assert_eq!((stale.status.outcome, *stale.value), (Outcome::Stale, 0), "{what:?}");
            let shown = cache.entries_named("k:acme:1").await;
            assert_eq!(shown[0].ttl, Duration::ZERO);
        }
        let only_redis = node(&redis).await;
        let stale = failing(&only_redis, tolerant().tiers(Tiers::Redis)).await.unwrap();
        assert_eq!((stale.status.outcome, stale.status.tier), (Outcome::Stale, Tier::Redis));
        row.write();
        assert_eq!(*read(&late, policy().tag("t"), &row).await.value, 1);
        assert_eq!(read(&only_redis, tolerant(), &row).await.status.outcome, Outcome::Hit, "round {round}");
        assert_eq!(row.loads(), 2, "one load for all");
        // 9: and gone for ever, in Redis too.
        one.tenant("acme").expire(what.clone()).acked().await.unwrap();
        one.tenant("acme").invalidate(what).acked().await.unwrap();
        for cache in [&one, &other, &late, &only_redis, &node(&redis).await] {
            assert!(failing(cache, tolerant()).await.is_err());
        }
    }
}

#[tokio::test]
async fn a_load_overtaken_by_another_nodes_expiration_is_stored_and_stale_from_the_start() {
    let redis = RedisServer::start();
    for what in selectors() {
        let (row, gate) = (Row::default(), Gate::new());
        let (one, other) = (node(&redis).await, node(&redis).await);
        one.invalidate(larder::all()).acked().await.unwrap();
        let (acme, load) = (one.tenant("acme"), gate.load(&row));
        let early = tokio::spawn(async move { acme.fetch(key!("k", 1), tolerant(), move || load).await });
        gate.reached().await;
        row.write();
        other.tenant("acme").expire(what.clone()).await.unwrap();
        gate.open();
        early.await.unwrap().unwrap();
        assert_eventually!(one.stats().flights == 0, SOON, "it has been stored");
        for cache in [&one, &other] {
            let stale = failing(cache, tolerant()).await.unwrap();
            assert_eq!((stale.status.outcome, *stale.value), (Outcome::Stale, 0), "{what:?}");
        }
        assert_eq!(*read(&other, policy().tag("t"), &row).await.value, 1, "{what:?}");
    }
}

#[tokio::test]
async fn an_expiration_during_an_outage_is_in_force_here_and_delivered_afterwards() {
    let (redis, row) = (RedisServer::start(), Row::default());
    let (one, other) = (node(&redis).await, node(&redis).await);
    read(&one, tolerant(), &row).await;
    read(&other, tolerant(), &row).await;
    redis.pause();
    let deferred = one.tenant("acme").expire(tag("t")).await.unwrap_err();
    assert_eq!(deferred.kind(), ErrorKind::Deferred);
    row.write();
    let fresh = read(&one, policy().tag("t"), &row).await;
    assert_eq!((fresh.status.outcome, *fresh.value), (Outcome::Miss, 1), "here at once");
    assert_eq!(read(&one, tolerant(), &row).await.status.outcome, Outcome::Hit, "and only what was there");
    one.tenant("acme").expire(tag("t")).await.unwrap_err();
    let stale = failing(&one, tolerant()).await.unwrap();
    assert_eq!((stale.status.outcome, *stale.value), (Outcome::Stale, 1), "kept for a failing load");
    redis.resume();
    for cache in [&one, &other] {
        ready(cache).await;
        assert_eventually!(*read(cache, tolerant(), &row).await.value == 1, SOON, "delivered");
    }
}
