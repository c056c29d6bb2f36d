//! What does a million distinct tags leave behind? 200 tenants invalidate 5,000 tags each on one node, on one Redis, while
//! values that carry some of them lie in Redis and in the memory of two nodes. Asked: what the coherence state weighs in
//! Redis, what the nodes' processes have grown by, and whether anything old is served afterwards, also by a node that was not
//! there. The rival is the number of members that a state without bounds would have.
//!
//! `cargo bench -p benches --bench tags`. The process ends with an error if anything is stale or beyond its bound.

use larder::{Cache, Policy, key, tag};
use larder_testkit::RedisServer;
use std::convert::Infallible;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

const TENANTS: usize = 200;
/// Of each tenant: half of what it may bring in a minute before its invalidations are widened.
const TAGS: usize = 5_000;
/// Tags in one call.
const BATCH: usize = 50;
/// Values of a tenant, each with a tag of its own.
const VALUES: usize = 5;
const STATE: &str = "ld1:bench:{0}:i";

/// A database: how often each value was read, and the version of all.
#[derive(Default)]
struct Origin {
    version: AtomicU64,
    loads: AtomicU64,
}

fn resident() -> u64 {
    let status = std::fs::read_to_string("/proc/self/status").expect("Linux tells of every process");
    let line = status.lines().find(|line| line.starts_with("VmRSS:")).expect("a process has memory");
    let kilobytes: u64 = line.split_whitespace().nth(1).expect("a number").parse().expect("a number");
    kilobytes << 10
}

async fn node(redis: &RedisServer) -> Cache {
    let cache = Cache::builder("bench").redis(redis.url().as_str()).build().await.expect("valid settings");
    cache.ready().await;
    cache
}

fn tenant(number: usize) -> String {
    format!("tenant-{number}")
}

fn tag_of(number: usize) -> String {
    format!("tag-{number}")
}

/// How many values a node serves in another version than this.
async fn differing(cache: &Cache, origin: &Arc<Origin>, version: u64) -> usize {
    let mut differing = 0;
    for number in 0..TENANTS {
        for value in 0..VALUES {
            let origin = Arc::clone(origin);
            let load = move || async move {
                origin.loads.fetch_add(1, Ordering::SeqCst);
                Ok::<_, Infallible>(origin.version.load(Ordering::SeqCst))
            };
            let policy = Policy::ttl(Duration::from_secs(3600)).tag(tag_of(value * (TAGS / VALUES)));
            let found = cache.tenant(tenant(number)).get_or_load(key!("value", value), &policy, load).await;
            differing += usize::from(*found.expect("loadable") != version);
        }
    }
    differing
}

async fn invalidate_all(cache: &Cache) {
    // Eight writers, each with tenants of its own.
    let writers = (0..8).map(|writer| {
        let cache = cache.clone();
        tokio::spawn(async move {
            for number in (writer..TENANTS).step_by(8) {
                for from in (0..TAGS).step_by(BATCH) {
                    let tags: Vec<_> = (from..from + BATCH).map(|number| tag(tag_of(number))).collect();
                    cache.tenant(tenant(number)).invalidate(tags).await.expect("Redis is there");
                }
            }
        })
    });
    for writer in writers.collect::<Vec<_>>() {
        writer.await.expect("it does not panic");
    }
}

fn memory_of(redis: &RedisServer) -> (i64, i64, u64) {
    let number = |command: &[&str]| redis.command(command).int().expect("a number");
    let used = redis.info("memory")["used_memory"].parse().expect("a number");
    (number(&["ZCARD", STATE]), number(&["MEMORY", "USAGE", STATE]), used)
}

async fn run(redis: &RedisServer) -> bool {
    let (one, other, origin) = (node(redis).await, node(redis).await, Arc::<Origin>::default());
    for cache in [&one, &other] {
        assert_eq!(differing(cache, &origin, 0).await, 0);
    }
    let (before, (_, _, redis_before)) = (resident(), memory_of(redis));
    origin.version.store(1, Ordering::SeqCst);
    let began = Instant::now();
    invalidate_all(&one).await;
    let took = began.elapsed().as_secs_f64();
    let (members, bytes, redis_after) = memory_of(redis);
    let grown = resident().saturating_sub(before);
    let remembered = [&one, &other].map(|cache| cache.stats().scopes_remembered);
    let widened: u64 = (0..TENANTS).map(|number| one.tenant(tenant(number)).stats().widened).sum();
    let mut stale = Vec::new();
    for cache in [&one, &other, &node(redis).await] {
        stale.push(differing(cache, &origin, 1).await);
    }
    let (mib, total) = (|bytes: u64| bytes >> 20, TENANTS * TAGS);
    println!("{total} distinct tags in {took:.1} s, {widened} calls widened to their tenant");
    println!(
        "Redis: the coherence state has {members} members and {} MiB; {} MiB more are used in all",
        mib(bytes.unsigned_abs()),
        mib(redis_after.saturating_sub(redis_before))
    );
    println!(
        "two nodes in this process: remember {remembered:?} scopes, grew by {} MiB together",
        mib(grown)
    );
    println!(
        "stale afterwards, of {} values: {stale:?} (the node that wrote, another, one that has just come); {} loads",
        TENANTS * VALUES,
        origin.loads.load(Ordering::SeqCst)
    );
    let bounded = members <= 202_000 && remembered.iter().all(|scopes| *scopes <= 65_536) && mib(grown) < 100;
    bounded && widened == 0 && stale.iter().all(|stale| *stale == 0)
}

fn main() {
    let redis = RedisServer::start();
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build();
    let well = runtime.expect("a runtime").block_on(run(&redis));
    drop(redis);
    std::process::exit(i32::from(!well));
}
