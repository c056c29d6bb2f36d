//! What do live notifications cost? A server process on one core, a load generator on another, over loopback:
//!
//! | question | how |
//! | --- | --- |
//! | `deliveries` | 1,000 connections of one tenant, events of 200 bytes at rising rates: deliveries a second, CPU of the server for each, delay |
//! | `idle` | resident memory of the server for each further connection that does nothing |
//! | `median` | from publication to the client, 100 connections, 20 events a second |
//! | `reconnect` | 10,000 connections are cut, 50 events are missed: until all are back and caught up; one server, without Redis |
//! | `elsewhere` | two servers on one Redis; one is killed with 10,000 connections, which come back to the other: until all have what they missed, and how often Redis was called |
//! | `rereads` | three servers on one Redis, a row read again from all of them on every event, while connections are stalled, a server stands still, is killed, Redis is restarted: is any value old? `rereads 1000000` for more than 120,000 |
//! | `faults` | three servers on one Redis, 1,000 connections, 100 events a second; a server is killed, Redis restarted, its pub/sub connections killed |
//!
//! `cargo bench -p benches --bench live [-- QUESTION...]`. Every client checks that what it gets is without a gap and without a duplicate, and all counts have
//! to reconcile, and `deliveries`, `idle`, `median` and `reconnect` have bounds: the process ends with an error otherwise. The load generator speaks WebSocket itself and shares with the server only the machine: its memory
//! bandwidth, and the kernel's half of loopback, of which the receiving part runs on the sender's core. Tokens are verified by a comparison of text, not by a
//! signature: an HMAC adds some microseconds to each connect.

mod client;
mod elsewhere;
mod faults;
mod origin;
mod rereads;
mod server;

use std::process::{Command, ExitCode};
use std::sync::Arc;
use std::time::{Duration, Instant};

use client::{Crowd, Tally};
use server::Server;

/// Says in the environment that this process has its core.
const PINNED: &str = "LARDER_BENCH_PINNED";

fn main() -> ExitCode {
    let arguments: Vec<String> = std::env::args().skip(1).filter(|argument| argument != "--bench").collect();
    if arguments.first().is_some_and(|first| first == "server") {
        server::main(&arguments[1..]);
        return ExitCode::SUCCESS;
    }
    let cores = std::thread::available_parallelism().map_or(1, usize::from);
    let is_of_faults = arguments.iter().any(|question| question == "faults" || question == "rereads");
    if cores > 1 && std::env::var_os(PINNED).is_none() && !is_of_faults {
        let myself = std::env::current_exe().expect("a running program has a path");
        let mut pinned = Command::new("taskset");
        pinned.args(["-c", "1"]).arg(myself).args(&arguments).env(PINNED, "1");
        return match pinned.status() {
            Ok(status) if status.success() => ExitCode::SUCCESS,
            _ => ExitCode::FAILURE,
        };
    }
    let runtime =
        tokio::runtime::Builder::new_multi_thread().worker_threads(cores.min(2)).enable_all().build();
    let asked = |question: &str| {
        let of_faults = question == "faults" || question == "rereads";
        arguments.is_empty() && !of_faults || arguments.iter().any(|a| a == question)
    };
    let fine = runtime.expect("threads can be started").block_on(async {
        let mut fine = true;
        if asked("deliveries") {
            fine &= deliveries().await;
        }
        if asked("idle") {
            fine &= idle().await;
        }
        if asked("median") {
            fine &= median().await;
        }
        if asked("reconnect") {
            fine &= reconnect().await;
        }
        if asked("elsewhere") {
            fine &= elsewhere::run().await;
        }
        if asked("faults") {
            fine &= faults::run().await;
        }
        if asked("rereads") {
            fine &= rereads::run(arguments.iter().find_map(|number| number.parse().ok())).await;
        }
        fine
    });
    if fine { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}

/// Waits until every client is at `offset`, or nothing comes any more.
async fn all_at(tally: &Tally, clients: u64, offset: u64) -> bool {
    let (mut last, mut since) = (0, Instant::now());
    while tally.at_or_after(offset) < clients {
        tokio::time::sleep(Duration::from_millis(20)).await;
        let now = tally.events();
        if now != last {
            (last, since) = (now, Instant::now());
        }
        if since.elapsed() > Duration::from_secs(15) {
            return false;
        }
    }
    true
}

async fn deliveries() -> bool {
    const CLIENTS: u64 = 1000;
    const SECONDS: u64 = 5;
    /// What each may cost the server, at every rate.
    const MICROSECONDS: f64 = 10.0;
    /// Deliveries a second that one core has to come to, at one of the rates.
    const LEAST: f64 = 60_000.0;
    let (mut fine, mut most) = (true, 0.0_f64);
    let mut server = Server::start(&[]).await;
    let tally = Arc::new(Tally::new(CLIENTS));
    let crowd = Crowd::connect(&[server.address], CLIENTS, &tally).await;
    let mut offset = 0;
    for rate in [20, 60, 100, 150, 200] {
        tally.clear();
        let (cpu, begun) = (server.cpu().await, Instant::now());
        server.publish(rate * SECONDS, rate).await;
        offset += rate * SECONDS;
        let complete = all_at(&tally, CLIENTS, offset).await;
        let took = begun.elapsed();
        let used = server.cpu().await - cpu;
        let (expected, got) = (CLIENTS * rate * SECONDS, tally.events());
        #[expect(clippy::cast_precision_loss, reason = "for a report")]
        let (each, second) = (used.as_secs_f64() * 1e6 / got as f64, got as f64 / took.as_secs_f64());
        let right = complete && got == expected && tally.faults() == 0 && each <= MICROSECONDS;
        most = most.max(second);
        println!(
            "deliveries: {CLIENTS} connections, {rate} events/s published: {second:.0} delivered/s, {each:.2} us of server CPU each \
             ({:.0} % of a core), delay p50 {:.2} ms, p99 {:.2} ms; delivered {got} of {expected}, {} gaps or duplicates{}",
            used.as_secs_f64() / took.as_secs_f64() * 100.0,
            tally.delay(0.5),
            tally.delay(0.99),
            tally.faults(),
            if right { "" } else { "  WRONG" }
        );
        fine &= right;
        if !complete {
            break;
        }
    }
    drop(crowd);
    println!(
        "deliveries: {most:.0} a second at most; {MICROSECONDS} us of server CPU each and {LEAST} a second are asked for"
    );
    fine && most >= LEAST
}

async fn idle() -> bool {
    let mut server = Server::start(&[]).await;
    let tally = Arc::new(Tally::new(8000));
    let mut crowds = vec![Crowd::connect(&[server.address], 500, &tally).await];
    let first = server.memory().await;
    let mut before = (500, first);
    for more in [1500_u64, 2000, 4000] {
        crowds.push(Crowd::connect(&[server.address], more, &tally).await);
        tokio::time::sleep(Duration::from_secs(1)).await;
        let now = (before.0 + more, server.memory().await);
        println!(
            "idle: {} to {} connections: {:.2} KiB of resident memory each",
            before.0,
            now.0,
            kib(now.1.saturating_sub(before.1), more)
        );
        before = now;
    }
    let each = kib(before.1.saturating_sub(first), before.0 - 500);
    println!("idle: {each:.2} KiB each over all");
    each <= 12.0
}

#[expect(clippy::cast_precision_loss, reason = "for a report")]
fn kib(bytes: u64, connections: u64) -> f64 {
    bytes as f64 / connections as f64 / 1024.0
}

async fn median() -> bool {
    let mut server = Server::start(&[]).await;
    let tally = Arc::new(Tally::new(100));
    let crowd = Crowd::connect(&[server.address], 100, &tally).await;
    server.publish(200, 20).await;
    let complete = all_at(&tally, 100, 200).await;
    let (p50, p99) = (tally.delay(0.5), tally.delay(0.99));
    println!(
        "median: 100 connections, 20 events/s: p50 {p50:.2} ms, p99 {p99:.2} ms; delivered {}",
        tally.events()
    );
    drop(crowd);
    complete && tally.faults() == 0 && p50 < 20.0
}

async fn reconnect() -> bool {
    const CLIENTS: u64 = 10_000;
    let mut server = Server::start(&[]).await;
    let tally = Arc::new(Tally::new(CLIENTS));
    let crowd = Crowd::connect(&[server.address], CLIENTS, &tally).await;
    server.publish(10, 100).await;
    if !all_at(&tally, CLIENTS, 10).await {
        println!("reconnect: not all got the first events: {}", tally.events());
        return false;
    }
    let places = crowd.cut(&tally).await;
    server.publish(50, 1000).await;
    tally.clear();
    let (cpu, begun) = (server.cpu().await, Instant::now());
    let crowd = Crowd::resume(&[server.address], places, &tally);
    let complete = all_at(&tally, CLIENTS, 60).await;
    let took = begun.elapsed();
    println!(
        "reconnect: {CLIENTS} connections back and caught up by 50 events each in {:.2} s, {:.2} s of server CPU; {} events, {} resets, {} gaps or duplicates",
        took.as_secs_f64(),
        (server.cpu().await - cpu).as_secs_f64(),
        tally.events(),
        tally.resets(),
        tally.faults()
    );
    drop(crowd);
    complete && tally.faults() == 0 && tally.events() == 50 * CLIENTS && took < Duration::from_secs(10)
}
