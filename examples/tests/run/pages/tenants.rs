use super::cache;
use larder::{Cache, Policy, all, key, tag};
use std::convert::Infallible;
use std::time::Duration;

async fn load() -> Result<u32, Infallible> {
    Ok(1)
}

#[tokio::test]
async fn nothing_of_one_tenant_reaches_another() {
    let cache = cache().await;
    let policy = Policy::ttl(Duration::from_secs(60)).tag("plan");
    let (acme, globex) = (cache.tenant("acme"), cache.tenant("globex"));
    let everybody = cache.shared(); // what belongs to nobody: categories, exchange rates
    for part in [&acme, &globex, &everybody] {
        part.get_or_load(key!("plan"), &policy, load).await.unwrap();
    }
    acme.invalidate(all()).await.unwrap();
    assert!(globex.contains::<u32>(key!("plan")).await.unwrap());
    assert!(everybody.contains::<u32>(key!("plan")).await.unwrap());
    globex.invalidate(tag("plan")).await.unwrap();
    assert!(everybody.contains::<u32>(key!("plan")).await.unwrap());
}

#[tokio::test]
async fn one_tenant_takes_no_more_than_its_part() {
    let cache = Cache::builder("shop")
        .memory(64 << 20)
        .tenant_memory(16 << 20) // beyond it a tenant's own oldest entries make way
        .tenant_loads(100) // of 1,000 in all; further ones wait within their time-out
        .build()
        .await
        .unwrap();
    let noisy = cache.tenant("noisy");
    let policy = Policy::ttl(Duration::from_secs(60));
    for number in 0..100 {
        let load = || async { Ok::<_, Infallible>("x".repeat(500_000)) };
        noisy.get_or_load(key!("blob", number), &policy, load).await.unwrap();
    }
    let stats = noisy.stats(); // counted by tenant: entries, bytes, evictions, hits, loads
    assert!(stats.memory_bytes <= 16 << 20 && stats.evictions > 0);
    assert_eq!(cache.largest_tenants(10)[0].0, "noisy");
}
