//! Health.

use std::sync::atomic::Ordering::SeqCst;

use futures_util::future::join_all;
use larder::{Cache, RedisConfig, key};
use larder_testkit::{Poll, RedisServer};
use serde_json::json;
use std::time::Duration;

use crate::support::{Server, read};

#[tokio::test]
async fn a_server_with_everything_is_ok() {
    let server = Server::start().await;
    let reply = server.get("", "/health").await;
    assert_eq!(reply.status, 200);
    let mut health = reply.json();
    assert!(health["uptime_s"].take().is_u64());
    assert_eq!(
        health,
        json!({"status": "ok", "version": "1.2.3", "uptime_s": null, "database": "connected", "redis_cache": "disabled"})
    );
    for path in ["/health/live", "/health/ready"] {
        let reply = server.get("", path).await;
        assert_eq!((reply.status, reply.json()), (200, json!({"status": "ok"})), "{path}");
    }
}

#[tokio::test]
async fn without_its_database_a_server_is_down_but_alive() {
    let server = Server::start().await;
    server.rows.gone.store(true, SeqCst);
    let reply = server.get("", "/health").await;
    assert_eq!((reply.status, reply.json()["status"].as_str()), (503, Some("down")));
    assert_eq!(reply.json()["database"], "unavailable");
    assert_eq!(server.get("", "/health/ready").await.status, 503);
    assert_eq!(server.get("", "/health/live").await.status, 200);
}

#[tokio::test]
async fn many_who_ask_at_once_share_an_answer_that_is_no_older_than_their_question() {
    let server = Server::start().await;
    let replies = join_all((0..100).map(|_| server.get("", "/health"))).await;
    assert!(replies.iter().all(|reply| reply.status == 200));
    // One for the first, one for all who came while it was asked for.
    assert_eq!(server.rows.asked.load(SeqCst), 2);
    server.rows.gone.store(true, SeqCst);
    assert_eq!(server.get("", "/health").await.status, 503);
    server.rows.gone.store(false, SeqCst);
    assert_eq!(server.get("", "/health").await.status, 200);
}

#[tokio::test]
async fn the_cache_is_measured_and_counted() {
    let server = Server::start().await;
    let acme = server.cache.tenant("acme");
    read(&acme, key!("campaigns", 1)).await;
    for _ in 0..3 {
        read(&acme, key!("campaigns", 1)).await;
    }
    let health = server.get("", "/health/cache").await.json();
    assert_eq!((health["status"].as_str(), health["backend"].as_str()), (Some("healthy"), Some("memory")));
    assert!(health["latency_ms"].as_f64().is_some_and(|ms| (0.0..50.0).contains(&ms)), "{health}");
    assert_eq!(
        health["stats"],
        json!({"hits": 3, "misses": 1, "hit_rate_percent": 75.0, "redis_available": false, "memory_cache_size": 1})
    );
}

#[tokio::test]
async fn a_cache_that_is_off_says_so() {
    let server = Server::over(Cache::builder("test").enabled(false).build().await.unwrap());
    read(&server.cache.tenant("acme"), key!("campaigns")).await;
    assert_eq!(server.get("", "/health/cache").await.json()["status"], "disabled");
    let stats = server.get("", "/api/cache/stats").await.json();
    assert_eq!(
        (&stats["enabled"], &stats["status"], &stats["loads"]),
        (&json!(false), &json!("disabled"), &json!(1))
    );
    assert_eq!(server.get("", "/health").await.json()["status"], "ok");
}

#[tokio::test]
async fn with_redis_gone_the_server_is_degraded_and_answers_all_the_same() {
    let redis = RedisServer::start();
    let cache = Cache::builder("test").redis(RedisConfig::new(redis.url())).build().await.unwrap();
    cache.ready().await;
    let server = Server::over(cache);
    let health = server.get("", "/health/cache").await.json();
    assert_eq!(
        (health["status"].as_str(), health["backend"].as_str()),
        (Some("healthy"), Some("redis")),
        "{health}"
    );
    assert_eq!(health["stats"]["redis_available"], true);
    assert_eq!(server.get("", "/health").await.json()["redis_cache"], "connected");
    let metrics = server.get("admin@larder", "/api/v1/cache/metrics").await.json();
    assert_eq!((&metrics["backend"], metrics["redis_version"].is_string()), (&json!("redis"), true));
    assert!(metrics["used_memory_mb"].as_f64() > Some(0.1), "{metrics}");
    assert!(server.scrape().await.contains("larder_redis_connected 1\n"));

    redis.kill();
    let poll = Poll::new(Duration::from_secs(10));
    while server.get("", "/health/cache").await.json()["status"] != "degraded" {
        assert!(poll.again().await, "the outage is seen");
    }
    while server.get("", "/health").await.json()["redis_cache"] != "unavailable" {
        assert!(poll.again().await, "the outage is seen");
    }
    let reply = server.get("", "/health").await;
    assert_eq!((reply.status, reply.json()["status"].as_str()), (200, Some("degraded")));
    let health = server.get("", "/health/cache").await.json();
    assert_eq!((&health["backend"], &health["stats"]["redis_available"]), (&json!("memory"), &json!(false)));
    let metrics = server.get("admin@larder", "/api/v1/cache/metrics").await.json();
    assert_eq!(metrics["backend"], "memory");
    // Cleared here at once, though Redis can't be told yet.
    read(&server.cache.tenant("acme"), key!("campaigns", 1)).await;
    let cleared = server.post("owner@acme", "/api/cache/clear").await;
    assert_eq!((cleared.status, &cleared.json()["cleared"]), (200, &json!(true)));
    assert!(server.cache.entry("campaigns:acme:1").is_none());
    assert!(server.scrape().await.contains("larder_redis_connected 0\n"));
}
