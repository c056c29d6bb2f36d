//! On a Redis Cluster: sixteen buckets over three primaries.

use crate::support::{Row, policy, ready};
use larder::{Cache, CacheBuilder, RedisState, Tier, all, first_segment, key, prefix, tag};
use larder_testkit::{RedisCluster, assert_eventually};
use std::time::Duration;

const SOON: Duration = Duration::from_secs(20);

/// Tenants enough to live in every bucket.
const TENANTS: u64 = 100;

async fn node(cluster: &RedisCluster) -> Cache {
    node_with(cluster, |builder| builder).await
}

async fn node_with(cluster: &RedisCluster, set: impl FnOnce(CacheBuilder) -> CacheBuilder) -> Cache {
    let builder = Cache::builder("test").redis(cluster.url().as_str());
    let cache = set(builder).build().await.unwrap();
    ready(&cache).await;
    cache
}

fn tenant(number: u64) -> String {
    format!("tenant-{number}")
}

async fn read(cache: &Cache, tenant: &str, row: &Row) -> (u64, Tier) {
    let row = row.clone();
    let found =
        cache.tenant(tenant).fetch(key!("k", 1), policy().tag("t"), move || row.load()).await.unwrap();
    (*found.value, found.status.tier)
}

/// What all tenants read, each once.
async fn read_all(cache: &Cache, row: &Row) -> Vec<(u64, Tier)> {
    let mut found = Vec::new();
    for number in 0..TENANTS {
        found.push(read(cache, &tenant(number), row).await);
    }
    found
}

#[tokio::test]
async fn what_one_node_loaded_the_other_reads_from_every_primary() {
    let cluster = RedisCluster::start();
    let (one, other, row) = (node(&cluster).await, node(&cluster).await, Row::default());
    let RedisState::Connected { address, .. } = one.redis_state() else { panic!("{:?}", one.redis_state()) };
    assert_eq!(address, cluster.url());
    assert!(read_all(&one, &row).await.iter().all(|(_, tier)| *tier == Tier::Origin));
    assert!(read_all(&other, &row).await.iter().all(|(_, tier)| *tier == Tier::Redis));
    assert!(read_all(&other, &row).await.iter().all(|(_, tier)| *tier == Tier::Memory));
    assert_eq!(row.loads(), TENANTS);
    for primary in &cluster.nodes()[..3] {
        let entries = primary.command(&["KEYS", "ld1:test:{*}:e:*"]).items().len();
        assert!(entries > 10, "{entries} on one of three");
    }
    assert_eq!((one.stats().epoch_bumps, other.stats().epoch_bumps), (0, 0));
    for cache in [one, other] {
        cache.shutdown().await;
    }
}

#[tokio::test]
async fn an_invalidation_across_tenants_reaches_every_bucket_of_every_node() {
    let cluster = RedisCluster::start();
    let (one, other, row) = (node(&cluster).await, node(&cluster).await, Row::default());
    for round in 1..=2_u64 {
        read_all(&one, &row).await;
        read_all(&other, &row).await;
        row.write();
        match round {
            1 => one.invalidate(all()).acked().await.unwrap(),
            _ => one.invalidate(first_segment("k")).acked().await.unwrap(),
        };
        assert!(read_all(&other, &row).await.iter().all(|(version, _)| *version == round));
        assert!(read_all(&one, &row).await.iter().all(|(version, _)| *version == round));
    }
}

#[tokio::test]
async fn an_invalidation_of_a_tenant_reaches_the_other_node_by_every_selector() {
    let cluster = RedisCluster::start();
    let (one, other, row) = (node(&cluster).await, node(&cluster).await, Row::default());
    for (round, tenant) in (0..12).map(|round| (round, tenant(round / 4))) {
        read(&one, &tenant, &row).await;
        read(&other, &tenant, &row).await;
        let version = row.write();
        let scope = one.tenant(&tenant);
        match round % 4 {
            0 => scope.invalidate(tag("t")).await.unwrap(),
            1 => scope.invalidate(key!("k", 1)).await.unwrap(),
            2 => scope.invalidate(prefix!("k")).await.unwrap(),
            _ => scope.invalidate(all()).await.unwrap(),
        };
        assert_eq!(read(&one, &tenant, &row).await.0, version, "here at once");
        assert_eventually!(read(&other, &tenant, &row).await.0 == version, SOON, "there in a moment");
    }
}
