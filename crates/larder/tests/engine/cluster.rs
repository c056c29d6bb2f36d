//! On a Redis Cluster: sixteen buckets over three primaries.

use crate::support::{MINUTE, Row, policy, ready, unhurried};
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

/// Some of a tenant's values, whatever tier they are in.
async fn of_spread(cache: &Cache, row: &Row) -> Vec<u64> {
    let mut found = Vec::new();
    for id in 0..40 {
        let row = row.clone();
        let load = move || row.load();
        found.push(*cache.tenant("big").get_or_load(key!("k", id), policy().tag("t"), load).await.unwrap());
    }
    found
}

#[tokio::test]
async fn a_tenant_that_is_spread_is_read_written_and_invalidated_as_one() {
    let cluster = RedisCluster::start();
    let spread = |builder: CacheBuilder| builder.spread("big", 8);
    let (one, other, row) =
        (node_with(&cluster, spread).await, node_with(&cluster, spread).await, Row::default());
    of_spread(&one, &row).await;
    let tags =
        |node: &larder_testkit::RedisServer| node.command(&["KEYS", "ld1:test:*:e:3:big:*"]).items().len();
    let by_primary: Vec<usize> = cluster.nodes()[..3].iter().map(tags).collect();
    assert_eq!(by_primary.iter().sum::<usize>(), 40);
    assert!(by_primary.iter().filter(|count| **count > 0).count() >= 2, "{by_primary:?}");
    for round in 1..=5 {
        assert!(of_spread(&other, &row).await.iter().all(|version| *version == round - 1));
        let (loads, version) = (row.loads(), row.write());
        let big = one.tenant("big");
        match round {
            1 => big.invalidate(tag("t")).acked().await.unwrap(),
            2 => big.invalidate(prefix!("k")).acked().await.unwrap(),
            3 => big.invalidate(all()).acked().await.unwrap(),
            4 => big
                .invalidate((0..40).map(|id| key!("k", id).into()).collect::<Vec<_>>())
                .acked()
                .await
                .unwrap(),
            _ => one.invalidate(first_segment("k")).acked().await.unwrap(),
        };
        assert_eq!(of_spread(&one, &row).await, [version; 40]);
        assert_eq!(of_spread(&other, &row).await, [version; 40]);
        assert_eq!(row.loads(), loads + 40, "one load a key for both nodes");
    }
    // One key alone, and the stamp of it.
    let stamp = one.tenant("big").invalidate(key!("k", 7)).await.unwrap();
    let got = other.tenant("big").at_least(stamp).get::<u64>(key!("k", 7)).await.unwrap();
    assert!(got.is_none());
    assert!(other.tenant("big").get::<u64>(key!("k", 8)).await.unwrap().is_some());
}

#[tokio::test]
async fn bulk_calls_of_a_tenant_that_is_spread_go_to_every_bucket() {
    let cluster = RedisCluster::start();
    // A message or an answer that is late on a busy machine is a value that is not kept, and a miss: both as they have to be,
    // and nothing that this is about.
    let url = cluster.url();
    let spread =
        |builder: CacheBuilder| builder.redis(unhurried(&url)).coherence_lease(MINUTE).spread("big", 16);
    let (one, other) = (node_with(&cluster, spread).await, node_with(&cluster, spread).await);
    let keys: Vec<_> = (0..100).map(|id| key!("k", id)).collect();
    let values = keys.iter().cloned().zip(0_u64..).collect();
    one.tenant("big").set_many(values, policy()).await.unwrap();
    let found = other.tenant("big").get_many::<u64>(&keys).await.unwrap();
    let found: Vec<_> =
        found.into_iter().map(|found| found.map(|found| (*found.value, found.status.tier))).collect();
    assert_eq!(found, (0..100).map(|value| Some((value, Tier::Redis))).collect::<Vec<_>>());
    let stamp = one.tenant("big").invalidate(all()).await.unwrap();
    let row = Row::default();
    let load = move |missing: Vec<larder::Key>| {
        let found: Vec<_> = missing.into_iter().map(|key| (key, row.read())).collect();
        async move { Ok::<_, std::convert::Infallible>(found) }
    };
    let other = other.tenant("big").at_least(stamp);
    let loaded = other.get_or_load_many(keys.clone(), policy(), load).await.unwrap();
    assert_eq!(loaded.iter().flatten().count(), 100);
    assert!(one.tenant("big").get_many::<u64>(&keys).await.unwrap().iter().all(Option::is_some));
}

#[tokio::test]
async fn the_author_of_a_write_across_tenants_reads_it_on_any_node() {
    let cluster = RedisCluster::start();
    let (one, other, row) = (node(&cluster).await, node(&cluster).await, Row::default());
    read_all(&other, &row).await;
    let version = row.write();
    let stamp: larder::Stamp = one.invalidate(all()).await.unwrap().to_string().parse().unwrap();
    for number in 0..TENANTS {
        let tenant = other.tenant(tenant(number)).at_least(stamp.clone());
        let load = row.load();
        let found = tenant.get_or_load(key!("k", 1), policy().tag("t"), move || load).await.unwrap();
        assert_eq!(*found, version);
    }
}

#[tokio::test]
async fn what_redis_says_and_holds_is_told_of_all_primaries_together() {
    let cluster = RedisCluster::start();
    let (cache, row) = (node(&cluster).await, Row::default());
    read_all(&cache, &row).await;
    cache.ping().await.unwrap();
    let used =
        |node: &larder_testkit::RedisServer| node.info("memory")["used_memory"].parse::<u64>().unwrap();
    let told: u64 = cache.redis_info().await.unwrap()["used_memory"].parse().unwrap();
    let largest = cluster.nodes()[..3].iter().map(used).max().unwrap();
    assert!(told > 2 * largest, "{told}, but one of three has {largest}");
    let (mut keys, mut from) = (Vec::new(), Some(larder::RedisCursor::default()));
    while let Some(cursor) = from {
        let page = cache.redis_keys(cursor).await.unwrap();
        keys.extend(page.0);
        from = page.1;
    }
    keys.sort_unstable();
    keys.dedup();
    let entries = keys.iter().filter(|key| key.contains(":e:")).count();
    assert_eq!(u64::try_from(entries).unwrap(), TENANTS);
    assert_eq!(keys.iter().filter(|key| key.ends_with(":i")).count(), 16);
}
