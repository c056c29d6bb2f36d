//! The server: a process of its own, told by lines what to do.

use std::net::SocketAddr;
use std::process::Stdio;
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use larder::{Cache, Event};
use larder_live::{Claims, Live, TokenError};
use tokio::io::{AsyncBufReadExt, AsyncWriteExt, BufReader, Lines};
use tokio::net::TcpListener;
use tokio::process::{Child, ChildStdin, ChildStdout, Command};

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
    /// Starts one on the first core; `arguments` may name a Redis.
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

    /// Ends it without a word to anybody.
    pub(crate) async fn kill(mut self) {
        self.child.kill().await.expect("it runs");
    }
}

/// The other side of the pipe.
pub(crate) fn main(arguments: &[String]) {
    let threads = if std::env::var_os(super::PINNED).is_some() { 1 } else { 2 };
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(threads).enable_all().build();
    runtime.expect("threads can be started").block_on(serve(arguments.first().cloned()));
}

fn verify(token: &str) -> Result<Claims, TokenError> {
    let user = token.strip_prefix("bench-").ok_or(TokenError::Invalid)?;
    Ok(Claims::new(TENANT, user, 4_102_444_800))
}

async fn serve(redis: Option<String>) {
    let mut builder = Cache::builder("live-bench");
    if let Some(redis) = redis {
        builder = builder.redis(redis.as_str());
    }
    let cache = builder.build().await.expect("valid settings");
    cache.ready().await;
    let live = Live::builder(cache.clone(), verify).build().expect("the defaults agree");
    let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port is free");
    println!("{}", listener.local_addr().expect("it listens"));
    let routes = live.streams().merge(live.requests());
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
