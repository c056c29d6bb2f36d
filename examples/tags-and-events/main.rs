//! How do I say what a change makes old, and who else hears of it? Tags, prefixes, patterns, tenants, expiry; events in
//! this process and in the tenant's log, which all nodes share.
//!
//! `cargo run -p examples --bin tags-and-events`; with `REDIS_URL=redis://localhost` the second node is told by Redis.
#![allow(clippy::print_stdout, reason = "it tells what it has seen")]

use larder::{Cache, Event, Next, Policy, Tenant, Tier, WatchNext, all, glob, key, prefix, tag};
use std::convert::Infallible;
use std::time::Duration;

/// Looks up five keys, and says which of them were loaded.
async fn loaded(acme: &Tenant) -> Result<String, larder::Error> {
    let mut loaded = Vec::new();
    for (campaign, page) in [(1, 1), (1, 2), (2, 1), (2, 2), (3, 1)] {
        let key = key!("leads", campaign, "page", page);
        // Every value has two tags: what it is of, and what it is made from.
        let policy = Policy::ttl(Duration::from_secs(300))
            .tags([format!("campaign:{campaign}"), "leads".to_owned()])
            .stale_if_error(Duration::from_secs(3600));
        let found = acme.fetch(key, &policy, || async { Ok::<_, Infallible>("rows".to_owned()) }).await?;
        if found.status.tier == Tier::Origin {
            loaded.push(format!("{campaign}/{page}"));
        }
    }
    Ok(if loaded.is_empty() { "nothing".to_owned() } else { loaded.join(" ") })
}

#[tokio::main]
async fn main() -> Result<(), Box<dyn std::error::Error>> {
    let redis = std::env::var("REDIS_URL").ok();
    let node = async || {
        let builder = Cache::builder("example");
        match &redis {
            Some(redis) => builder.redis(redis.as_str()).build().await,
            None => builder.build().await,
        }
    };
    let cache = node().await?;
    cache.ready().await;
    let acme = cache.tenant("acme");
    println!("at first: {}", loaded(&acme).await?);

    acme.invalidate(tag("campaign:1")).await?;
    println!("after a tag: {}", loaded(&acme).await?);
    acme.invalidate(prefix!("leads", 2)).await?;
    println!("after a prefix: {}", loaded(&acme).await?);
    acme.invalidate(key!("leads", 3, "page", 1)).await?;
    println!("after a key: {}", loaded(&acme).await?);
    acme.invalidate(glob("leads:*:page:2")).await?;
    println!("after a pattern: {}", loaded(&acme).await?);
    acme.invalidate([tag("campaign:2"), tag("campaign:3")]).await?;
    println!("after two tags in one step: {}", loaded(&acme).await?);
    acme.expire(tag("leads")).await?; // stale, not gone: a failing load would still bring the old rows
    println!("after an expiration: {}", loaded(&acme).await?);
    cache.tenant("globex").invalidate(all()).await?;
    println!("after all of another tenant: {}", loaded(&acme).await?);

    // One cause, several effects: what it makes old is dropped, and then everybody is told.
    let mut here = cache.subscribe_to("campaign.*");
    let other = if redis.is_some() { node().await? } else { cache.clone() };
    let mut log = other.event_log().watch("acme").await?;
    let event = Event::new("campaign.updated").id("1").invalidates([tag("campaign:1")]);
    acme.publish(event.data(serde_json::json!({"status": "paused"}))).await?;
    if let Some(Next::Event(event)) = here.next().await {
        println!("told in this process: {} {}", event.kind(), event.changed_id().unwrap_or_default());
    }
    if let Some(WatchNext::Event(event)) = log.next().await {
        println!("told by the log: {} at {}", event.kind(), event.position().offset());
    }
    println!("after the event: {}", loaded(&acme).await?);
    if redis.is_some() {
        other.shutdown().await;
    }
    cache.shutdown().await;
    Ok(())
}
