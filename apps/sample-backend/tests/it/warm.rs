//! Endpoints that are never cold.

use std::sync::Arc;
use std::time::Duration;

use larder::{Cache, ManualClock, Next};
use larder_testkit::Poll;
use sample_backend::StartError;
use serde_json::json;

use crate::support::{Api, sqlite};

/// Waits until something holds that is looked at from outside.
async fn until(holds: impl Fn() -> bool) {
    let poll = Poll::new(Duration::from_secs(30));
    while !holds() {
        assert!(poll.again().await, "it never came to that");
    }
}

fn all(api: &Api, keys: &[&str]) -> bool {
    keys.iter().all(|key| api.has(key))
}

#[tokio::test]
async fn the_first_reader_of_a_warm_endpoint_gets_a_hit() {
    let (database, _home) = sqlite();
    let api = Api::start_with(database, |config| {
        config.warm = ["campaigns", "dashboard_kpis", "charts", "posts"].map(Into::into).to_vec();
    })
    .await;
    let keys = [
        "campaigns:acme:page:1:limit:20",
        "campaigns:globex:page:1:limit:20",
        "dashboard_kpis:acme",
        "posts:acme:page:1:limit:20",
        "charts:trend:days=10",
        "charts:severity:",
        "charts:sources:",
    ];
    until(|| all(&api, &keys)).await;
    let acme = api.login("owner@acme.test").await;
    for path in ["/api/v1/campaigns", "/api/v1/dashboard/kpis", "/api/v1/posts", "/api/charts/trend"] {
        let reply = api.get(&acme, path).await;
        assert_eq!((reply.status, reply.x_cache()), (200, "HIT"), "{path}");
        assert!(!reply.body.is_null());
    }
}

#[tokio::test]
async fn what_was_invalidated_or_is_about_to_expire_is_loaded_again_unasked() {
    let (database, _home) = sqlite();
    let clock = Arc::new(ManualClock::default());
    let cache = Cache::builder("test").clock(clock.clone()).build().await.unwrap();
    let api = Api::start_as(database, cache, |config| {
        config.warm = vec!["dashboard_stats".into()];
        // Looked at every half a second, whatever the clock of the cache says.
        config.ttls.insert("dashboard_stats".into(), Duration::from_secs(2));
    })
    .await;
    let key = "dashboard_stats:acme";
    until(|| api.has(key)).await;
    let acme = api.login("owner@acme.test").await;
    let mut events = api.cache.subscribe();
    api.post(&acme, "/api/v1/campaigns", json!({"name": "x", "channel": "sms", "budget_cents": 1})).await;
    assert!(matches!(events.next().await, Some(Next::Event(_))));
    until(|| api.has(key)).await;
    assert_eq!(api.get(&acme, "/api/v1/dashboard/stats").await.x_cache(), "HIT");

    clock.advance(Duration::from_millis(1_600));
    // In its last quarter.
    until(|| api.cache.entry(key).is_some_and(|entry| entry.age < Duration::from_secs(1))).await;
}

#[tokio::test]
async fn a_misspelt_endpoint_is_refused_at_start() {
    let (database, _home) = sqlite();
    let mut config = sample_backend::SampleConfig::new("");
    config.database = database;
    config.warm = vec!["campaings".into()];
    let cache = Cache::builder("test").build().await.unwrap();
    let error = sample_backend::start(config, cache).await.unwrap_err();
    assert!(matches!(error, StartError::Config(text) if text.contains("campaings")));
}
