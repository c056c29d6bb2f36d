//! Invalidation by a pattern: exact where the nodes know the rule, and never less.

use crate::support::{Row, alone, node, policy};
use larder::{Cache, Key, Tier, glob, key, prefix};
use larder_testkit::RedisServer;

fn keys() -> [Key; 4] {
    [
        key!("campaigns", "page", 1, "limit", 20),
        key!("campaigns", "page", 2, "limit", 20),
        key!("campaigns", "page", 1, "limit", 50),
        key!("camps", 7),
    ]
}

/// Which of the keys are still there: read without a load.
async fn held(cache: &Cache, tenant: &str) -> [bool; 4] {
    let mut held = [false; 4];
    for (place, key) in keys().into_iter().enumerate() {
        held[place] = cache.tenant(tenant).get::<u64>(key).await.unwrap().is_some();
    }
    held
}

async fn fill(cache: &Cache, tenant: &str, row: &Row) {
    for key in keys() {
        let row = row.clone();
        cache.tenant(tenant).get_or_load(key, policy(), move || row.load()).await.unwrap();
    }
}

async fn drops(cache: &Cache, other: &Cache) {
    let row = Row::default();
    for (pattern, expected) in [
        ("campaigns:*:limit:20", [false, false, true, true]),
        ("camp*", [false; 4]),
        ("camps*", [true, true, true, false]),
        ("*:1:*", [false, true, false, true]),
        ("campaigns:page:1:limit:20", [false, true, true, true]),
        ("campaigns:page:?:limit:20", [true; 4]),
        ("*", [false; 4]),
    ] {
        for tenant in ["acme", "globex"] {
            fill(cache, tenant, &row).await;
            fill(other, tenant, &row).await;
        }
        cache.tenant("acme").invalidate(glob(pattern)).acked().await.unwrap();
        for node in [cache, other] {
            assert_eq!(held(node, "acme").await, expected, "{pattern}");
            assert_eq!(held(node, "globex").await, [true; 4], "another tenant's, {pattern}");
        }
    }
}

#[tokio::test]
async fn a_pattern_drops_what_matches_and_nothing_else() {
    let cache = alone().await;
    drops(&cache, &cache).await;
}

#[tokio::test]
async fn a_pattern_drops_what_matches_on_every_node_and_in_redis() {
    let redis = RedisServer::start();
    let (one, other) = (node(&redis).await, node(&redis).await);
    redis.reset_calls();
    drops(&one, &other).await;
    assert_eq!((redis.calls_of("scan"), redis.calls_of("keys")), (0, 0));
}

#[tokio::test]
async fn what_a_pattern_spares_stays_in_redis_for_a_node_whose_memory_is_empty() {
    let redis = RedisServer::start();
    let (one, other, row) = (node(&redis).await, node(&redis).await, Row::default());
    fill(&one, "acme", &row).await;
    one.tenant("acme").invalidate(glob("campaigns:*:limit:20")).acked().await.unwrap();
    let [first, _, third, _] = keys();
    let loaded = row.clone();
    let found = other.tenant("acme").fetch(third, policy(), move || loaded.load()).await.unwrap();
    assert_eq!(found.status.tier, Tier::Redis);
    let loaded = row.clone();
    let found = other.tenant("acme").fetch(first, policy(), move || loaded.load()).await.unwrap();
    assert_eq!(found.status.tier, Tier::Origin);
}

#[tokio::test]
async fn a_node_that_came_later_knows_no_old_patterns_and_serves_nothing_that_they_may_concern() {
    let redis = RedisServer::start();
    let (one, row) = (node(&redis).await, Row::default());
    fill(&one, "acme", &row).await;
    one.tenant("acme").invalidate(glob("camps*")).await.unwrap();
    let later = node(&redis).await;
    assert_eq!(held(&later, "acme").await, [false; 4]);
    fill(&later, "acme", &row).await;
    assert_eq!(held(&one, "acme").await, [true; 4]);
}

#[tokio::test]
async fn patterns_mix_with_other_selectors_and_have_their_limits() {
    let (cache, row) = (alone().await, Row::default());
    fill(&cache, "acme", &row).await;
    cache.tenant("acme").invalidate([glob("*:50"), prefix!("camps")]).await.unwrap();
    assert_eq!(held(&cache, "acme").await, [true, true, false, false]);
    let many: Vec<_> = (0..100).map(|number| glob(format!("none:{number}"))).collect();
    cache.tenant("acme").invalidate(many).await.unwrap();
    assert_eq!(held(&cache, "acme").await, [false; 4], "more than a node remembers: the whole tenant");
    for bad in [glob(""), glob("x".repeat(1025))] {
        assert!(cache.tenant("acme").invalidate(bad).await.is_err());
    }
    let error = cache.invalidate(glob("camp*")).await.unwrap_err();
    assert!(error.to_string().contains("first_segment"), "{error}");
}

#[tokio::test]
async fn what_a_pattern_expires_is_stale_and_still_there_for_a_load_that_fails() {
    let (cache, row) = (alone().await, Row::default());
    let (acme, keep) = (cache.tenant("acme"), policy().stale_if_error(crate::support::MINUTE));
    let loaded = row.clone();
    acme.get_or_load(key!("camps", 7), &keep, move || loaded.load()).await.unwrap();
    acme.expire(glob("camps*")).await.unwrap();
    assert!(!acme.contains::<u64>(key!("camps", 7)).await.unwrap());
    let failing = || async { Err::<u64, _>(std::io::Error::other("down")) };
    let found = acme.fetch(key!("camps", 7), &keep, failing).await.unwrap();
    assert_eq!(found.status.outcome, larder::Outcome::Stale);
    acme.invalidate(glob("camps*")).await.unwrap();
    acme.fetch(key!("camps", 7), &keep, failing).await.unwrap_err();
}
