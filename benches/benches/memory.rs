//! Does memory stay within its bound? Ten times as much as the bound is put in; what the process grew by, as the system
//! sees it, must not be more than the bound. The process ends with an error otherwise. Linux only.

use larder::{Cache, Policy, key};
use std::convert::Infallible;
use std::time::Duration;

const BOUND: u64 = 64 << 20;
const VALUE: usize = 4096;

fn resident() -> u64 {
    let status = std::fs::read_to_string("/proc/self/status").expect("Linux tells of every process");
    let line = status.lines().find(|line| line.starts_with("VmRSS:")).expect("a process has memory");
    let kilobytes: u64 = line.split_whitespace().nth(1).expect("a number").parse().expect("a number");
    kilobytes << 10
}

fn main() {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().expect("a runtime");
    let (before, stats) = runtime.block_on(async {
        let cache = Cache::builder("bench").memory(BOUND).build().await.expect("valid settings");
        let acme = cache.tenant("acme");
        let policy = Policy::ttl(Duration::from_secs(3600)).tag("campaigns");
        let before = resident();
        for id in 0..10 * BOUND / VALUE as u64 {
            let load = move || async move { Ok::<_, Infallible>("x".repeat(VALUE)) };
            acme.get_or_load(key!("campaigns", id), &policy, load).await.expect("loadable");
        }
        (before, cache.stats())
    });
    let grown = resident().saturating_sub(before);
    println!(
        "put in {} MiB, bound {} MiB: grew by {} MiB, holds {} entries that weigh {} MiB, evicted {}",
        (10 * BOUND) >> 20,
        BOUND >> 20,
        grown >> 20,
        stats.entries,
        stats.memory_bytes >> 20,
        stats.evictions
    );
    if grown > BOUND || stats.memory_bytes > BOUND {
        std::process::exit(1);
    }
}
