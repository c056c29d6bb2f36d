//! Invalidating by key, tag, prefix and tenant.

use axum::body::Body;
use larder::{Cache, EntryFilter, RedisConfig, key};
use larder_testkit::RedisServer;
use serde_json::{Value, json};

use crate::support::{Reply, Server, read, request};

const INVALIDATE: &str = "/api/cache/invalidate";

async fn filled() -> Server {
    let server = Server::start().await;
    for tenant in ["acme", "globex"] {
        let tenant = server.cache.tenant(tenant);
        for key in [key!("campaigns", "page", 1), key!("campaigns", "page", 2), key!("leads", 1)] {
            read(&tenant, key).await;
        }
    }
    read(&server.cache.shared(), key!("stats", "")).await;
    server
}

fn left(server: &Server) -> Vec<String> {
    server
        .cache
        .entries(&EntryFilter::default(), None, 100)
        .entries
        .into_iter()
        .map(|entry| entry.key)
        .collect()
}

async fn ask(server: &Server, token: &str, body: &Value) -> Reply {
    let request = request("POST", token, INVALIDATE).header("content-type", "application/json");
    server.send(request.body(Body::from(body.to_string())).unwrap()).await
}

/// What is gone after it, and the answer.
async fn gone(token: &str, body: Value) -> (Vec<String>, Value) {
    let server = filled().await;
    let before = left(&server);
    let mut wish = body.clone();
    wish["dry_run"] = true.into();
    let dry = ask(&server, token, &wish).await;
    assert_eq!(
        (dry.status, left(&server).len()),
        (200, before.len()),
        "a dry run changes nothing: {}",
        dry.text
    );
    let reply = ask(&server, token, &body).await;
    assert_eq!(reply.status, 200, "{}", reply.text);
    let after = left(&server);
    let gone: Vec<String> = before.into_iter().filter(|key| !after.contains(key)).collect();
    let (told, dry) = (reply.json(), dry.json());
    assert_eq!((&told["invalidated"], &dry["invalidated"]), (&json!(true), &json!(false)));
    assert_eq!((&told["entries"], &dry["entries"]), (&json!(gone.len()), &json!(gone.len())));
    (gone, told)
}

#[tokio::test]
async fn a_key_a_tag_a_prefix_and_a_tenant_are_dropped_and_counted() {
    let acme = |body: Value| gone("owner@acme", body);
    let (keys, told) = acme(json!({"key": "campaigns:page:1"})).await;
    assert_eq!(keys, ["campaigns:acme:page:1"]);
    assert_eq!(told["scope"], "tenant acme: key campaigns:page:1");
    for prefix in ["campaigns:page", "campaigns", "campaigns:", "campaigns:*"] {
        let (keys, told) = acme(json!({"prefix": prefix})).await;
        assert_eq!(keys, ["campaigns:acme:page:1", "campaigns:acme:page:2"], "{prefix}");
        assert_eq!(told["by_endpoint"], json!({"campaigns": 2}));
    }
    let (keys, told) = acme(json!({"tag": "t", "tenant": "acme"})).await;
    assert_eq!((keys.len(), &told["by_endpoint"]), (3, &json!({"campaigns": 2, "leads": 1})));
    assert_eq!(acme(json!({})).await.0.len(), 3);
    assert_eq!(acme(json!({"tag": "unknown"})).await.0.len(), 0);
    let (keys, told) = gone("admin@larder", json!({"tenant": "globex", "key": "leads:1"})).await;
    assert_eq!(
        (keys[0].as_str(), told["scope"].as_str()),
        ("leads:globex:1", Some("tenant globex: key leads:1"))
    );
    let (keys, told) = gone("admin@larder", json!({"tenant": "", "key": "stats:"})).await;
    assert_eq!((keys[0].as_str(), told["scope"].as_str()), ("stats:", Some("shared entries: key stats:")));
    assert_eq!(gone("ingest@acme", json!({})).await.0, ["stats:"]);
    assert_eq!(told["deferred"], false);
}

#[tokio::test]
async fn whoever_may_not_and_what_makes_no_sense_changes_nothing() {
    let server = filled().await;
    for (token, body, status) in [
        ("", json!({}), 401),
        ("member@acme", json!({}), 403),
        ("owner@acme", json!({"tenant": "globex"}), 403),
        ("owner@acme", json!({"tenant": ""}), 403),
        ("ingest@acme", json!({"tenant": "acme"}), 403),
        ("admin@larder", json!({"tag": "t"}), 422),
        ("owner@acme", json!({"tag": "t", "key": "leads:1"}), 422),
        ("owner@acme", json!({"key": ""}), 422),
        ("owner@acme", json!({"key": "leads:%zz"}), 422),
        ("owner@acme", json!({"tag": "x".repeat(257)}), 422),
        ("owner@acme", json!({"dry_run": "yes"}), 422),
        ("owner@acme", json!({"tga": "t"}), 422),
        ("owner@acme", json!([]), 422),
    ] {
        let reply = ask(&server, token, &body).await;
        assert_eq!(reply.status, status, "{token} {body}: {}", reply.text);
    }
    assert_eq!((left(&server).len(), server.cache.stats().invalidations), (7, 0));
}

#[tokio::test]
async fn with_redis_gone_it_is_in_force_here_and_said_to_wait() {
    let redis = RedisServer::start();
    let cache = Cache::builder("test").redis(RedisConfig::new(redis.url())).build().await.unwrap();
    cache.ready().await;
    let server = Server::over(cache);
    read(&server.cache.tenant("acme"), key!("leads", 1)).await;
    redis.kill();
    let told = ask(&server, "owner@acme", &json!({"key": "leads:1"})).await.json();
    assert_eq!((&told["deferred"], &told["invalidated"]), (&json!(true), &json!(true)));
    assert_eq!(left(&server), [""; 0]);
}
