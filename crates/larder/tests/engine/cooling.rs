//! Failed loads that are not tried again at once.

use crate::support::{MINUTE, Row, alone_by_hand, node, policy};
use larder::{Cache, Error, ErrorKind, Outcome, Policy, Tiers, key, tag};
use larder_testkit::{RedisServer, assert_eventually};
use std::io;
use std::time::Duration;
use tokio::task::JoinSet;

const SECOND: Duration = Duration::from_secs(1);
const SOON: Duration = Duration::from_secs(10);

async fn failing(cache: &Cache, policy: &Policy) -> Result<larder::Fetched<u64>, Error> {
    let load = || async { Err::<u64, _>(io::Error::other("down")) };
    cache.tenant("acme").fetch(key!("k"), policy, load).await
}

#[tokio::test]
async fn a_thousand_lookups_make_one_attempt_a_cooldown() {
    // 14
    let (cache, clock) = alone_by_hand().await;
    let (policy, row) = (policy().tag("t").failure_cooldown(10 * SECOND), Row::default());
    for attempts in 1..=3 {
        let mut callers = JoinSet::new();
        for _ in 0..1000 {
            let (acme, policy, row) = (cache.tenant("acme"), policy.clone(), row.clone());
            callers.spawn(async move {
                let load =
                    move || async move { Err::<u64, _>(io::Error::other(format!("down {}", row.read()))) };
                acme.fetch(key!("k"), policy, load).await.unwrap_err()
            });
        }
        for error in callers.join_all().await {
            assert_eq!(
                error.load_error::<io::Error>().unwrap().to_string(),
                "down 0",
                "the load's own error"
            );
        }
        assert_eq!(row.loads(), attempts);
        assert_eq!(cache.stats().total.load_errors, attempts);
        clock.advance(10 * SECOND);
    }
}

#[tokio::test]
async fn an_invalidation_ends_the_cooldown() {
    let (cache, _clock) = alone_by_hand().await;
    let policy = policy().tag("t").failure_cooldown(10 * SECOND);
    let acme = cache.tenant("acme");
    for (attempts, what) in [(1, tag("other")), (1, tag("t")), (2, key!("k").into()), (3, tag("t"))] {
        failing(&cache, &policy).await.unwrap_err();
        assert_eq!(cache.stats().total.load_errors, attempts);
        acme.invalidate(what).await.unwrap();
    }
    acme.set(key!("k"), 1_u64, &policy).await.unwrap();
    assert_eq!(failing(&cache, &policy).await.unwrap().status.outcome, Outcome::Hit);
}

#[tokio::test]
async fn no_node_tries_while_a_load_of_another_cools_down() {
    let redis = RedisServer::start();
    let (one, other) = (node(&redis).await, node(&redis).await);
    let policy = policy().tag("t").failure_cooldown(600 * SECOND);
    failing(&one, &policy).await.unwrap_err();
    // The lease is given back behind.
    assert_eventually!(
        failing(&other, &policy).await.unwrap_err().kind() == ErrorKind::CoolingDown,
        SOON,
        "refused without a load"
    );
    assert_eq!(other.stats().total.loads, 0);
    assert_eq!(failing(&other, &policy).await.unwrap_err().kind(), ErrorKind::CoolingDown);
    let ttl = redis.command(&["PTTL", "ld1:test:{0}:l:4:acme:k"]).text().parse::<u64>().unwrap();
    assert!((1..=600_000).contains(&ttl), "it ends by itself");
    // Not only of the key, and not only where it failed.
    other.tenant("acme").invalidate(tag("t")).await.unwrap();
    assert_eq!(failing(&other, &policy).await.unwrap_err().kind(), ErrorKind::Load);
}

#[tokio::test]
async fn a_stale_value_is_served_while_its_load_cools_down_also_from_redis_alone() {
    let redis = RedisServer::start();
    for tiers in [Tiers::Both, Tiers::Redis] {
        let (one, other) = (node(&redis).await, node(&redis).await);
        let policy = Policy::ttl(SECOND / 5)
            .jitter(0.0)
            .tiers(tiers)
            .stale_if_error(60 * MINUTE)
            .failure_cooldown(600 * SECOND);
        one.tenant("acme").set(key!("k"), 1_u64, &policy).await.unwrap();
        for cache in [&one, &other] {
            assert_eventually!(
                failing(cache, &policy).await.unwrap().status.outcome == Outcome::Stale,
                SOON,
                "the load fails, or another has"
            );
        }
        for _ in 0..20 {
            assert_eq!(*failing(&other, &policy).await.unwrap().value, 1);
        }
        assert_eq!(one.stats().total.load_errors + other.stats().total.load_errors, 1);
        one.tenant("acme").invalidate(larder::all()).await.unwrap();
        assert_eventually!(failing(&other, &policy).await.is_err(), SOON, "invalidated is gone");
    }
}
