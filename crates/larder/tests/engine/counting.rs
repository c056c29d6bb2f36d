//! What is counted of each tenant, and that it is exact.

use crate::support::{Row, alone, alone_by_hand, node, policy, ready};
use larder::{Cache, EntryFilter, all, key, prefix, tag};
use larder_testkit::{RedisServer, assert_eventually};
use std::convert::Infallible;
use std::time::Duration;

const SOON: Duration = Duration::from_secs(30);
const TENANTS: [&str; 3] = ["acme", "globex", "a tenant: * of another name"];

async fn put(cache: &Cache, tenant: &str, id: usize, bytes: usize) {
    cache.tenant(tenant).set(key!("k", id), "x".repeat(bytes), policy().tag("t")).await.unwrap();
}

/// What memory holds of a tenant, by going through all of it. Only what is servable is listed.
fn listed(cache: &Cache, tenant: &str) -> (u64, u64) {
    let entries = cache.entries(&EntryFilter::default().tenant(tenant), None, usize::MAX).entries;
    (entries.len() as u64, entries.iter().map(|entry| entry.size).sum())
}

fn held(cache: &Cache, tenant: &str) -> (u64, u64) {
    let stats = cache.tenant(tenant).stats();
    (stats.entries, stats.memory_bytes)
}

#[tokio::test]
async fn a_tenants_entries_and_bytes_are_those_that_a_walk_finds() {
    let (cache, clock) = alone_by_hand().await;
    for (i, tenant) in TENANTS.iter().enumerate() {
        for id in 0..=i {
            put(&cache, tenant, id, 100 * (i + 1)).await;
        }
    }
    for (tenant, entries) in TENANTS.iter().zip(1..) {
        assert_eq!(held(&cache, tenant), listed(&cache, tenant));
        assert_eq!(held(&cache, tenant).0, entries);
    }
    let largest = |limit| -> Vec<String> {
        cache.largest_tenants(limit).into_iter().map(|(tenant, _)| tenant).collect()
    };
    assert_eq!(largest(9), [TENANTS[2], TENANTS[1], TENANTS[0]]);
    assert_eq!(largest(1), [TENANTS[2]]);
    // A larger one in the place of another; one that is deleted; one that expires and is asked for.
    put(&cache, "acme", 0, 5000).await;
    cache.tenant("globex").delete(key!("k", 0)).await.unwrap();
    for tenant in TENANTS {
        assert_eq!(held(&cache, tenant), listed(&cache, tenant), "{tenant}");
    }
    assert_eq!((held(&cache, "acme").0, held(&cache, "globex").0), (1, 1));
    let before = held(&cache, "acme");
    clock.advance(crate::support::MINUTE * 2);
    let load = || async { Ok::<_, Infallible>("x".repeat(5000)) };
    cache.tenant("acme").get_or_load(key!("k", 0), policy().tag("t"), load).await.unwrap();
    assert_eq!(held(&cache, "acme"), before);
    assert_eq!(held(&cache, "nobody"), (0, 0));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn the_tenants_together_hold_what_the_cache_holds_whatever_happens_at_once() {
    let cache = Cache::builder("test").memory(1 << 20).max_value_size(64 << 10).build().await.unwrap();
    let work = (0..8_usize).map(|worker| {
        let cache = cache.clone();
        tokio::spawn(async move {
            for round in 0..1500_usize {
                let tenant = TENANTS[(worker + round) % TENANTS.len()];
                let id = (round * 7 + worker) % 300;
                match round % 10 {
                    0 => {
                        cache.tenant(tenant).delete(key!("k", id)).await.unwrap();
                    }
                    5 if round % 50 == 5 => {
                        cache.tenant(tenant).invalidate(prefix!("k")).await.unwrap();
                    }
                    // Finds what was invalidated, and drops it.
                    1..=3 => {
                        let load = move || async move { Ok::<_, Infallible>("y".repeat(id * 20)) };
                        cache.tenant(tenant).get_or_load(key!("k", id), policy(), load).await.unwrap();
                    }
                    _ => put(&cache, tenant, id, id * 30).await,
                }
            }
        })
    });
    for done in work.collect::<Vec<_>>() {
        done.await.unwrap();
    }
    let stats = cache.stats();
    assert!(stats.evictions > 0, "there was no want of room");
    let sum = |of: fn(&larder::TenantStats) -> u64| -> u64 {
        TENANTS.iter().map(|tenant| of(&cache.tenant(tenant).stats())).sum()
    };
    assert_eq!(sum(|tenant| tenant.entries), stats.entries);
    assert_eq!(sum(|tenant| tenant.memory_bytes), stats.memory_bytes);
    assert_eq!(sum(|tenant| tenant.evictions), stats.evictions);
    assert_eq!(sum(|tenant| tenant.invalidations), stats.invalidations);
}

#[tokio::test]
async fn a_new_value_of_a_key_is_no_eviction_of_the_old_one() {
    let cache = alone().await;
    for bytes in 1..50 {
        put(&cache, "acme", 1, bytes).await;
    }
    let stats = cache.stats();
    assert_eq!((stats.evictions, stats.entries), (0, 1));
    assert_eq!(cache.tenant("acme").stats().evictions, 0);
}

#[tokio::test]
async fn evictions_count_for_the_tenant_that_lost_an_entry() {
    let cache = Cache::builder("test").memory(1 << 20).max_value_size(64 << 10).build().await.unwrap();
    put(&cache, "globex", 0, 100).await;
    for id in 0..2000 {
        put(&cache, "acme", id, 4000).await;
    }
    let (acme, globex) = (cache.tenant("acme").stats(), cache.tenant("globex").stats());
    assert!(acme.evictions > 1000, "{acme:?}");
    assert!(globex.evictions <= 1, "{globex:?}");
    assert_eq!(acme.evictions + globex.evictions, cache.stats().evictions);
    assert_eq!((globex.entries, globex.evictions), (1 - globex.evictions, 1 - globex.entries));
}

#[tokio::test]
async fn an_invalidation_counts_for_the_tenant_that_asked_for_it() {
    let (cache, row) = (alone().await, Row::default());
    let (acme, globex) = (cache.tenant("acme"), cache.tenant("globex"));
    acme.get_or_load(key!("k"), policy().tag("t"), move || row.load()).await.unwrap();
    acme.invalidate(tag("t")).await.unwrap();
    acme.delete(key!("k")).await.unwrap();
    cache.shared().invalidate(tag("t")).await.unwrap();
    cache.invalidate(all()).await.unwrap();
    assert_eq!(acme.stats().invalidations, 2);
    assert_eq!(acme.stats().total().misses, 1);
    assert_eq!((globex.stats().invalidations, globex.stats().total().misses), (0, 0));
    assert_eq!(cache.shared().stats().invalidations, 1);
    assert_eq!(cache.stats().invalidations, 4);
}

#[tokio::test]
async fn the_coherence_lag_is_the_age_of_the_last_heartbeat_that_counted() {
    assert_eq!(alone().await.stats().coherence_lag, Some(Duration::ZERO), "there is nobody to lag behind");
    let redis = RedisServer::start();
    let cache = node(&redis).await;
    let stats = cache.stats();
    assert!(stats.coherence_lag.is_some_and(|lag| lag < SOON), "{stats:?}");
    redis.kill();
    let lease = Duration::from_secs(1);
    assert_eventually!(cache.stats().coherence_lag > Some(lease), SOON, "without answers it grows");
    assert_eq!(cache.stats().lease_left, Duration::ZERO);
    let late = Cache::builder("test").redis(redis.url().as_str()).build().await.unwrap();
    assert_eq!(late.stats().coherence_lag, None, "nothing was ever heard");
    redis.restart_empty();
    ready(&late).await;
    assert!(late.stats().coherence_lag.is_some());
    assert_eventually!(cache.stats().coherence_lag < Some(lease), SOON, "it is back");
}
