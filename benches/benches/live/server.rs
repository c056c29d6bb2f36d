//! The server: a process of its own, told by lines what to do.

use std::net::SocketAddr;
use std::process::Stdio;
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use axum::Router;
use axum::extract::{Path, State};
use axum::routing::get;
use larder::{Cache, Event, Policy, key, tag};
use larder_live::{Claims, Config, Live, TokenError};
use tokio::io::{AsyncBufReadExt, AsyncWriteExt, BufReader, Lines};
use tokio::net::TcpListener;
use tokio::process::{Child, ChildStdin, ChildStdout, Command};

use super::origin::{Origin, ROWS};

/// The tenant of all clients.
pub(crate) const TENANT: &str = "acme";

/// A server process, as the load generator sees it.
pub(crate) struct Server {
    pub(crate) address: SocketAddr,
    child: Child,
    to: ChildStdin,
    from: Lines<BufReader<ChildStdout>>,
}

impl Server {
    /// Starts one on the first core; `arguments` may name a Redis and an origin: `redis=URL`, `origin=ADDRESS`.
    pub(crate) async fn start(arguments: &[&str]) -> Self {
        let myself = std::env::current_exe().expect("a running program has a path");
        let cores = std::thread::available_parallelism().map_or(1, usize::from);
        let pinned = std::env::var_os(super::PINNED).is_some() || cores == 1;
        let mut command = if pinned {
            let mut command = Command::new("taskset");
            command.args(["-c", "0"]).arg(myself);
            command
        } else {
            Command::new(myself)
        };
        command.arg("server").args(arguments).stdin(Stdio::piped()).stdout(Stdio::piped()).kill_on_drop(true);
        let mut child = command.spawn().expect("it can be started");
        let to = child.stdin.take().expect("it was piped");
        let mut from = BufReader::new(child.stdout.take().expect("it was piped")).lines();
        let line = from.next_line().await.expect("it can be read").expect("it says its address");
        Self { address: line.parse().expect("an address"), child, to, from }
    }

    async fn ask(&mut self, line: &str) -> String {
        self.to.write_all(format!("{line}\n").as_bytes()).await.expect("the server runs");
        self.from.next_line().await.expect("the server runs").expect("it answers")
    }

    /// Publishes so many events, so many a second, whether or not they are delivered in time.
    pub(crate) async fn publish(&mut self, count: u64, rate: u64) {
        self.ask(&format!("publish {count} {rate}")).await;
    }

    /// Begins to publish, without end.
    pub(crate) async fn publish_on(&mut self, rate: u64) {
        self.ask(&format!("on {rate}")).await;
    }

    /// Stops that, and says how many were logged.
    pub(crate) async fn publish_off(&mut self) -> u64 {
        self.ask("off").await.parse().expect("a number")
    }

    /// User and system time so far.
    pub(crate) async fn cpu(&mut self) -> Duration {
        Duration::from_millis(10 * self.ask("cpu").await.parse::<u64>().expect("a number of ticks"))
    }

    /// Resident bytes.
    pub(crate) async fn memory(&mut self) -> u64 {
        self.ask("memory").await.parse().expect("a number")
    }

    /// Begins to write rows and to publish that, without end. If `unsafely`, events do not wait for what they invalidate.
    pub(crate) async fn write_on(&mut self, rate: u64, unsafely: bool) {
        self.ask(&format!("write {rate} {}", u8::from(unsafely))).await;
    }

    /// Ends it without a word to anybody.
    pub(crate) async fn kill(mut self) {
        self.child.kill().await.expect("it runs");
    }

    /// `STOP` or `CONT`.
    pub(crate) fn signal(&self, name: &str) {
        let pid = self.child.id().expect("it runs").to_string();
        let sent = std::process::Command::new("kill").args([&format!("-{name}"), &pid]).status();
        assert!(sent.is_ok_and(|status| status.success()), "kill -{name} {pid}");
    }
}

/// The other side of the pipe.
pub(crate) fn main(arguments: &[String]) {
    let threads = if std::env::var_os(super::PINNED).is_some() { 1 } else { 2 };
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(threads).enable_all().build();
    let named =
        |name: &str| arguments.iter().find_map(|argument| argument.strip_prefix(name)).map(str::to_owned);
    let origin = named("origin=").map(|address| Origin::at(address.parse().expect("an address")));
    runtime.expect("threads can be started").block_on(serve(named("redis="), origin));
}

fn verify(token: &str) -> Result<Claims, TokenError> {
    let user = token.strip_prefix("bench-").ok_or(TokenError::Invalid)?;
    Ok(Claims::new(TENANT, user, 4_102_444_800))
}

/// The row, as it is cached on this node.
async fn row(State((cache, origin)): State<(Cache, Origin)>, Path(row): Path<usize>) -> String {
    let policy = Policy::ttl(Duration::from_secs(600)).tag(format!("row-{row}"));
    let load = move || async move { origin.read(row).await };
    match cache.tenant(TENANT).get_or_load(key!("row", row), &policy, load).await {
        Ok(version) => version.to_string(),
        Err(error) => format!("error {error}"),
    }
}

async fn serve(redis: Option<String>, origin: Option<Origin>) {
    let mut builder = Cache::builder("live-bench");
    if origin.is_some() {
        // What a node keeps that is cut off from Redis is another promise, with another bound.
        builder = builder.outage_memory_ttl(Duration::ZERO);
    }
    if let Some(redis) = redis {
        builder = builder.redis(redis.as_str());
    }
    let cache = builder.build().await.expect("valid settings");
    cache.ready().await;
    let mut config = Config::default();
    // Those of a node that died, and its own.
    config.tenant_connections = 12_000;
    let live = Live::builder(cache.clone(), verify)
        .secret("of the benchmark")
        .config(config)
        .build()
        .expect("they agree");
    let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port is free");
    println!("{}", listener.local_addr().expect("it listens"));
    let mut routes = live.streams().merge(live.requests());
    if let Some(origin) = &origin {
        let rows = Router::new().route("/row/{row}", get(row)).with_state((cache.clone(), origin.clone()));
        routes = routes.merge(rows);
    }
    tokio::spawn(async move { axum::serve(listener, routes).await });
    let (told, mut lines) = tokio::sync::mpsc::channel(8);
    std::thread::spawn(move || {
        for line in std::io::stdin().lines().map_while(Result::ok) {
            if told.blocking_send(line).is_err() {
                return;
            }
        }
    });
    let mut going: Option<tokio::task::JoinHandle<u64>> = None;
    let stop = std::sync::Arc::new(std::sync::atomic::AtomicBool::new(false));
    while let Some(line) = lines.recv().await {
        let words: Vec<&str> = line.split(' ').collect();
        let number = |place: usize| words[place].parse::<u64>().expect("a number");
        match words[0] {
            "publish" => println!("{}", publish(&cache, number(1), number(2), &stop).await),
            "on" => {
                let (cache, rate, stop) = (cache.clone(), number(1), std::sync::Arc::clone(&stop));
                going = Some(tokio::spawn(async move { publish(&cache, u64::MAX, rate, &stop).await }));
                println!("on");
            }
            "write" => {
                let origin = origin.clone().expect("there are rows");
                let (cache, stop) = (cache.clone(), std::sync::Arc::clone(&stop));
                let (rate, unsafely) = (number(1), number(2) == 1);
                going =
                    Some(tokio::spawn(async move { write(&cache, &origin, rate, unsafely, &stop).await }));
                println!("write");
            }
            "off" => {
                stop.store(true, std::sync::atomic::Ordering::SeqCst);
                let logged = match going.take() {
                    Some(going) => going.await.expect("it does not panic"),
                    None => 0,
                };
                println!("{logged}");
            }
            "cpu" => println!("{}", ticks()),
            "memory" => println!("{}", resident()),
            _ => println!("?"),
        }
    }
}

/// Publishes on schedule, and returns how many were logged.
async fn publish(cache: &Cache, count: u64, rate: u64, stop: &std::sync::atomic::AtomicBool) -> u64 {
    let tenant = cache.tenant(TENANT);
    let begun = Instant::now();
    // 200 bytes as they are on the wire, about.
    let filler = "x".repeat(60);
    let mut waiting = tokio::task::JoinSet::new();
    let mut logged = 0;
    for number in 0..count {
        if stop.load(std::sync::atomic::Ordering::Relaxed) {
            break;
        }
        let due = begun
            + Duration::from_secs(1) * u32::try_from(number).unwrap_or(u32::MAX)
                / u32::try_from(rate).unwrap_or(1);
        tokio::time::sleep_until(due.into()).await;
        let event = Event::new("bench.tick").data(serde_json::json!({"t": now(), "x": filler}));
        let mut publication = tenant.publish(event);
        let entered = publication.logged();
        // What is deferred for an outage of Redis is logged later.
        let _ = publication.await;
        waiting.spawn(entered);
        while let Some(done) = waiting.try_join_next() {
            logged += u64::from(done.is_ok_and(|place| place.is_ok()));
        }
    }
    while let Some(done) = waiting.join_next().await {
        logged += u64::from(done.is_ok_and(|place| place.is_ok()));
    }
    logged
}

/// Writes rows and tells of it, on schedule; how many events were logged.
async fn write(
    cache: &Cache,
    origin: &Origin,
    rate: u64,
    unsafely: bool,
    stop: &std::sync::atomic::AtomicBool,
) -> u64 {
    let mut ticks = tokio::time::interval(Duration::from_secs(1) / u32::try_from(rate).unwrap_or(1));
    let tenant = cache.tenant(TENANT);
    let mut waiting = tokio::task::JoinSet::new();
    let mut row = usize::try_from(std::process::id()).unwrap_or(0);
    while !stop.load(std::sync::atomic::Ordering::Relaxed) {
        ticks.tick().await;
        row = (row + 1) % ROWS;
        let Ok(version) = origin.write(row).await else { continue };
        let event = Event::new("row.changed").data(serde_json::json!({"row": row, "v": version}));
        if unsafely {
            // In force here, and told to all: but nobody waits until they have heard it.
            let _ = tenant.invalidate(tag(format!("row-{row}"))).await;
            let (cache, log) = (cache.clone(), cache.event_log());
            waiting.spawn(async move {
                let _open = cache;
                log.append(TENANT, event).await
            });
        } else {
            let mut publication = tenant.publish(event.invalidates([tag(format!("row-{row}"))]));
            let entered = publication.logged();
            // What is deferred for an outage of Redis is logged later.
            let _ = publication.await;
            waiting.spawn(entered);
        }
    }
    let mut logged = 0;
    while let Some(done) = waiting.join_next().await {
        logged += u64::from(done.is_ok_and(|place| place.is_ok()));
    }
    logged
}

/// Microseconds by the wall clock, which both processes have.
pub(crate) fn now() -> u64 {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).expect("it is after 1970");
    u64::try_from(since.as_micros()).unwrap_or(u64::MAX)
}

/// User and system time in ticks of 10 ms: proc(5), fields 14 and 15.
fn ticks() -> u64 {
    let text = std::fs::read_to_string("/proc/self/stat").expect("this is Linux");
    let fields: Vec<&str> = text.rsplit(") ").next().unwrap_or_default().split(' ').collect();
    fields[11..13].iter().map(|field| field.parse::<u64>().unwrap_or(0)).sum()
}

fn resident() -> u64 {
    let text = std::fs::read_to_string("/proc/self/status").expect("this is Linux");
    let line = text.lines().find_map(|line| line.strip_prefix("VmRSS:")).unwrap_or_default();
    line.trim().trim_end_matches(" kB").trim().parse::<u64>().unwrap_or(0) * 1024
}
