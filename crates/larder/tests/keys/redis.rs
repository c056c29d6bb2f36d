//! The same through Redis: what one node stores, another finds under exactly that name, and nothing else does.

use crate::{HOSTILE, policy};
use larder::{Cache, Key, Outcome, Tier, all, key};
use larder_testkit::RedisServer;
use std::time::Duration;

async fn node(redis: &RedisServer, namespace: &str) -> Cache {
    let cache = Cache::builder(namespace).redis(redis.url().as_str()).build().await.unwrap();
    tokio::time::timeout(Duration::from_secs(30), cache.ready())
        .await
        .expect("the node gets to rely on Redis");
    cache
}

/// What `cache` finds, which it has not in memory.
async fn fetched(cache: &Cache, tenant: &str, key: &Key) -> Option<u32> {
    let found = cache.tenant(tenant).get::<u32>(key.clone()).await.unwrap()?;
    assert_eq!((found.status.outcome, found.status.tier), (Outcome::Hit, Tier::Redis), "{tenant:?} {key:?}");
    Some(*found.value)
}

/// Hostile segments, one key that goes on where a tenant `a:k` ends, and those that could be taken for the hash by which long keys are stored.
fn hostile_keys() -> Vec<Key> {
    let long = key!("k", "x".repeat(500));
    let hash = format!("#{}", blake3_hex(long.as_str()));
    let special = [
        long,
        key!(&hash),
        key!("#"),
        key!("#", "x"),
        key!("🦀".repeat(256)),
        key!("k", ":".repeat(300)),
        key!("k", "k", "a"),
    ];
    HOSTILE.iter().map(|segment| key!("k", segment)).chain(special).collect()
}

fn blake3_hex(text: &str) -> String {
    blake3::hash(text.as_bytes()).to_hex().to_string()
}

#[tokio::test]
async fn another_node_finds_each_value_under_its_own_name_only() {
    let redis = RedisServer::start();
    let (writer, reader) = (node(&redis, "keys").await, node(&redis, "keys").await);
    let longest = "t".repeat(128);
    let tenants = ["a", "a:k", "4:acme", "*", "{1}", "\0", "🦀", "\r\n", longest.as_str()];
    let pairs: Vec<_> =
        tenants.iter().flat_map(|t| hostile_keys().into_iter().map(move |key| (*t, key))).collect();
    for (value, (tenant, key)) in (0_u32..).zip(&pairs) {
        writer.tenant(tenant).set(key.clone(), value, &policy()).await.unwrap();
    }
    for (value, (tenant, key)) in (0_u32..).zip(&pairs) {
        assert_eq!(fetched(&reader, tenant, key).await, Some(value), "tenant {tenant:?}, key {key:?}");
    }
    for key in hostile_keys() {
        assert_eq!(fetched(&reader, "b", &key).await, None, "{key:?}");
    }
}

/// Row 28: clearing everything clears one application of those that share a Redis.
#[tokio::test]
async fn clearing_everything_stays_within_the_namespace() {
    let redis = RedisServer::start();
    redis.command(&["SET", "somebody:else", "1"]);
    let names = ["app", "app2", "ap", "app.x"];
    for name in names {
        node(&redis, name).await.tenant("acme").set(key!("k"), 1_u32, &policy()).await.unwrap();
    }
    node(&redis, "app").await.invalidate(all()).await.unwrap();
    for name in names {
        let expected = (name != "app").then_some(1);
        assert_eq!(fetched(&node(&redis, name).await, "acme", &key!("k")).await, expected, "{name}");
    }
    assert_eq!(redis.command(&["GET", "somebody:else"]).text(), "1");
}
