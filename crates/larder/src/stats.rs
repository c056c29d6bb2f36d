//! What the cache did, in counters. A hit costs one relaxed addition; everything is put together when asked for.

use crate::account::{Accounts, TenantStats};
use crate::audit::Audits;
use crate::clock::Moment;
use crate::limits::{MAX_COUNTERS, MAX_OTHER_ENDPOINTS};
use crate::quota_use::{Limits, QuotaStats};
use crate::recent::Recent;
use crate::status::{Outcome, Status, Tier};
use parking_lot::RwLock;
use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::time::Duration;

/// Upper bounds of the load-time buckets, in seconds. The last bucket has none.
pub const LOAD_BUCKETS: [f64; 12] = [0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 10.0];

/// Counters of one endpoint (first key segment) of one tenant.
#[derive(Debug, Default)]
pub(crate) struct Counters {
    l1_hits: AtomicU64,
    l2_hits: AtomicU64,
    stale_hits: AtomicU64,
    misses: AtomicU64,
    coalesced: AtomicU64,
    bypassed: AtomicU64,
    loads: AtomicU64,
    load_errors: AtomicU64,
    load_nanos: AtomicU64,
}

impl Counters {
    /// Counts one lookup, in exactly one of the four ways.
    pub(crate) fn count(&self, status: &Status) {
        let counter = match (status.outcome, status.tier) {
            (Outcome::Hit, Tier::Redis) => &self.l2_hits,
            (Outcome::Hit, _) => &self.l1_hits,
            (Outcome::Stale, _) => &self.stale_hits,
            (Outcome::Miss, _) => &self.misses,
            (Outcome::Bypass, _) => &self.bypassed,
        };
        counter.fetch_add(1, Relaxed);
        if status.coalesced && status.outcome == Outcome::Miss {
            self.coalesced.fetch_add(1, Relaxed);
        }
    }

    /// Counts a lookup that brought no value.
    pub(crate) fn count_miss(&self) {
        self.misses.fetch_add(1, Relaxed);
    }

    pub(crate) fn count_load(&self) {
        self.loads.fetch_add(1, Relaxed);
    }

    pub(crate) fn count_load_time(&self, took: Duration) {
        self.load_nanos.fetch_add(nanos(took), Relaxed);
    }

    pub(crate) fn count_load_error(&self) {
        self.load_errors.fetch_add(1, Relaxed);
    }

    fn read(&self) -> Counts {
        Counts {
            l1_hits: self.l1_hits.load(Relaxed),
            l2_hits: self.l2_hits.load(Relaxed),
            stale_hits: self.stale_hits.load(Relaxed),
            misses: self.misses.load(Relaxed),
            coalesced: self.coalesced.load(Relaxed),
            bypassed: self.bypassed.load(Relaxed),
            loads: self.loads.load(Relaxed),
            load_errors: self.load_errors.load(Relaxed),
            load_time: Duration::from_nanos(self.load_nanos.load(Relaxed)),
        }
    }
}

fn nanos(time: Duration) -> u64 {
    u64::try_from(time.as_nanos()).unwrap_or(u64::MAX)
}

/// Lookups and loads, counted.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct Counts {
    /// Fresh values out of this process's memory.
    pub l1_hits: u64,
    /// Fresh values out of Redis.
    pub l2_hits: u64,
    /// Values past their TTL, served as their policy allows.
    pub stale_hits: u64,
    /// Lookups that needed a load, their own or another's, or brought nothing.
    pub misses: u64,
    /// Of the misses, those that waited for another's load.
    pub coalesced: u64,
    /// Lookups with the cache switched off.
    pub bypassed: u64,
    /// Loaders run.
    pub loads: u64,
    /// Of the loads, those that failed, panicked or timed out.
    pub load_errors: u64,
    /// Time spent in loaders; of those that timed out nothing.
    pub load_time: Duration,
}

impl Counts {
    /// Fresh and stale hits together.
    pub fn hits(&self) -> u64 {
        self.l1_hits + self.l2_hits + self.stale_hits
    }

    /// Hits by lookups, from 0 to 1; 0 before the first lookup.
    pub fn hit_rate(&self) -> f64 {
        let lookups = self.hits() + self.misses;
        if lookups == 0 {
            return 0.0;
        }
        #[expect(clippy::cast_precision_loss, reason = "a ratio for people")]
        let rate = self.hits() as f64 / lookups as f64;
        rate
    }

    /// What the hits would have cost, had each been a load of the mean duration; zero before the first load. An estimate of
    /// time in loaders: where loads of different keys take different times, take it of one endpoint at a time.
    pub fn saved(&self) -> Duration {
        if self.loads == 0 {
            return Duration::ZERO;
        }
        #[expect(clippy::cast_precision_loss, reason = "an estimate for people")]
        let loads = self.hits() as f64 / self.loads as f64;
        Duration::try_from_secs_f64(self.load_time.as_secs_f64() * loads).unwrap_or(Duration::MAX)
    }

    /// Adds another's counts.
    pub fn add(&mut self, other: &Counts) {
        self.l1_hits += other.l1_hits;
        self.l2_hits += other.l2_hits;
        self.stale_hits += other.stale_hits;
        self.misses += other.misses;
        self.coalesced += other.coalesced;
        self.bypassed += other.bypassed;
        self.loads += other.loads;
        self.load_errors += other.load_errors;
        self.load_time += other.load_time;
    }
}

type ByEndpoint = HashMap<Box<str>, Arc<Counters>>;

/// Counters by pair.
#[derive(Debug, Default)]
struct Counted {
    /// By tenant (empty: shared entries), then endpoint.
    by_tenant: HashMap<Box<str>, ByEndpoint>,
    /// How many there are.
    pairs: usize,
    /// What is beyond that bound, by endpoint.
    others: ByEndpoint,
}

impl Counted {
    fn find(&self, tenant: &str, endpoint: &str) -> Option<&Arc<Counters>> {
        let of_tenant = self.by_tenant.get(tenant).and_then(|by| by.get(endpoint));
        of_tenant.or_else(|| self.others.get(endpoint).filter(|_| self.pairs >= MAX_COUNTERS))
    }

    fn is_full(&self) -> bool {
        self.pairs >= MAX_COUNTERS && self.others.len() >= MAX_OTHER_ENDPOINTS
    }

    /// Those of the pair, made where there are none; `None` beyond all bounds.
    fn add(&mut self, tenant: &str, endpoint: &str) -> Option<Arc<Counters>> {
        if let Some(found) = self.find(tenant, endpoint) {
            return Some(Arc::clone(found));
        }
        if self.is_full() {
            return None;
        }
        let by_endpoint = if self.pairs < MAX_COUNTERS {
            self.pairs += 1;
            self.by_tenant.entry(tenant.into()).or_default()
        } else {
            &mut self.others
        };
        Some(Arc::clone(by_endpoint.entry(endpoint.into()).or_default()))
    }
}

/// All counters of a cache.
#[derive(Debug, Default)]
pub(crate) struct Stats {
    /// A lookup that finds its entry in memory does not come here: the entry has its counters.
    counters: RwLock<Counted>,
    /// What is beyond all bounds.
    other: Arc<Counters>,
    pub(crate) accounts: Accounts,
    pub(crate) invalidations: AtomicU64,
    pub(crate) deferred: AtomicU64,
    pub(crate) evictions: AtomicU64,
    pub(crate) oversize: AtomicU64,
    pub(crate) corrupt: AtomicU64,
    pub(crate) missed_pushes: AtomicU64,
    pub(crate) redis_errors: AtomicU64,
    pub(crate) redis_timeouts: AtomicU64,
    pub(crate) audits: Audits,
    pub(crate) recent: Recent,
    load_buckets: [AtomicU64; LOAD_BUCKETS.len() + 1],
    load_nanos: AtomicU64,
}

impl Stats {
    pub(crate) fn counters(&self, tenant: &str, endpoint: &str) -> Arc<Counters> {
        {
            let counted = self.counters.read();
            if let Some(found) = counted.find(tenant, endpoint) {
                return Arc::clone(found);
            }
            if counted.is_full() {
                return Arc::clone(&self.other);
            }
        }
        let mut counted = self.counters.write();
        counted.add(tenant, endpoint).unwrap_or_else(|| Arc::clone(&self.other))
    }

    /// Keeps everybody away, as long as the answer is held.
    #[cfg(test)]
    pub(crate) fn lock(&self) -> impl Sized + '_ {
        self.counters.write()
    }

    pub(crate) fn count_load_time(&self, took: Duration) {
        let seconds = took.as_secs_f64();
        let bucket = LOAD_BUCKETS.iter().position(|bound| seconds <= *bound).unwrap_or(LOAD_BUCKETS.len());
        self.load_buckets[bucket].fetch_add(1, Relaxed);
        self.load_nanos.fetch_add(nanos(took), Relaxed);
    }

    /// Takes time in the number of the tenant's endpoints.
    pub(crate) fn of_tenant(&self, tenant: &str, limits: Limits, now: Moment) -> TenantStats {
        let mut stats = self.accounts.read(tenant, limits, now);
        if let Some(by_endpoint) = self.counters.read().by_tenant.get(tenant) {
            stats.endpoints = by_endpoint.iter().map(|(name, it)| (name.to_string(), it.read())).collect();
        }
        stats
    }

    pub(crate) fn read(&self) -> StatsSnapshot {
        let mut tenants: BTreeMap<String, BTreeMap<String, Counts>> = BTreeMap::new();
        let stats = self.visit(|tenant, endpoint, counts| {
            if !tenants.contains_key(tenant) {
                tenants.insert(tenant.to_owned(), BTreeMap::new());
            }
            if let Some(of_tenant) = tenants.get_mut(tenant) {
                of_tenant.insert(endpoint.to_owned(), *counts);
            }
        });
        StatsSnapshot { tenants, ..stats }
    }

    /// The same without its tenants, each of whose counts is shown to `see` instead, all of one tenant in a row.
    pub(crate) fn visit(&self, mut see: impl FnMut(&str, &str, &Counts)) -> StatsSnapshot {
        let (mut total, mut others) = (self.other.read(), BTreeMap::new());
        if total != Counts::default() {
            others.insert(String::new(), total);
        }
        {
            let counted = self.counters.read();
            for (tenant, by_endpoint) in &counted.by_tenant {
                for (endpoint, counters) in by_endpoint {
                    let counts = counters.read();
                    total.add(&counts);
                    see(tenant, endpoint, &counts);
                }
            }
            for (endpoint, counters) in &counted.others {
                let counts = counters.read();
                total.add(&counts);
                others.entry(endpoint.to_string()).or_insert_with(Counts::default).add(&counts);
            }
        }
        StatsSnapshot {
            total,
            others,
            invalidations: self.invalidations.load(Relaxed),
            deferred: self.deferred.load(Relaxed),
            evictions: self.evictions.load(Relaxed),
            oversize: self.oversize.load(Relaxed),
            corrupt: self.corrupt.load(Relaxed),
            missed_pushes: self.missed_pushes.load(Relaxed),
            told: self.recent.told(),
            redis_errors: self.redis_errors.load(Relaxed),
            redis_timeouts: self.redis_timeouts.load(Relaxed),
            audits: self.audits.checked.load(Relaxed),
            audits_stale: self.audits.stale.load(Relaxed),
            audits_oldest: self.audits.oldest(),
            load_buckets: self.load_buckets.each_ref().map(|bucket| bucket.load(Relaxed)),
            load_time: Duration::from_nanos(self.load_nanos.load(Relaxed)),
            ..StatsSnapshot::default()
        }
    }
}

/// What a cache did since it was built, and how it stands.
#[derive(Clone, Debug, Default)]
#[non_exhaustive]
pub struct StatsSnapshot {
    /// Everything together.
    pub total: Counts,
    /// By tenant (the empty name: shared entries), then by endpoint (first key segment). At most 10,000 pairs are
    /// counted apart; the rest is in `others`.
    pub tenants: BTreeMap<String, BTreeMap<String, Counts>>,
    /// The pairs beyond that bound, by endpoint: at most 256, and what is beyond that under the empty name. With `tenants`
    /// it adds up to the total.
    pub others: BTreeMap<String, Counts>,
    /// Invalidations called on this node.
    pub invalidations: u64,
    /// Of these, those that could not reach Redis at once.
    pub deferred: u64,
    /// Entries dropped for space; one that a newer value took the place of is none of them.
    pub evictions: u64,
    /// Values too large to be kept.
    pub oversize: u64,
    /// Bytes in Redis that were none of ours, or of another type: each was a miss.
    pub corrupt: u64,
    /// Invalidations that came over the coherence stream, this node's own included. Zero without Redis.
    pub told: u64,
    /// The present epoch; of several buckets that of the first. `None` without Redis, and before it was first reached.
    pub epoch: Option<u64>,
    /// New epochs that this node went through: each makes Redis cold.
    pub epoch_bumps: u64,
    /// Times that messages of other nodes had been missed, so that memory was dropped.
    pub missed_pushes: u64,
    /// Failed Redis calls, time-outs included.
    pub redis_errors: u64,
    /// Redis calls without an answer in time.
    pub redis_timeouts: u64,
    /// Hits that the [auditor](crate::CacheBuilder::audit) has compared with the origin.
    pub audits: u64,
    /// Of these, those whose value the origin had not any more, though nothing had invalidated it.
    pub audits_stale: u64,
    /// The greatest age of such a value.
    pub audits_oldest: Duration,
    /// Loads by duration: one count a bucket of [`LOAD_BUCKETS`], and one for all that took longer.
    pub load_buckets: [u64; LOAD_BUCKETS.len() + 1],
    /// Time spent in loaders.
    pub load_time: Duration,
    /// Entries in this process's memory.
    pub entries: u64,
    /// Their weight in bytes.
    pub memory_bytes: u64,
    /// What they may weigh at most.
    pub max_memory_bytes: u64,
    /// Loads running or waiting for a place.
    pub flights: u64,
    /// What tenants use of their quotas.
    pub quotas: QuotaStats,
    /// Whether this node follows the coherence stream (always, without Redis).
    pub trusted: bool,
    /// How long what is in memory may be served without news from Redis. Without Redis: for ever.
    pub lease_left: Duration,
    /// Age of what this node knows of the others' invalidations: how long ago the last heartbeat was sent that Redis
    /// answered, and before whose answer all pushes were applied. Below a quarter of the lease and a round trip when all
    /// is well. `None` before the first of a connection. Without Redis: zero.
    pub coherence_lag: Option<Duration>,
    /// Scopes whose invalidation this node remembers.
    pub scopes_remembered: u64,
    /// Whether requests leave Redis alone: it failed, or was never reached, and only the task that connects tries it.
    pub breaker_open: bool,
    /// Invalidations that wait for Redis to come back.
    pub undelivered: u64,
    /// The event logs.
    pub events: EventCounts,
}

/// What the [event logs](crate::EventLog) of this node did, and how they stand.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct EventCounts {
    /// Events of this node that have entered a log.
    pub appended: u64,
    /// Events of this node that wait: for acknowledgements, for those before them, or for Redis.
    pub waiting: u64,
    /// Times that too many waited, so that those of a tenant were dropped and its log began anew.
    pub overflows: u64,
    /// Times that a log's watchers here had to start anew.
    pub resets: u64,
    /// Times that the connection to the logs in Redis has ended.
    pub reconnects: u64,
    /// Times that messages of other nodes were missed, so that logs were read again.
    pub missed: u64,
    /// Tenants whose log this node holds or follows.
    pub logs: u64,
    /// Of these, those that somebody watches.
    pub watched: u64,
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{Cache, Policy, key};
    use std::convert::Infallible;

    #[test]
    fn beyond_its_bounds_it_counts_by_endpoint_and_then_together_and_loses_nothing() {
        let stats = Stats::default();
        for tenant in 0..MAX_COUNTERS {
            stats.counters(&tenant.to_string(), "a").count_load();
        }
        for endpoint in 0..2 * MAX_OTHER_ENDPOINTS {
            stats.counters("late", &format!("e{endpoint}")).count_load();
            stats.counters("later", &format!("e{endpoint}")).count_load();
        }
        // Who was counted apart still is.
        stats.counters("7", "a").count_load();
        let read = stats.read();
        assert_eq!(read.tenants.len(), MAX_COUNTERS);
        assert_eq!((read.tenants["7"]["a"].loads, read.others["e0"].loads), (2, 2));
        assert_eq!(read.others.len(), MAX_OTHER_ENDPOINTS + 1);
        assert_eq!(read.others[""].loads, 2 * MAX_OTHER_ENDPOINTS as u64);
        let apart = read.tenants.values().flat_map(BTreeMap::values).chain(read.others.values());
        assert_eq!(apart.map(|counts| counts.loads).sum::<u64>(), read.total.loads);
        assert_eq!(read.total.loads, (MAX_COUNTERS + 4 * MAX_OTHER_ENDPOINTS + 1) as u64);
    }

    #[tokio::test]
    async fn a_hit_goes_through_while_everything_that_statistics_are_read_from_is_locked() {
        let cache = Cache::builder("test").build().await.unwrap();
        let (acme, policy) = (cache.tenant("acme"), Policy::ttl(Duration::from_secs(60)));
        let load = || async { Ok::<_, Infallible>(7_u64) };
        acme.get_or_load(key!("k", 1), &policy, load).await.unwrap();
        let stats = Arc::clone(&cache.engine().stats);
        let (counters, accounts) = (stats.counters.write(), stats.accounts.lock());
        let (sender, hit) = std::sync::mpsc::channel();
        let tenant = acme.clone();
        std::thread::spawn(move || {
            let work = tenant.get_or_load(key!("k", 1), &policy, load);
            let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
            sender.send(runtime.block_on(work)).unwrap();
        });
        let value = hit.recv_timeout(Duration::from_secs(30)).expect("a hit waits for nobody");
        drop((counters, accounts));
        assert_eq!(*value.unwrap(), 7);
        assert_eq!(cache.stats().total.l1_hits, 1);
    }
}
