//! How do I look up many keys at once? One round trip for what is there, one loader call for what is not, and what was
//! written in bulk is there for all.
//!
//! `cargo run -p examples --bin bulk`, or with `REDIS_URL=redis://localhost`.
#![allow(clippy::print_stdout, reason = "it tells what it has seen")]

use larder::{Cache, Key, Policy, key, tag};
use std::convert::Infallible;
use std::sync::Mutex;
use std::time::Duration;

/// How many keys each call of the loader was asked for.
static CALLS: Mutex<Vec<usize>> = Mutex::new(Vec::new());

/// `SELECT … WHERE id = ANY($1)`: all that are missing in one statement. Pairs in any order; what is not there is left out.
async fn prices(keys: Vec<Key>) -> Result<Vec<(Key, u32)>, Infallible> {
    CALLS.lock().expect("nobody panics with it").push(keys.len());
    let id = |key: &Key| key.as_str().rsplit(':').next().and_then(|id| id.parse::<u32>().ok()).unwrap_or(0);
    Ok(keys
        .into_iter()
        .map(|key| (id(&key), key))
        .filter(|(id, _)| id % 10 != 7)
        .map(|(id, key)| (key, id * 100))
        .collect())
}

fn calls() -> Vec<usize> {
    std::mem::take(&mut *CALLS.lock().expect("nobody panics with it"))
}

#[tokio::main]
async fn main() -> Result<(), Box<dyn std::error::Error>> {
    let mut builder = Cache::builder("example");
    if let Ok(redis) = std::env::var("REDIS_URL") {
        builder = builder.redis(&*redis);
    }
    let cache = builder.build().await?;
    cache.ready().await;
    let acme = cache.tenant("acme");
    let policy = Policy::ttl(Duration::from_secs(60)).negative_ttl(Duration::from_secs(10)).tag("prices");
    let keys = |ids: std::ops::Range<u32>| ids.map(|id| key!("price", id)).collect::<Vec<_>>();

    let found = acme.get_or_load_many(keys(0..500), &policy, prices).await?;
    println!("500 keys: found {}, loader calls {:?}", found.iter().flatten().count(), calls());
    let found = acme.get_or_load_many(keys(400..600), &policy, prices).await?;
    println!(
        "200 keys, half of them known: found {}, loader calls {:?}",
        found.iter().flatten().count(),
        calls()
    );

    acme.set_many(keys(600..700).into_iter().map(|key| (key, 42_u32)).collect(), &policy).await?;
    let found = acme.get_many::<u32>(&keys(600..700)).await?;
    println!("100 keys that were set: found {}, loader calls {:?}", found.iter().flatten().count(), calls());

    acme.invalidate(tag("prices")).await?; // all 700, in one step
    let found = acme.get_many::<u32>(&keys(0..700)).await?;
    println!("after the invalidation of their tag: found {}", found.iter().flatten().count());
    cache.shutdown().await;
    Ok(())
}
