//! The cache itself: tenants, invalidation across them, and what an operator asks.

use crate::account::TenantStats;
use crate::buckets::Buckets;
use crate::builder::CacheBuilder;
use crate::engine::Engine;
use crate::error::{Error, ErrorKind};
use crate::event::EventStream;
use crate::event_log::EventLog;
use crate::inspect::{EntryFilter, EntryInfo, EntryPage};
use crate::invalidate::Invalidation;
use crate::l1::KeyRef;
use crate::recent::Change;
use crate::remote::{NodeInfo, RedisState, Remote};
use crate::scope::Selection;
use crate::simulation::{Mutant, is};
use crate::stats::{Counts, StatsSnapshot};
use crate::tenant::Tenant;
use futures_util::future::{join_all, try_join_all};
use std::collections::BTreeMap;
use std::fmt;
use std::sync::Arc;
use std::time::Duration;

/// A cache: in this process's memory, and in Redis where one is given. Cheap to clone.
#[derive(Clone)]
pub struct Cache {
    pub(crate) buckets: Arc<Buckets>,
    namespace: Arc<str>,
}

/// A place in the listing of Redis's raw keys; the default is its beginning.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct RedisCursor {
    bucket: u16,
    cursor: u64,
}

impl Cache {
    /// A cache under this namespace, which is part of every Redis key and channel.
    pub fn builder(namespace: impl Into<String>) -> CacheBuilder {
        CacheBuilder::new(namespace.into())
    }

    pub(crate) fn new(namespace: String, buckets: Buckets) -> Self {
        Self { buckets: Arc::new(buckets), namespace: namespace.into() }
    }

    /// The engine of the first bucket: for what all share.
    pub(crate) fn engine(&self) -> &Arc<Engine> {
        self.buckets.first()
    }

    #[cfg(test)]
    pub(crate) fn over(engine: Arc<Engine>) -> Self {
        Self { buckets: Arc::new(Buckets::one(engine)), namespace: "test".into() }
    }

    /// The namespace.
    pub fn namespace(&self) -> &str {
        &self.namespace
    }

    /// A tenant's part. Any name of 1 to 128 bytes, or a [`Tenant`] that has one; another makes every call on it fail
    /// with [`ErrorKind::InvalidTenant`].
    pub fn tenant(&self, name: impl AsRef<str>) -> Tenant {
        Tenant::new(self.buckets.home(name.as_ref()), name.as_ref())
    }

    /// The part that belongs to no tenant and is shared by all.
    pub fn shared(&self) -> Tenant {
        Tenant::shared(self.buckets.home(""))
    }

    /// Invalidates across tenants: [`all`](crate::all) or a [`first_segment`](crate::first_segment).
    ///
    /// # Errors
    /// As [`Tenant::invalidate`].
    pub fn invalidate(&self, what: impl Into<Selection>) -> Invalidation {
        let what = what.into();
        let all = self.buckets.all();
        let told = if is(Mutant::FirstBucketOnly) { &all[..1] } else { all };
        let parts = told.iter().map(|engine| (Arc::clone(engine), what.clone()));
        Invalidation::new(None, Ok(parts.collect()))
    }

    /// Makes values of all tenants stale: [`Cache::invalidate`] with [`expire`](crate::Invalidation::expire).
    ///
    /// # Errors
    /// As [`Tenant::invalidate`].
    pub fn expire(&self, what: impl Into<Selection>) -> Invalidation {
        self.invalidate(what).expire()
    }

    /// The events that tenants [publish](Tenant::publish) in this process, from now on.
    pub fn subscribe(&self) -> EventStream {
        EventStream::new(self.engine().events.subscribe(), None)
    }

    /// Those of them whose kind matches `pattern`: `campaign.*`, where `*` stands for anything.
    pub fn subscribe_to(&self, pattern: &str) -> EventStream {
        EventStream::new(self.engine().events.subscribe(), Some(pattern))
    }

    /// The tenants' event logs, which all nodes share.
    pub fn event_log(&self) -> EventLog {
        EventLog::new(Arc::clone(&self.buckets))
    }

    /// Whether lookups are cached at all.
    pub fn is_enabled(&self) -> bool {
        self.engine().options.enabled
    }

    /// Counters and sizes. Takes time in the number of tenants and endpoints.
    pub fn stats(&self) -> StatsSnapshot {
        self.with_sizes(self.engine().stats.read())
    }

    /// The same without its tenants. `see` is shown their counts instead, by tenant (the empty name: shared entries) and
    /// endpoint, all of one tenant in a row, and nothing is allocated for them. It must be quick, and must not call this
    /// cache: the first lookup of a new endpoint waits for it.
    pub fn visit_stats(&self, see: impl FnMut(&str, &str, &Counts)) -> StatsSnapshot {
        self.with_sizes(self.engine().stats.visit(see))
    }

    fn with_sizes(&self, mut stats: StatsSnapshot) -> StatsSnapshot {
        let engine = self.engine();
        stats.entries = engine.l1.len();
        stats.memory_bytes = engine.l1.weight();
        stats.max_memory_bytes = engine.l1.capacity();
        stats.quotas = engine.stats.accounts.quotas(engine.tenant_limits(), engine.now());
        // The worst of all buckets, or their sum.
        stats.trusted = true;
        stats.lease_left = Duration::MAX;
        stats.coherence_lag = Some(Duration::ZERO);
        for engine in self.buckets.all().iter() {
            engine.add_to(&mut stats);
        }
        engine.logs.add_to(&mut stats);
        stats
    }

    /// The tenants that hold most of this process's memory, at most `limit` of them, the largest first; shared entries are
    /// under the empty name. Takes time in the number of tenants.
    pub fn largest_tenants(&self, limit: usize) -> Vec<(String, TenantStats)> {
        let engine = self.engine();
        let with_stats = |tenant: String| {
            let told = engine.tenant_stats(&tenant);
            (tenant, told)
        };
        engine.stats.accounts.largest(limit).into_iter().map(with_stats).collect()
    }

    /// What was invalidated and published lately, as far as this process knows: the last 200 that were asked of it, and the
    /// last 256 of all nodes, which names nobody. The newest first, at most `limit`; only of this tenant (empty: shared
    /// entries) where one is given.
    pub fn recent(&self, tenant: Option<&str>, limit: usize) -> Vec<Change> {
        self.buckets.recent(tenant, limit)
    }

    /// The nodes that share this cache by what Redis was last told, this one first: another is among them for four leases
    /// after its last heartbeat. None without Redis.
    pub fn nodes(&self) -> Vec<NodeInfo> {
        let mut nodes: Vec<NodeInfo> = Vec::new();
        for node in self.remotes().flat_map(|remote| remote.nodes_seen()) {
            match nodes.iter_mut().find(|known| known.name == node.name) {
                Some(known) => known.seen = known.seen.min(node.seen),
                None => nodes.push(node),
            }
        }
        nodes.sort_unstable_by(|a, b| b.this.cmp(&a.this).then_with(|| a.name.cmp(&b.name)));
        nodes
    }

    /// How long this node may rely on what it last heard of Redis.
    pub fn lease(&self) -> Duration {
        self.engine().options.lease
    }

    /// A page of the entries in this process's memory that would be served now. Takes time in their number.
    pub fn entries(&self, filter: &EntryFilter, cursor: Option<&str>, limit: usize) -> EntryPage {
        self.buckets.list(filter, cursor, limit)
    }

    /// How many of a tenant's entries in this process's memory an invalidation would take away, by first segment of their keys.
    /// Changes nothing. Takes time in the number of all entries.
    ///
    /// # Errors
    /// What keeps [`Tenant::invalidate`] from beginning: `InvalidRequest`, `InvalidKey`, `InvalidTag`, `InvalidTenant`.
    pub fn covered(
        &self,
        tenant: &Tenant,
        what: impl Into<Selection>,
    ) -> Result<BTreeMap<String, u64>, Error> {
        tenant.check()?;
        self.buckets.covered(tenant.as_ref(), what.into())
    }

    /// The entry that people see under this name, if this process's memory has it and would serve it now; the shared
    /// one, where a tenant's [looks the same](crate::Key::render).
    pub fn entry(&self, rendered: &str) -> Option<EntryInfo> {
        self.buckets.find(rendered).next()
    }

    /// The entries that people see under this name, each as this process's memory or else Redis would serve it: one, or
    /// a shared one and then a tenant's that [looks the same](crate::Key::render). Fills nothing and counts nothing.
    ///
    /// # Cancel safety
    /// Nothing happens if it is dropped.
    pub async fn entries_named(&self, rendered: &str) -> Vec<EntryInfo> {
        self.buckets.find_anywhere(rendered).await
    }

    /// The first of [`Cache::entries_named`].
    ///
    /// # Cancel safety
    /// Nothing happens if it is dropped.
    pub async fn entry_anywhere(&self, rendered: &str) -> Option<EntryInfo> {
        self.entries_named(rendered).await.into_iter().next()
    }

    /// How the shared tier stands. Of a Cluster: connected if all of its parts are; else what keeps the first from it.
    pub fn redis_state(&self) -> RedisState {
        let mut all = None;
        for state in self.remotes().map(|remote| remote.state.borrow().clone()) {
            match (&mut all, state) {
                (Some(RedisState::Connected { advice, .. }), RedisState::Connected { advice: more, .. }) => {
                    let new: Vec<String> = more.into_iter().filter(|one| !advice.contains(one)).collect();
                    advice.extend(new);
                }
                (None, connected @ RedisState::Connected { .. }) => all = Some(connected),
                (_, other) => return other,
            }
        }
        all.unwrap_or(RedisState::Disabled)
    }

    /// This node's side of every bucket.
    fn remotes(&self) -> impl Iterator<Item = &Arc<Remote>> {
        self.buckets.all().iter().filter_map(|engine| engine.remote.as_ref())
    }

    /// Waits until Redis is in use and its lease valid: for programs that want to start warm. Without Redis at once.
    ///
    /// # Cancel safety
    /// Nothing happens if it is dropped; bound it with a time-out, since Redis may never come.
    pub async fn ready(&self) {
        for engine in self.buckets.all().iter() {
            let Some(remote) = &engine.remote else { return };
            let mut state = remote.state.subscribe();
            while !engine.mirror.is_good() {
                let _ = tokio::time::timeout(Duration::from_millis(10), state.changed()).await;
            }
        }
    }

    /// A round trip to the tier that answers first when this node has not the value: Redis, or without it a lookup in
    /// memory.
    ///
    /// # Errors
    /// [`ErrorKind::Unavailable`] if Redis is configured and does not answer.
    pub async fn ping(&self) -> Result<Duration, Error> {
        let engine = self.engine();
        let began = engine.now();
        if engine.remote.is_none() {
            drop(engine.l1.get(KeyRef { tenant: "", key: &crate::key!("ping") }));
        }
        let pings = self.remotes().map(|remote| async move {
            let link = remote.link().ok_or_else(unavailable)?;
            let reply = link.ping(engine.options.read_timeout).await;
            remote.note(&link, &reply);
            reply.map_err(|_| unavailable())
        });
        try_join_all(pings).await?;
        Ok(engine.now().since(began))
    }

    /// What Redis says of itself (`INFO`). Of a Cluster: what its primaries say that are in reach, with sums where a sum is
    /// meant (memory, keys, clients, operations), else what one of them says.
    ///
    /// # Errors
    /// [`ErrorKind::Unavailable`] without Redis, or if none answers within 2 s.
    pub async fn redis_info(&self) -> Result<BTreeMap<String, String>, Error> {
        let links: Vec<_> = self.remotes().filter_map(|remote| remote.link()).collect();
        let answers = join_all(links.iter().map(|link| link.info(Duration::from_secs(2)))).await;
        let mut servers: Vec<BTreeMap<String, String>> = Vec::new();
        for server in answers.into_iter().flatten() {
            if servers.iter().all(|known| known.get("run_id") != server.get("run_id")) {
                servers.push(server);
            }
        }
        together(servers).ok_or_else(unavailable)
    }

    /// A page of the raw keys that Redis holds for this namespace, from `from` on, and where the next page begins. The only
    /// use of `SCAN`, for people.
    ///
    /// # Errors
    /// As [`Cache::redis_info`].
    pub async fn redis_keys(&self, from: RedisCursor) -> Result<(Vec<String>, Option<RedisCursor>), Error> {
        let remote = self.remotes().nth(usize::from(from.bucket)).ok_or_else(unavailable)?;
        let link = remote.link().ok_or_else(unavailable)?;
        let page = link.scan(from.cursor, 1000, Duration::from_secs(2)).await.map_err(|_| unavailable())?;
        let next = match page.0 {
            0 => RedisCursor { bucket: from.bucket + 1, cursor: 0 },
            cursor => RedisCursor { cursor, ..from },
        };
        let more = usize::from(next.bucket) < self.buckets.all().len();
        let keys = page.1.iter().map(|key| String::from_utf8_lossy(key).into_owned()).collect();
        Ok((keys, more.then_some(next)))
    }

    /// Ends the cache: takes no further calls, waits for loads, invalidations and events under way (each has its time-out),
    /// and takes this node out of the register in Redis.
    ///
    /// # Cancel safety
    /// If it is dropped, the cache takes no further calls; the rest is done when it is called once more.
    pub async fn shutdown(&self) {
        self.engine().closing.cancel();
        self.engine().tasks.close();
        self.engine().tasks.wait().await;
        // Only now: an invalidation that is being retried needs a new link if the old one is lost.
        self.engine().ending.cancel();
        self.engine().background.close();
        self.engine().background.wait().await;
    }
}

/// Numbers of which those of several servers make a sum.
const SUMS: [&str; 9] = [
    "used_memory",
    "maxmemory",
    "connected_clients",
    "evicted_keys",
    "expired_keys",
    "keyspace_hits",
    "keyspace_misses",
    "total_commands_processed",
    "instantaneous_ops_per_sec",
];

/// What several servers say, as if they were one.
fn together(servers: Vec<BTreeMap<String, String>>) -> Option<BTreeMap<String, String>> {
    let mut servers = servers.into_iter();
    let mut all = servers.next()?;
    let number = |text: &String| text.parse::<u64>().unwrap_or(0);
    for server in servers {
        for name in SUMS {
            if let (Some(sum), Some(more)) = (all.get_mut(name), server.get(name)) {
                *sum = number(sum).saturating_add(number(more)).to_string();
            }
        }
    }
    Some(all)
}

fn unavailable() -> Error {
    Error::new(ErrorKind::Unavailable, "Redis is not configured or not in reach")
}

impl fmt::Debug for Cache {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Cache").field("namespace", &self.namespace).finish_non_exhaustive()
    }
}
