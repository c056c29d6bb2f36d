//! A primary that is replaced while requests run.

use crate::support::{Row, policy, ready};
use larder::{Cache, ErrorKind, RedisState, key, tag};
use larder_testkit::{Member, RedisSentinel, RedisServer, assert_eventually};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

const SOON: Duration = Duration::from_secs(60);
const LEASE: Duration = Duration::from_secs(1);
/// How many rows there are.
const KEYS: usize = 4;
/// How often each task reads and writes.
const PACE: Duration = Duration::from_millis(1);

/// A node without the entries that a degraded one keeps for some seconds: what it may serve is bounded by the lease.
async fn node(url: &str) -> Cache {
    let builder = Cache::builder("test").coherence_lease(LEASE).outage_memory_ttl(Duration::ZERO);
    let cache = builder.redis(url).build().await.unwrap();
    ready(&cache).await;
    cache
}

/// Rows, which of their versions were announced when, and what was read too late.
#[derive(Default)]
struct History {
    rows: [Row; KEYS],
    /// Of a row: a version, and when its invalidation had returned `Ok`.
    announced: Mutex<[Vec<(u64, Instant)>; KEYS]>,
    reads: AtomicU64,
    writes: AtomicU64,
    stop: AtomicBool,
    stale: Mutex<Vec<String>>,
}

async fn read(cache: &Cache, row: &Row, key: usize) -> u64 {
    let row = row.clone();
    let read = cache.tenant("acme").get_or_load(key!("k", key), policy().tag("t"), move || row.load()).await;
    *read.unwrap_or_else(|error| panic!("requests go on, but not this one: {error}"))
}

impl History {
    /// Reads all rows on a node, which must not be older than `own` (what this node itself has announced), nor than what
    /// another node has announced a lease ago.
    async fn read(&self, cache: &Cache, who: &str, own: [u64; KEYS]) {
        for key in 0..KEYS {
            let began = Instant::now();
            let due = {
                let announced = self.announced.lock().unwrap();
                let due = announced[key].iter().rev().find(|(_, when)| *when + LEASE <= began);
                due.map_or(0, |(version, _)| *version)
            };
            let value = read(cache, &self.rows[key], key).await;
            self.reads.fetch_add(1, Ordering::Relaxed);
            if value < due.max(own[key]) {
                let words = format!("{who} read {value} of {key}, due {due}, own {}", own[key]);
                self.stale.lock().unwrap().push(words);
            }
        }
    }

    /// Reads on a node until stopped.
    async fn reader(self: Arc<Self>, cache: Cache, who: &'static str) {
        let mut pace = tokio::time::interval(PACE);
        while !self.stop.load(Ordering::SeqCst) {
            pace.tick().await;
            self.read(&cache, who, [0; KEYS]).await;
        }
    }

    /// Changes rows and tells of it on a node, which must see its own changes at once, whatever came of the telling.
    async fn writer(self: Arc<Self>, cache: Cache) {
        let mut pace = tokio::time::interval(PACE);
        let mut own = [0; KEYS];
        while !self.stop.load(Ordering::SeqCst) {
            pace.tick().await;
            for (key, own) in own.iter_mut().enumerate() {
                *own = self.rows[key].write();
                match cache.tenant("acme").invalidate(key!("k", key)).await {
                    Ok(_) => self.announced.lock().unwrap()[key].push((*own, Instant::now())),
                    Err(error) => assert_eq!(error.kind(), ErrorKind::Deferred),
                }
                self.writes.fetch_add(1, Ordering::Relaxed);
            }
            self.read(&cache, "the writer", own).await;
        }
    }

    /// Until so much more was done.
    async fn goes_on(&self) {
        let done = || (self.reads.load(Ordering::Relaxed), self.writes.load(Ordering::Relaxed));
        let (reads, writes) = done();
        assert_eventually!(
            done() >= (reads + 100, writes) && done().1 >= writes + 20,
            SOON,
            "requests go on"
        );
    }
}

/// Two nodes read and one of them writes, while `fault` runs; then both must rely on Redis again, and be right.
async fn under(url: String, fault: impl FnOnce() + Send + 'static) {
    let (one, other) = (node(&url).await, node(&url).await);
    let bumps = one.stats().epoch_bumps + other.stats().epoch_bumps;
    let history = Arc::<History>::default();
    let tasks = [
        tokio::spawn(Arc::clone(&history).reader(other.clone(), "the other node")),
        tokio::spawn(Arc::clone(&history).reader(one.clone(), "the writer's node")),
        tokio::spawn(Arc::clone(&history).writer(one.clone())),
    ];
    history.goes_on().await;
    tokio::task::spawn_blocking(fault).await.unwrap();
    history.goes_on().await;
    // Another server, another history: a new epoch.
    assert_eventually!(
        one.stats().epoch_bumps + other.stats().epoch_bumps > bumps,
        SOON,
        "the change of servers is noticed"
    );
    ready(&one).await;
    ready(&other).await;
    history.goes_on().await;
    history.stop.store(true, Ordering::SeqCst);
    for task in tasks {
        task.await.unwrap();
    }
    assert_eq!(*history.stale.lock().unwrap(), Vec::<String>::new());
    assert_eventually!(one.stats().undelivered == 0, SOON, "what was deferred is delivered");
    ready(&one).await;
    // Somebody who was not there reads what the others have left in Redis.
    let fresh = node(&url).await;
    for (key, row) in history.rows.iter().enumerate() {
        let now = row.version();
        assert_eq!(read(&fresh, row, key).await, now);
        assert_eq!(read(&one, row, key).await, now);
        assert_eventually!(read(&other, row, key).await == now, LEASE * 30, "the other node knows");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_failover_on_demand_makes_nothing_stale_and_fails_no_request() {
    let all = Arc::new(RedisSentinel::start());
    let fault = Arc::clone(&all);
    under(all.url(), move || {
        let _ = fault.failover();
    })
    .await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_primary_that_dies_makes_nothing_stale_and_fails_no_request() {
    let all = Arc::new(RedisSentinel::start());
    let fault = Arc::clone(&all);
    under(all.url(), move || {
        fault.servers()[0].kill();
        let _ = fault.await_failover(0);
        fault.servers()[0].restart();
        fault.await_settled();
    })
    .await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_primary_that_stood_still_and_was_replaced_makes_nothing_stale() {
    let all = Arc::new(RedisSentinel::start());
    let fault = Arc::clone(&all);
    under(all.url(), move || {
        fault.servers()[0].pause();
        let _ = fault.await_failover(0);
        // It goes on as a primary with its old connections, until a Sentinel tells it.
        fault.servers()[0].resume();
        fault.await_settled();
    })
    .await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_primary_that_is_demoted_and_promoted_behind_open_connections_makes_nothing_stale() {
    let all = Arc::new(RedisSentinel::start());
    let fault = Arc::clone(&all);
    under(all.url(), move || {
        let servers = fault.servers();
        // By hand: Sentinel would disconnect the clients.
        fault.sentinels().iter().for_each(RedisServer::pause);
        servers[1].promote();
        servers[0].demote(&servers[1]);
        servers[0].promote();
        servers[1].demote(&servers[0]);
        fault.sentinels().iter().for_each(RedisServer::resume);
    })
    .await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[cfg(target_os = "linux")]
async fn nodes_that_are_cut_off_with_the_old_primary_stop_relying_on_it() {
    let server = RedisServer::builder().arg("min-replicas-to-write", "1").arg("min-replicas-max-lag", "1");
    let all = Arc::new(RedisSentinel::builder().server(server).start());
    let (cut_off, well) = (node(&all.url_by("", &[0])).await, node(&all.url_by("", &[1, 2])).await);
    let row = Row::default();
    for cache in [&cut_off, &well] {
        assert_eq!(read(cache, &row, 0).await, 0);
    }
    let fault = Arc::clone(&all);
    tokio::task::spawn_blocking(move || {
        fault.isolate(&[Member::Server(0), Member::Sentinel(0)]);
        let _ = fault.await_failover(0);
    })
    .await
    .unwrap();
    ready(&well).await;
    assert_eventually!(
        matches!(cut_off.redis_state(), RedisState::Unavailable { .. }),
        SOON,
        "the old primary refuses without its replicas, and the node notices"
    );
    // The larger side works; the smaller one, once its last lease has run out, goes to its origin for each read.
    assert_eq!(row.write(), 1);
    well.tenant("acme").invalidate(tag("t")).await.unwrap();
    assert_eq!(read(&well, &row, 0).await, 1);
    assert_eventually!(read(&cut_off, &row, 0).await == 1, SOON, "the lease runs out");
    for version in 2..=20 {
        assert_eq!(row.write(), version);
        well.tenant("acme").invalidate(tag("t")).await.unwrap();
        for (who, cache) in [("well", &well), ("cut off", &cut_off)] {
            let read = read(cache, &row, 0).await;
            assert_eq!(read, version, "{who}: {:?}", cache.redis_state());
        }
    }
    let healing = Arc::clone(&all);
    tokio::task::spawn_blocking(move || {
        healing.heal();
        healing.await_settled();
    })
    .await
    .unwrap();
    ready(&cut_off).await;
    row.write();
    well.tenant("acme").invalidate(tag("t")).acked().await.unwrap();
    for cache in [&well, &cut_off] {
        assert_eq!(read(cache, &row, 0).await, 21);
    }
}
