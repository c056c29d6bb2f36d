//! What does a cold key cost a fleet? Four nodes on one Redis, 2,500 callers on each, all asking for the same value that
//! nobody has. The rival is moka's `try_get_with`, the single flight of one process: it loads once a node. Then: a process is
//! killed while it loads; how soon does another begin?
//!
//! `cargo bench -p benches --bench fleet`. The process ends with an error if a fleet loads more than once, if anybody waits longer than a tenth
//! beyond the load's own time, or if a killed loader is replaced later than its lease and 200 ms. The last two want a machine at rest.

use larder::{Cache, Policy, key};
use larder_testkit::RedisServer;
use std::convert::Infallible;
use std::io::{BufRead, BufReader};
use std::process::Stdio;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, OnceLock};
use std::time::{Duration, Instant};
use tokio::task::JoinSet;

const NODES: usize = 4;
const CALLERS: usize = 2500;
const ROUNDS: u64 = 10;
const LOAD: Duration = Duration::from_millis(500);
/// The longest that anybody may wait, as a multiple of the load's own time.
const LONGEST: f64 = 1.1;
/// The latest that a killed loader may be replaced: its lease, and some more.
const REPLACED: Duration = Duration::from_millis(1000 + 200);

async fn slow(loads: Arc<AtomicU64>) -> Result<u64, Infallible> {
    loads.fetch_add(1, Ordering::SeqCst);
    tokio::time::sleep(LOAD).await;
    Ok(1)
}

/// When a caller asked, and when it had its answer.
type Asked = (Instant, Instant);

/// Where the time of the rounds has gone that was not the load's: the worst round of each.
#[derive(Default)]
struct Lost {
    /// From the first question to the last: how long it takes this machine to let all ask.
    asking: Duration,
    /// From the first question to the load.
    before: Duration,
    /// From the end of the load to the last answer.
    after: Duration,
}

impl Lost {
    fn add(&mut self, asked: &[Asked], (began, ended): Asked) {
        let first = asked.iter().map(|(asked, _)| *asked).min().expect("somebody asked");
        let last = asked.iter().map(|(asked, _)| *asked).max().expect("somebody asked");
        let answered = asked.iter().map(|(_, answered)| *answered).max().expect("somebody asked");
        self.asking = self.asking.max(last - first);
        self.before = self.before.max(began - first);
        self.after = self.after.max(answered - ended);
    }
}

/// How long the callers of all rounds waited, as multiples of the load's own time; the longest.
fn report(who: &str, loads: u64, mut waits: Vec<Duration>) -> f64 {
    waits.sort_unstable();
    let at = |part: f64| {
        #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "a place in the list")]
        let place = ((waits.len() - 1) as f64 * part) as usize;
        waits[place].as_secs_f64() / LOAD.as_secs_f64()
    };
    println!(
        "{who}: {} callers, {loads} loads in {ROUNDS} rounds; waited p50 {:.3}, p99 {:.3}, max {:.3} times the load",
        waits.len(),
        at(0.5),
        at(0.99),
        at(1.0)
    );
    at(1.0)
}

async fn node(redis: &RedisServer) -> Cache {
    let cache = Cache::builder("bench").redis(redis.url().as_str()).build().await.expect("valid settings");
    cache.ready().await;
    cache
}

async fn larder(redis: &RedisServer) -> bool {
    let mut nodes = Vec::new();
    for _ in 0..NODES {
        nodes.push(node(redis).await);
    }
    let (loads, mut waits) = (Arc::new(AtomicU64::new(0)), Vec::new());
    let (policy, mut lost) = (Arc::new(Policy::ttl(Duration::from_secs(600))), Lost::default());
    for round in 0..ROUNDS {
        let mut callers = JoinSet::new();
        let span: Arc<OnceLock<Asked>> = Arc::default();
        for caller in 0..NODES * CALLERS {
            let (acme, loads) = (nodes[caller % NODES].tenant("acme"), Arc::clone(&loads));
            let (policy, span) = (Arc::clone(&policy), Arc::clone(&span));
            callers.spawn(async move {
                let began = Instant::now();
                let load = || async move {
                    let (began, loaded) = (Instant::now(), slow(loads).await);
                    let _ = span.set((began, Instant::now()));
                    loaded
                };
                acme.get_or_load(key!("cold", round), &*policy, load).await.expect("loadable");
                (began, Instant::now())
            });
        }
        let asked = callers.join_all().await;
        lost.add(&asked, *span.get().expect("somebody has loaded"));
        waits.extend(asked.into_iter().map(|(began, ended)| ended - began));
    }
    let loads = loads.load(Ordering::SeqCst);
    let longest = report("larder, 4 nodes", loads, waits);
    println!(
        "    the worst round: all have asked after {:.1?}; the load began after {:.1?}; all have their answer {:.1?} after its end",
        lost.asking, lost.before, lost.after
    );
    loads == ROUNDS && longest <= LONGEST
}

async fn moka() {
    let nodes: Vec<moka::future::Cache<u64, u64>> =
        (0..NODES).map(|_| moka::future::Cache::new(1000)).collect();
    let (loads, mut waits) = (Arc::new(AtomicU64::new(0)), Vec::new());
    for round in 0..ROUNDS {
        let mut callers = JoinSet::new();
        for caller in 0..NODES * CALLERS {
            let (node, loads) = (nodes[caller % NODES].clone(), Arc::clone(&loads));
            callers.spawn(async move {
                let began = Instant::now();
                node.try_get_with(round, slow(loads)).await.expect("loadable");
                began.elapsed()
            });
        }
        waits.extend(callers.join_all().await);
    }
    report("moka, 4 processes", loads.load(Ordering::SeqCst), waits);
}

/// A process is killed while it loads; another waits for the same value. From the kill to the start of the next load.
async fn killed(redis: &RedisServer) -> bool {
    let survivor = node(redis).await;
    let policy = Arc::new(Policy::ttl(Duration::from_secs(60)));
    let mut gaps = Vec::new();
    for round in 0..5u64 {
        let exe = std::env::current_exe().expect("this program");
        let mut command = std::process::Command::new(exe);
        command.env(DOOMED, redis.url()).env("ROUND", round.to_string()).stdout(Stdio::piped());
        let mut doomed = command.spawn().expect("it starts");
        let mut told = String::new();
        BufReader::new(doomed.stdout.take().expect("piped")).read_line(&mut told).expect("it says so");
        assert_eq!(told.trim(), "loading");
        let (acme, policy) = (survivor.tenant("acme"), Arc::clone(&policy));
        let waiter = tokio::spawn(async move {
            let load = || async { Ok::<_, Infallible>(epoch_ms()) };
            *acme.get_or_load(key!("killed", round), &*policy, load).await.expect("loadable")
        });
        // It waits for the other's load by now.
        tokio::time::sleep(Duration::from_millis(300)).await;
        let at = epoch_ms();
        doomed.kill().expect("it is ours");
        doomed.wait().expect("it is ours");
        let next = waiter.await.expect("it does not panic");
        gaps.push(Duration::from_millis(next.saturating_sub(at)));
    }
    println!("loader killed: the next load began after {gaps:?} (the lease is 1 s)");
    gaps.into_iter().all(|gap| gap <= REPLACED)
}

fn epoch_ms() -> u64 {
    let now = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).expect("after 1970");
    u64::try_from(now.as_millis()).expect("for long")
}

/// Set for the process that is killed.
const DOOMED: &str = "LARDER_BENCH_DOOMED";

async fn doomed(url: &str) {
    let cache = Cache::builder("bench").redis(url).build().await.expect("valid settings");
    cache.ready().await;
    let round: u64 = std::env::var("ROUND").expect("set").parse().expect("a number");
    let load = || async {
        println!("loading");
        std::future::pending::<Result<u64, Infallible>>().await
    };
    let policy = Policy::ttl(Duration::from_secs(60)).load_timeout(Duration::from_secs(60));
    let _ = cache.tenant("acme").get_or_load(key!("killed", round), &policy, load).await;
}

fn main() {
    if let Ok(url) = std::env::var(DOOMED) {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().expect("a runtime");
        return runtime.block_on(doomed(&url));
    }
    let redis = RedisServer::start();
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build().expect("a runtime");
    let kept = runtime.block_on(async {
        moka().await;
        let served = larder(&redis).await;
        killed(&redis).await && served
    });
    drop(redis);
    std::process::exit(i32::from(!kept));
}
