//! Does an invalidation cost Redis more where it covers more? A tag, a prefix and a tenant are invalidated that cover a hundred
//! entries, then a million, and Redis counts each command itself (INFO commandstats), those within scripts included. The rival is
//! the same call over the hundred.
//!
//! `cargo bench -p benches --bench entries [ENTRIES]`. The process ends with an error if the counts differ, if Redis went through
//! its keys (SCAN, KEYS), or if anything of before is served.

use larder::{Cache, Key, Policy, Selection, all, key, prefix, tag};
use larder_testkit::RedisServer;
use std::collections::BTreeMap;
use std::convert::Infallible;
use std::time::{Duration, Instant};

/// Keys of one bulk load.
const BATCH: u32 = 1_000;
/// So long that no heartbeat falls between two counts but by accident, which is seen by a second look.
const LEASE: Duration = Duration::from_secs(60);

type Calls = BTreeMap<String, u64>;
/// What is invalidated, by name.
type Kind = (&'static str, fn() -> Selection);

async fn node(redis: &RedisServer) -> Cache {
    let builder = Cache::builder("bench").redis(redis.url().as_str()).coherence_lease(LEASE);
    let cache = builder.build().await.expect("valid settings");
    cache.ready().await;
    cache
}

fn policy() -> Policy {
    Policy::ttl(Duration::from_secs(3600)).tag("t")
}

fn keys(of: u32, from: u32) -> Vec<Key> {
    (from..of.min(from + BATCH)).map(|id| key!("page", id)).collect()
}

/// Reads all entries, and loads those that are not there, as this version; how many were served in another one.
async fn differing(cache: &Cache, entries: u32, version: u64) -> usize {
    let (acme, mut differing) = (cache.tenant("acme"), 0);
    for from in (0..entries).step_by(BATCH as usize) {
        let load = move |keys: Vec<Key>| async move {
            Ok::<_, Infallible>(keys.into_iter().map(|key| (key, version)).collect::<Vec<_>>())
        };
        let found = acme.get_or_load_many::<u64, _, _, _>(keys(entries, from), policy(), load).await;
        let found = found.expect("loadable");
        differing += found.iter().flatten().filter(|found| *found.value.as_ref() != version).count();
    }
    differing
}

/// What Redis was asked for this, by command.
async fn asked(redis: &RedisServer, cache: &Cache, what: fn() -> Selection) -> (Calls, Duration) {
    loop {
        redis.reset_calls();
        let began = Instant::now();
        cache.tenant("acme").invalidate(what()).await.expect("Redis is there");
        let took = began.elapsed();
        let mut calls = redis.calls();
        calls.retain(|command, _| command != "info" && command != "config|resetstat");
        // A heartbeat in between is a second script.
        if calls.get("evalsha").copied().unwrap_or(0) + calls.get("eval").copied().unwrap_or(0) <= 1 {
            return (calls, took);
        }
    }
}

/// One invalidation of each kind over so many entries: what it asked of Redis.
async fn run(entries: u32) -> (Vec<Calls>, bool) {
    let kinds: [Kind; 3] =
        [("tag", || tag("t").into()), ("prefix", || prefix!("page").into()), ("tenant", || all().into())];
    let redis = RedisServer::start();
    redis.command(&["CONFIG", "SET", "maxmemory", "4gb"]);
    let (cache, mut counts, mut well) = (node(&redis).await, Vec::new(), true);
    let mut version = 0;
    for (name, kind) in kinds {
        well &= differing(&cache, entries, version).await == 0;
        let stored = redis.command(&["DBSIZE"]).int().expect("a number");
        let (calls, took) = asked(&redis, &cache, kind).await;
        version += 1;
        let total: u64 = calls.values().sum();
        println!(
            "{name:>6} over {entries:>9} entries ({stored} keys in Redis): {total} commands in {took:.1?}: {calls:?}"
        );
        well &=
            stored >= i64::from(entries) && !["scan", "keys"].iter().any(|name| calls.contains_key(*name));
        counts.push(calls);
    }
    let stale = differing(&node(&redis).await, entries.min(10_000), version).await;
    println!("       served of before, to a node that has just come: {stale}");
    (counts, well && stale == 0)
}

fn main() {
    let entries = std::env::args().skip(1).find_map(|word| word.parse().ok()).unwrap_or(1_000_000);
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build();
    let well = runtime.expect("a runtime").block_on(async {
        let (few, few_well) = run(100).await;
        let (many, many_well) = run(entries).await;
        println!("the same commands: {}", few == many);
        few == many && few_well && many_well
    });
    std::process::exit(i32::from(!well));
}
