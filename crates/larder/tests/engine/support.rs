//! What the tests share: an origin that counts, and loads that wait for a signal.

use larder::{Cache, CacheBuilder, ManualClock, Policy, RedisConfig};
use larder_testkit::RedisServer;
use std::convert::Infallible;
use std::future::Future;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;
use tokio::sync::Semaphore;

pub(crate) const MINUTE: Duration = Duration::from_secs(60);

pub(crate) fn policy() -> Policy {
    Policy::ttl(MINUTE).jitter(0.0)
}

/// A row of a database: a version that writes raise, and loads that are counted.
#[derive(Clone, Default)]
pub(crate) struct Row(Arc<(AtomicU64, AtomicU64)>);

impl Row {
    /// The version after it.
    pub(crate) fn write(&self) -> u64 {
        self.0.0.fetch_add(1, Ordering::SeqCst) + 1
    }

    /// The version, not counted as a load.
    pub(crate) fn version(&self) -> u64 {
        self.0.0.load(Ordering::SeqCst)
    }

    pub(crate) fn loads(&self) -> u64 {
        self.0.1.load(Ordering::SeqCst)
    }

    pub(crate) fn read(&self) -> u64 {
        self.0.1.fetch_add(1, Ordering::SeqCst);
        self.0.0.load(Ordering::SeqCst)
    }

    /// A loader that reads the row at once.
    pub(crate) fn load(&self) -> impl Future<Output = Result<u64, Infallible>> + Send + use<> {
        let row = self.clone();
        async move { Ok(row.read()) }
    }
}

/// A load that tells when it has read the row, and then waits to be let go.
#[derive(Clone)]
pub(crate) struct Gate {
    reached: Arc<Semaphore>,
    open: Arc<Semaphore>,
}

impl Gate {
    pub(crate) fn new() -> Self {
        Self { reached: Arc::new(Semaphore::new(0)), open: Arc::new(Semaphore::new(0)) }
    }

    /// Reads the row, then waits until opened.
    pub(crate) fn load(&self, row: &Row) -> impl Future<Output = Result<u64, Infallible>> + Send + use<> {
        let (gate, row) = (self.clone(), row.clone());
        async move {
            let value = row.read();
            gate.reached.add_permits(1);
            gate.open.acquire().await.unwrap().forget();
            Ok(value)
        }
    }

    /// Until a load has read its row.
    pub(crate) async fn reached(&self) {
        self.reached.acquire().await.unwrap().forget();
    }

    pub(crate) fn open(&self) {
        self.open.add_permits(1);
    }
}

/// A cache in memory only.
pub(crate) async fn alone() -> Cache {
    Cache::builder("test").build().await.unwrap()
}

/// A cache in memory only, whose time is moved by hand.
pub(crate) async fn alone_by_hand() -> (Cache, Arc<ManualClock>) {
    let clock = Arc::new(ManualClock::default());
    (Cache::builder("test").clock(clock.clone()).build().await.unwrap(), clock)
}

/// A node on this Redis, trusted and with a valid lease.
pub(crate) async fn node(redis: &RedisServer) -> Cache {
    node_with(redis, |builder| builder).await
}

pub(crate) async fn node_with(redis: &RedisServer, set: impl FnOnce(CacheBuilder) -> CacheBuilder) -> Cache {
    let builder = Cache::builder("test").redis(redis.url().as_str());
    let cache = set(builder).build().await.unwrap();
    ready(&cache).await;
    cache
}

/// Redis at this URL, for tests in which a machine that is busy must not look like a Redis that is: no call that is answered
/// within half a minute is late.
pub(crate) fn unhurried(url: &str) -> RedisConfig {
    let (mut config, long) = (RedisConfig::new(url), MINUTE / 2);
    (config.connect_timeout, config.command_timeout, config.read_timeout) = (long, long, long);
    config
}

/// Until the node relies on Redis.
pub(crate) async fn ready(cache: &Cache) {
    tokio::time::timeout(Duration::from_secs(30), cache.ready())
        .await
        .expect("the node gets to rely on Redis");
}
