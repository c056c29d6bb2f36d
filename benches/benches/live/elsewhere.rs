//! A node dies with all its connections; they come back to another one, which finds what they missed.

use std::sync::Arc;
use std::time::{Duration, Instant};

use larder_testkit::RedisServer;

use super::all_at;
use super::client::{Crowd, Tally};
use super::server::Server;

const CLIENTS: u64 = 10_000;
/// Connections that the other node has before.
const RESIDENTS: u64 = 100;
const MISSED: u64 = 50;

pub(crate) async fn run() -> bool {
    let redis = RedisServer::start();
    let url = format!("redis={}", redis.url());
    let doomed = Server::start(&[&url]).await;
    let mut other = Server::start(&[&url]).await;
    let (tally, residents) = (Arc::new(Tally::new(CLIENTS)), Arc::new(Tally::new(RESIDENTS)));
    let stay = Crowd::connect(&[other.address], RESIDENTS, &residents).await;
    // Whoever loses its connection tries the same server first, as anybody would.
    let crowd =
        Crowd::connect_then(&[doomed.address], &[doomed.address, other.address], CLIENTS, &tally).await;
    other.publish(10, 100).await;
    if !all_at(&tally, CLIENTS, 10).await {
        println!("elsewhere: not all got the first events: {}", tally.events());
        return false;
    }
    tally.clear();
    redis.reset_calls();
    let (cpu, begun) = (other.cpu().await, Instant::now());
    doomed.kill().await;
    other.publish(MISSED, 1000).await;
    let complete = all_at(&tally, CLIENTS, 10 + MISSED).await;
    let took = begun.elapsed();
    let calls = redis.calls();
    let spent = (other.cpu().await - cpu).as_secs_f64();
    let all: u64 = calls.values().sum();
    let scripts: u64 =
        ["evalsha", "evalsha_ro", "eval", "fcall"].iter().filter_map(|name| calls.get(*name)).sum();
    println!(
        "elsewhere: a node died with {CLIENTS} connections; all back on the other and caught up by {MISSED} events each {:.2} s \
         after its death, {spent:.2} s of CPU there; {} events, {} resets, {} gaps or duplicates",
        took.as_secs_f64(),
        tally.events(),
        tally.resets(),
        tally.faults()
    );
    println!(
        "elsewhere: Redis was called {all} times by all nodes meanwhile ({scripts} scripts, heartbeats and publications among them), \
         {:.3} calls for each client that came back: {calls:?}",
        all as f64 / CLIENTS as f64
    );
    let right =
        tally.events() == MISSED * CLIENTS && tally.faults() + residents.faults() == 0 && tally.resets() == 0;
    drop((crowd, stay));
    complete && right && took < Duration::from_secs(10) && all < CLIENTS / 2
}
