//! The cache itself: tenants, invalidation across them, and what an operator asks.

use crate::account::TenantStats;
use crate::builder::CacheBuilder;
use crate::engine::Engine;
use crate::error::{Error, ErrorKind};
use crate::event::EventStream;
use crate::inspect::{EntryFilter, EntryInfo, EntryPage};
use crate::invalidate::Invalidation;
use crate::l1::KeyRef;
use crate::remote::RedisState;
use crate::scope::Selection;
use crate::stats::StatsSnapshot;
use crate::tenant::Tenant;
use std::collections::BTreeMap;
use std::fmt;
use std::sync::Arc;
use std::time::Duration;

/// A cache: in this process's memory, and in Redis where one is given. Cheap to clone.
#[derive(Clone)]
pub struct Cache {
    pub(crate) engine: Arc<Engine>,
    namespace: Arc<str>,
}

impl Cache {
    /// A cache under this namespace, which is part of every Redis key and channel.
    pub fn builder(namespace: impl Into<String>) -> CacheBuilder {
        CacheBuilder::new(namespace.into())
    }

    pub(crate) fn new(namespace: String, engine: Engine) -> Self {
        Self { engine: Arc::new(engine), namespace: namespace.into() }
    }

    #[cfg(test)]
    pub(crate) fn over(engine: Arc<Engine>) -> Self {
        Self { engine, namespace: "test".into() }
    }

    /// The namespace.
    pub fn namespace(&self) -> &str {
        &self.namespace
    }

    /// A tenant's part. Any name of 1 to 128 bytes, or a [`Tenant`] that has one; another makes every call on it fail
    /// with [`ErrorKind::InvalidTenant`].
    pub fn tenant(&self, name: impl AsRef<str>) -> Tenant {
        Tenant::new(Arc::clone(&self.engine), name.as_ref())
    }

    /// The part that belongs to no tenant and is shared by all.
    pub fn shared(&self) -> Tenant {
        Tenant::shared(Arc::clone(&self.engine))
    }

    /// Invalidates across tenants: [`all`](crate::all) or a [`first_segment`](crate::first_segment).
    ///
    /// # Errors
    /// As [`Tenant::invalidate`].
    pub fn invalidate(&self, what: impl Into<Selection>) -> Invalidation {
        Invalidation::new(&self.engine, None, Ok(what.into()))
    }

    /// The events that tenants [publish](Tenant::publish) in this process, from now on.
    pub fn subscribe(&self) -> EventStream {
        EventStream(self.engine.events.subscribe())
    }

    /// Whether lookups are cached at all.
    pub fn is_enabled(&self) -> bool {
        self.engine.options.enabled
    }

    /// Counters and sizes. Takes time in the number of tenants and endpoints.
    pub fn stats(&self) -> StatsSnapshot {
        let engine = &self.engine;
        let mut stats = engine.stats.read();
        stats.entries = engine.l1.len();
        stats.memory_bytes = engine.l1.weight();
        stats.max_memory_bytes = engine.l1.capacity();
        stats.flights = engine.flights.len() as u64;
        stats.trusted = engine.mirror.is_trusted();
        stats.lease_left = engine.mirror.lease_left();
        stats.coherence_lag = match engine.remote {
            None => Some(Duration::ZERO),
            Some(_) => engine.mirror.renewed(engine.options.lease).map(|sent| engine.now().since(sent)),
        };
        stats.epoch_bumps = engine.mirror.epoch_changes();
        stats.scopes_remembered = engine.mirror.scopes_remembered() as u64;
        if let Some(remote) = &engine.remote {
            stats.breaker_open = remote.link().is_none();
            stats.undelivered = remote.undelivered_count() as u64;
        }
        stats
    }

    /// The tenants that hold most of this process's memory, at most `limit` of them, the largest first; shared entries are
    /// under the empty name. Takes time in the number of tenants.
    pub fn largest_tenants(&self, limit: usize) -> Vec<(String, TenantStats)> {
        let stats = &self.engine.stats;
        let with_stats = |tenant: String| {
            let told = stats.of_tenant(&tenant);
            (tenant, told)
        };
        stats.accounts.largest(limit).into_iter().map(with_stats).collect()
    }

    /// A page of the entries in this process's memory that would be served now. Takes time in their number.
    pub fn entries(&self, filter: &EntryFilter, cursor: Option<&str>, limit: usize) -> EntryPage {
        self.engine.list(filter, cursor, limit)
    }

    /// The entry that people see under this name, if this process's memory has it and would serve it now; the shared
    /// one, where a tenant's [looks the same](crate::Key::render).
    pub fn entry(&self, rendered: &str) -> Option<EntryInfo> {
        self.engine.find(rendered).next()
    }

    /// The entries that people see under this name, each as this process's memory or else Redis would serve it: one, or
    /// a shared one and then a tenant's that [looks the same](crate::Key::render). Fills nothing and counts nothing.
    ///
    /// # Cancel safety
    /// Nothing happens if it is dropped.
    pub async fn entries_named(&self, rendered: &str) -> Vec<EntryInfo> {
        self.engine.find_anywhere(rendered).await
    }

    /// The first of [`Cache::entries_named`].
    ///
    /// # Cancel safety
    /// Nothing happens if it is dropped.
    pub async fn entry_anywhere(&self, rendered: &str) -> Option<EntryInfo> {
        self.entries_named(rendered).await.into_iter().next()
    }

    /// How the shared tier stands.
    pub fn redis_state(&self) -> RedisState {
        self.engine.remote.as_ref().map_or(RedisState::Disabled, |remote| remote.state.borrow().clone())
    }

    /// Waits until Redis is in use and its lease valid: for programs that want to start warm. Without Redis at once.
    ///
    /// # Cancel safety
    /// Nothing happens if it is dropped; bound it with a time-out, since Redis may never come.
    pub async fn ready(&self) {
        let Some(remote) = &self.engine.remote else { return };
        let mut state = remote.state.subscribe();
        while !self.engine.mirror.is_good() {
            let _ = tokio::time::timeout(Duration::from_millis(10), state.changed()).await;
        }
    }

    /// A round trip to the tier that answers first when this node has not the value: Redis, or without it a lookup in
    /// memory.
    ///
    /// # Errors
    /// [`ErrorKind::Unavailable`] if Redis is configured and does not answer.
    pub async fn ping(&self) -> Result<Duration, Error> {
        let began = self.engine.now();
        match &self.engine.remote {
            None => drop(self.engine.l1.get(KeyRef { tenant: "", key: &crate::key!("ping") })),
            Some(remote) => {
                let link = remote.link().ok_or_else(unavailable)?;
                let reply = link.ping(self.engine.options.read_timeout).await;
                remote.note(&link, &reply);
                reply.map_err(|_| unavailable())?;
            }
        }
        Ok(self.engine.now().since(began))
    }

    /// What Redis says of itself (`INFO`).
    ///
    /// # Errors
    /// [`ErrorKind::Unavailable`] without Redis, or if it does not answer within 2 s.
    pub async fn redis_info(&self) -> Result<BTreeMap<String, String>, Error> {
        let remote = self.engine.remote.as_ref().ok_or_else(unavailable)?;
        let link = remote.link().ok_or_else(unavailable)?;
        link.info(Duration::from_secs(2)).await.map_err(|_| unavailable())
    }

    /// A page of the raw keys that Redis holds for this namespace: the next cursor (0 at the end), and keys. The only
    /// use of `SCAN`, for people.
    ///
    /// # Errors
    /// As [`Cache::redis_info`].
    pub async fn redis_keys(&self, cursor: u64) -> Result<(u64, Vec<String>), Error> {
        let remote = self.engine.remote.as_ref().ok_or_else(unavailable)?;
        let link = remote.link().ok_or_else(unavailable)?;
        let page = link.scan(cursor, 1000, Duration::from_secs(2)).await.map_err(|_| unavailable())?;
        Ok((page.0, page.1.iter().map(|key| String::from_utf8_lossy(key).into_owned()).collect()))
    }

    /// Ends the cache: takes no further calls, waits for loads and invalidations under way (each has its time-out), and
    /// takes this node out of the register in Redis.
    pub async fn shutdown(&self) {
        self.engine.closing.cancel();
        self.engine.tasks.close();
        self.engine.tasks.wait().await;
        // Only now: an invalidation that is being retried needs a new link if the old one is lost.
        self.engine.ending.cancel();
        self.engine.background.close();
        self.engine.background.wait().await;
    }
}

fn unavailable() -> Error {
    Error::new(ErrorKind::Unavailable, "Redis is not configured or not in reach")
}

impl fmt::Debug for Cache {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Cache").field("namespace", &self.namespace).finish_non_exhaustive()
    }
}
