//! What changes with a Redis Cluster? The URL, and nothing else: tenants are spread over it, an invalidation reaches every
//! node, and a tenant that is too much for one server can be divided.
//!
//! `REDIS_URL=redis+cluster://host1:7000,host2:7000 cargo run -p examples --bin redis-cluster`
#![allow(clippy::print_stdout, reason = "it tells what it has seen")]

use larder::{Cache, Policy, RedisState, Tier, all, key, tag};
use std::convert::Infallible;
use std::time::Duration;

const TENANTS: u32 = 50;

async fn node(url: &str) -> Result<Cache, larder::Error> {
    // `big` is divided over four of the 16 buckets; every other tenant lives in one. The same on all nodes.
    let cache = Cache::builder("example").redis(url).spread("big", 4).build().await?;
    cache.ready().await;
    Ok(cache)
}

/// Looks up one key of each tenant, and ten of the big one; how many had to be loaded.
async fn loads(cache: &Cache) -> Result<usize, larder::Error> {
    let policy = Policy::ttl(Duration::from_secs(300)).tag("rows");
    let tenants = (0..TENANTS).map(|n| (cache.tenant(format!("tenant-{n}")), 0));
    let big = (0..10).map(|part| (cache.tenant("big"), part));
    let mut loads = 0;
    for (tenant, part) in tenants.chain(big) {
        let load = || async { Ok::<_, Infallible>("rows".to_owned()) };
        let found = tenant.fetch(key!("rows", part), &policy, load).await?;
        loads += usize::from(found.status.tier == Tier::Origin);
    }
    Ok(loads)
}

#[tokio::main]
async fn main() -> Result<(), Box<dyn std::error::Error>> {
    let url = std::env::var("REDIS_URL")
        .map_err(|_| "REDIS_URL=redis+cluster://host1:7000,host2:7000 is missing")?;
    let (one, two) = (node(&url).await?, node(&url).await?);
    match one.redis_state() {
        RedisState::Connected { server, .. } => println!("connected to a Cluster of {server}"),
        other => println!("not connected: {other:?}"),
    }
    println!("first node: loads {}", loads(&one).await?);
    println!("second node: loads {}", loads(&two).await?);
    one.tenant("tenant-7").invalidate(tag("rows")).acked().await?;
    println!("second node, after an invalidation at the first: loads {}", loads(&two).await?);
    one.tenant("big").invalidate(all()).acked().await?;
    println!("second node, after all of the divided tenant: loads {}", loads(&two).await?);
    one.invalidate(all()).acked().await?;
    println!("second node, after everything: loads {}", loads(&two).await?);
    for cache in [one, two] {
        cache.shutdown().await;
    }
    Ok(())
}
