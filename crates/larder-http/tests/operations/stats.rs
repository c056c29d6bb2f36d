//! Statistics.

use larder::{key, tag};
use serde_json::{Value, json};

use crate::support::{Server, read};

async fn two_tenants() -> Server {
    let server = Server::start().await;
    let (acme, globex) = (server.cache.tenant("acme"), server.cache.tenant("globex"));
    for _ in 0..4 {
        read(&acme, key!("campaigns", 1)).await;
    }
    read(&acme, key!("campaign", 17)).await;
    read(&globex, key!("leads", 1)).await;
    read(&globex, key!("leads", 2)).await;
    read(&server.cache.shared(), key!("stats", "")).await;
    server
}

fn misses(stats: &Value) -> Vec<(&str, i64)> {
    let by_endpoint = stats["by_endpoint"].as_object().unwrap();
    by_endpoint.iter().map(|(name, counts)| (name.as_str(), counts["misses"].as_i64().unwrap())).collect()
}

#[tokio::test]
async fn anyone_gets_totals_and_nothing_else() {
    let server = two_tenants().await;
    let stats = server.get("", "/api/cache/stats").await.json();
    assert_eq!(
        stats,
        json!({"status": "healthy", "enabled": true, "total_keys": 5, "hits": 3, "misses": 5, "hit_rate": 0.375,
            "l1_hits": 3, "l2_hits": 0, "stale_hits": 0, "coalesced": 0, "loads": 5, "load_errors": 0,
            "invalidations": 0, "evictions": 0})
    );
    assert_eq!(server.get("forged", "/api/cache/stats").await.status, 401);
}

#[tokio::test]
async fn a_tenant_sees_its_own_under_every_endpoint() {
    let server = two_tenants().await;
    for role in ["owner", "member", "ingest"] {
        let reply = server.get(&format!("{role}@acme"), "/api/cache/stats").await;
        assert_eq!(reply.headers["cache-control"], "private, no-store");
        let stats = reply.json();
        assert_eq!(misses(&stats), [("campaigns", 2), ("leads", 0), ("stats", 0)], "{role}");
        assert_eq!(
            (&stats["hits"], &stats["misses"], &stats["total_keys"]),
            (&json!(3), &json!(2), &json!(2))
        );
    }
    let nobody = server.get("owner@new", "/api/cache/stats").await.json();
    assert_eq!(
        (&nobody["misses"], &nobody["hit_rate"], &nobody["total_keys"]),
        (&json!(0), &json!(0.0), &json!(0))
    );
}

#[tokio::test]
async fn a_tenant_sees_its_own_invalidations_evictions_and_keys_and_nobody_elses() {
    let cache =
        larder::Cache::builder("test").memory(1 << 20).max_value_size(64 << 10).build().await.unwrap();
    let server = Server::over(cache);
    let (acme, globex) = (server.cache.tenant("acme"), server.cache.tenant("globex"));
    read(&acme, key!("campaigns", 1)).await;
    acme.invalidate(tag("nothing")).await.unwrap();
    for id in 0..5000 {
        read(&globex, key!("leads", id)).await;
    }
    for _ in 0..6 {
        globex.invalidate(tag("nothing")).await.unwrap();
    }
    server.cache.invalidate(larder::first_segment("nothing")).await.unwrap();
    let numbers = async |token: &str| {
        let stats = server.get(token, "/api/cache/stats").await.json();
        ["invalidations", "evictions", "total_keys"].map(|name| stats[name].as_u64().unwrap())
    };
    let (mine, theirs) = (numbers("owner@acme").await, numbers("member@globex").await);
    let [_, evictions, keys] = mine;
    assert_eq!((mine[0], theirs[0]), (1, 6));
    assert!(evictions <= 1 && evictions + keys == 1, "{mine:?}");
    assert!(theirs[1] > 1000, "{theirs:?}");
    let all = numbers("admin@larder").await;
    assert_eq!(all, numbers("").await);
    assert_eq!(all[0], 8);
    for number in 1..3 {
        assert_eq!(all[number], mine[number] + theirs[number], "{number}: {all:?} {mine:?} {theirs:?}");
    }
    assert_eq!(numbers("owner@new").await, [0; 3]);
    assert_eq!(numbers("admin@acme").await, all, "an operator operates the node, whatever its tenant");
}

#[tokio::test]
async fn an_admin_sees_all_tenants() {
    let server = two_tenants().await;
    let stats = server.get("admin@larder", "/api/cache/stats").await.json();
    assert_eq!(misses(&stats), [("campaigns", 2), ("leads", 2), ("stats", 1)]);
    assert_eq!((&stats["misses"], &stats["total_keys"]), (&json!(5), &json!(5)));
}

#[tokio::test]
async fn metrics_are_for_an_admin_and_tell_of_memory_where_there_is_no_redis() {
    let server = two_tenants().await;
    let path = "/api/v1/cache/metrics";
    assert_eq!(server.get("", path).await.status, 401);
    assert_eq!(server.get("owner@acme", path).await.status, 403);
    let metrics = server.get("admin@larder", path).await.json();
    assert_eq!((&metrics["backend"], &metrics["total_requests"]), (&json!("memory"), &json!(8)));
    assert_eq!((&metrics["hit_rate_percent"], &metrics["redis_evicted_keys"]), (&json!(37.5), &json!(0)));
    assert_eq!((&metrics["max_memory_mb"], &metrics["database_statements"]), (&json!(256.0), &json!(17)));
    assert!(metrics["used_memory_mb"].as_f64() > Some(0.0), "{metrics}");
    let largest: Vec<_> = metrics["largest_tenants"]
        .as_array()
        .unwrap()
        .iter()
        .map(|held| (held["tenant"].as_str().unwrap(), held["entries"].as_u64().unwrap()))
        .collect();
    assert_eq!(largest[2], ("", 1), "what all share: {metrics}");
    assert!(largest.contains(&("acme", 2)) && largest.contains(&("globex", 2)), "{metrics}");
    assert!(metrics["largest_tenants"][0]["memory_mb"].as_f64() > Some(0.0), "{metrics}");
}
