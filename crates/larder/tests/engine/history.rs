//! Reads and writes that run while something fails, and what of it was stale.

use crate::support::{Row, policy, ready};
use larder::{Cache, ErrorKind, key};
use larder_testkit::assert_eventually;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

const SOON: Duration = Duration::from_secs(60);
/// How many rows there are.
pub(crate) const KEYS: usize = 8;
/// How often each task reads and writes.
const PACE: Duration = Duration::from_millis(1);

/// Where the nodes are, and whose the rows.
#[derive(Clone)]
pub(crate) struct Setting {
    pub(crate) url: String,
    pub(crate) lease: Duration,
    pub(crate) tenant: fn(usize) -> String,
}

/// A node without the entries that a degraded one keeps for some seconds: what it may serve is bounded by the lease.
pub(crate) async fn node(setting: &Setting) -> Cache {
    let builder = Cache::builder("test").coherence_lease(setting.lease).outage_memory_ttl(Duration::ZERO);
    let cache = builder.redis(setting.url.as_str()).build().await.unwrap();
    ready(&cache).await;
    cache
}

pub(crate) async fn read(cache: &Cache, tenant: &str, row: &Row, key: usize) -> u64 {
    let row = row.clone();
    let read = cache.tenant(tenant).get_or_load(key!("k", key), policy().tag("t"), move || row.load()).await;
    *read.unwrap_or_else(|error| panic!("requests go on, but not this one: {error}"))
}

/// Rows, which of their versions were announced when, and what was read too late.
struct History {
    setting: Setting,
    rows: [Row; KEYS],
    /// Of a row: a version, and when its invalidation had returned `Ok`.
    announced: Mutex<[Vec<(u64, Instant)>; KEYS]>,
    reads: AtomicU64,
    writes: AtomicU64,
    stop: AtomicBool,
    stale: Mutex<Vec<String>>,
}

impl History {
    fn new(setting: Setting) -> Arc<Self> {
        Arc::new(Self {
            setting,
            rows: Default::default(),
            announced: Mutex::default(),
            reads: AtomicU64::new(0),
            writes: AtomicU64::new(0),
            stop: AtomicBool::new(false),
            stale: Mutex::default(),
        })
    }

    /// Reads all rows on a node, which must not be older than `own` (what this node itself has announced), nor than what
    /// another node has announced a lease ago.
    async fn read(&self, cache: &Cache, who: &str, own: [u64; KEYS]) {
        for key in 0..KEYS {
            let began = Instant::now();
            let due = {
                let announced = self.announced.lock().unwrap();
                let due = announced[key].iter().rev().find(|(_, when)| *when + self.setting.lease <= began);
                due.map_or(0, |(version, _)| *version)
            };
            let value = read(cache, &(self.setting.tenant)(key), &self.rows[key], key).await;
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
                match cache.tenant((self.setting.tenant)(key)).invalidate(key!("k", key)).await {
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

/// Two nodes read and one of them writes, while `fault` runs; then, when `noticed` holds for the new epochs on each of
/// them, both must rely on Redis again, and be right. How many new epochs each of them has seen.
pub(crate) async fn under(
    setting: Setting,
    fault: impl FnOnce() + Send + 'static,
    noticed: impl Fn(u64) -> bool,
) -> u64 {
    let (one, other) = (node(&setting).await, node(&setting).await);
    let bumps = || [one.stats().epoch_bumps, other.stats().epoch_bumps];
    assert_eq!(bumps(), [0, 0]);
    let history = History::new(setting.clone());
    let tasks = [
        tokio::spawn(Arc::clone(&history).reader(other.clone(), "the other node")),
        tokio::spawn(Arc::clone(&history).reader(one.clone(), "the writer's node")),
        tokio::spawn(Arc::clone(&history).writer(one.clone())),
    ];
    history.goes_on().await;
    tokio::task::spawn_blocking(fault).await.unwrap();
    history.goes_on().await;
    assert_eventually!(bumps().into_iter().all(&noticed), SOON, "what happened is noticed: {:?}", bumps());
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
    let fresh = node(&setting).await;
    for (key, row) in history.rows.iter().enumerate() {
        let (now, tenant) = (row.version(), (setting.tenant)(key));
        assert_eq!(read(&fresh, &tenant, row, key).await, now);
        assert_eq!(read(&one, &tenant, row, key).await, now);
        assert_eventually!(
            read(&other, &tenant, row, key).await == now,
            setting.lease * 30,
            "the other node knows"
        );
    }
    bumps().into_iter().max().unwrap_or_default()
}
