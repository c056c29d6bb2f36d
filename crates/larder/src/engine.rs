//! The engine: everything that lookups, loads and invalidations share.

use crate::account::{Account, TenantStats};
use crate::audit::Auditor;
use crate::caught_up::History;
use crate::clock::{Clock, Moment};
use crate::closing::Closing;
use crate::coherence::{Fence, Mirror};
use crate::error::{Error, ErrorKind};
use crate::event::Event;
use crate::event_log::{Ends, Logs};
use crate::failures::Failures;
use crate::flight::Flights;
use crate::freshness::{Expiry, Windows};
use crate::l1::{Entry, FullKey, KeyRef, L1, Stored, weigh};
use crate::limits::MAX_CONCURRENT_LOADS;
use crate::policy::Policy;
use crate::quota_use::Limits;
use crate::remote::{Remote, random_part};
use crate::scope::{EntryScopes, ScopeHash};
use crate::stats::{Counters, Stats, StatsSnapshot};
use crate::status::{LastOutcome, Tier};
use crate::sync::Mutex;
use crate::unnamed::UnnamedTags;
use std::sync::Arc;
use std::sync::atomic::AtomicU64;
use std::time::Duration;
use tokio::sync::{OwnedSemaphorePermit, Semaphore, SemaphorePermit, broadcast};
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

/// What the builder settles.
#[derive(Clone, Debug)]
pub(crate) struct Options {
    pub(crate) enabled: bool,
    pub(crate) memory: u64,
    /// Bytes that one tenant may hold in memory; `None`: all of them.
    pub(crate) tenant_memory: Option<u64>,
    /// Loaders of one tenant that run at once.
    pub(crate) tenant_loads: usize,
    /// The share of hits in memory that are audited.
    pub(crate) audit: f64,
    pub(crate) max_value_size: usize,
    pub(crate) load_timeout: Duration,
    /// How long a value loaded without Redis is kept; `None`: its full TTL, since no other node serves these tenants.
    pub(crate) outage_memory_ttl: Option<Duration>,
    pub(crate) lease: Duration,
    pub(crate) read_timeout: Duration,
}

/// Everything that lookups, loads and invalidations share.
pub(crate) struct Engine {
    pub(crate) options: Options,
    pub(crate) clock: Arc<dyn Clock>,
    pub(crate) mirror: Arc<Mirror>,
    pub(crate) l1: Arc<L1>,
    pub(crate) flights: Flights,
    pub(crate) failures: Failures,
    pub(crate) stats: Arc<Stats>,
    pub(crate) remote: Option<Arc<Remote>>,
    pub(crate) tasks: TaskTracker,
    pub(crate) closing: Closing,
    /// What serves the tasks, and ends after them.
    pub(crate) background: TaskTracker,
    pub(crate) ending: CancellationToken,
    pruning: Mutex<()>,
    pub(crate) unnamed: Arc<UnnamedTags>,
    pub(crate) history: History,
    pub(crate) loads: Arc<Semaphore>,
    pub(crate) auditor: Option<Arc<Auditor>>,
    pub(crate) events: broadcast::Sender<Arc<Event>>,
    pub(crate) logs: Arc<Logs>,
}

impl Engine {
    pub(crate) fn new(
        options: Options,
        clock: Arc<dyn Clock>,
        mirror: Arc<Mirror>,
        stats: Arc<Stats>,
        remote: Option<Arc<Remote>>,
    ) -> Self {
        // A decoded value may weigh a few times its bytes.
        let largest = (options.max_value_size as u64).saturating_mul(4);
        let auditor = Auditor::new(options.audit).map(Arc::new);
        let ends = Ends::default();
        let logs = Logs::new(Arc::clone(&clock), remote.as_ref(), ends.clone());
        Self {
            l1: Arc::new(L1::new(options.memory, largest, options.tenant_memory, Arc::clone(&stats))),
            options,
            clock,
            mirror,
            flights: Flights::default(),
            failures: Failures::default(),
            stats,
            remote,
            tasks: ends.tasks,
            closing: ends.closing,
            background: ends.background,
            ending: ends.ending,
            pruning: Mutex::new(()),
            unnamed: Arc::default(),
            history: History::default(),
            loads: Arc::new(Semaphore::new(MAX_CONCURRENT_LOADS)),
            auditor,
            events: broadcast::channel(crate::limits::EVENT_BACKLOG).0,
            logs,
        }
    }

    /// The engine of another bucket: it shares everything but what is known of invalidations, and the flights.
    pub(crate) fn beside(&self, mirror: Arc<Mirror>, remote: Option<Arc<Remote>>) -> Self {
        Self {
            l1: Arc::clone(&self.l1),
            options: self.options.clone(),
            clock: Arc::clone(&self.clock),
            mirror,
            flights: Flights::default(),
            stats: Arc::clone(&self.stats),
            remote,
            tasks: self.tasks.clone(),
            closing: self.closing.clone(),
            background: self.background.clone(),
            ending: self.ending.clone(),
            pruning: Mutex::new(()),
            unnamed: Arc::clone(&self.unnamed),
            history: History::default(),
            loads: Arc::clone(&self.loads),
            auditor: self.auditor.clone(),
            events: self.events.clone(),
            logs: Arc::clone(&self.logs),
            failures: Failures::default(),
        }
    }

    /// Adds what this bucket knows to the statistics of all.
    pub(crate) fn add_to(&self, stats: &mut StatsSnapshot) {
        stats.flights += self.flights.len() as u64;
        stats.trusted &= self.mirror.is_trusted();
        stats.lease_left = stats.lease_left.min(self.mirror.lease_left());
        stats.epoch_bumps += self.mirror.epoch_changes();
        stats.scopes_remembered += self.mirror.scopes_remembered() as u64;
        let Some(remote) = &self.remote else { return };
        let lag = self.mirror.renewed(self.options.lease).map(|sent| self.now().since(sent));
        stats.coherence_lag = stats.coherence_lag.zip(lag).map(|(one, other)| one.max(other));
        stats.breaker_open |= remote.link().is_none();
        stats.epoch = stats.epoch.or_else(|| self.mirror.epoch());
        stats.undelivered += remote.undelivered_count() as u64;
    }

    pub(crate) fn now(&self) -> Moment {
        self.clock.now()
    }

    pub(crate) fn check_open(&self) -> Result<(), Error> {
        if self.closing.is_cancelled() {
            return Err(Error::new(ErrorKind::Closed, "the cache has been shut down"));
        }
        Ok(())
    }

    /// The entry in memory with its expiry, if it may be served by what is known of invalidations; its age is another
    /// question.
    pub(crate) fn valid_entry(&self, key: KeyRef<'_>) -> Option<(Arc<Entry>, Expiry)> {
        let entry = self.l1.get(key)?;
        let stale_from = self.mirror.standing(&entry.judged, entry.scopes.subject(key.key))?;
        let expiry = entry.expiry.stale_from(stale_from);
        Some((entry, expiry))
    }

    /// Whether the patterns that were invalidated after `ver`, the last at `newest`, do not concern this key.
    pub(crate) fn is_spared(&self, scope: &ScopeHash, key: &str, epoch: u64, ver: u64, newest: u64) -> bool {
        scope.is_of_rules() && self.mirror.rules_spare(scope, key, epoch, ver, newest)
    }

    /// What a tenant may have at most.
    pub(crate) fn tenant_limits(&self) -> Limits {
        let memory = self.options.tenant_memory.unwrap_or(self.l1.capacity());
        Limits::new(memory, self.options.tenant_loads)
    }

    /// What one tenant's part did, and what it holds.
    pub(crate) fn tenant_stats(&self, tenant: &str) -> TenantStats {
        self.stats.of_tenant(tenant, self.tenant_limits(), self.now())
    }

    /// Waits for a place among the tenant's loads, and then among all. In this order: who waits for its own tenant's
    /// holds none of the others' places.
    pub(crate) async fn place_to_load(
        &self,
        account: Option<&Account>,
    ) -> (Option<OwnedSemaphorePermit>, SemaphorePermit<'_>) {
        let of_tenant = match account {
            Some(account) => Some(account.quota.place_to_load(self.options.tenant_loads).await),
            None => None,
        };
        (of_tenant, self.loads.acquire().await.expect("never closed"))
    }

    /// Puts a value into memory, if its fence holds.
    pub(crate) fn admit(&self, value: NewEntry, fence: Fence, ver: u64) {
        let Some(judged) = self.mirror.admit(fence, value.scopes.subject(&value.key.key)) else { return };
        judged.expired(value.stale_from);
        let weight = weigh(&value.key.key, value.scopes.all().len(), value.weight);
        let entry = Entry {
            value: value.value,
            scopes: value.scopes,
            tags: value.tags,
            judged,
            ver,
            expiry: value.expiry,
            retry_at: AtomicU64::new(0),
            ahead_at: AtomicU64::new(0),
            last: LastOutcome::default(),
            load: value.load,
            weight,
            counters: value.counters,
            account: self.stats.accounts.of(&value.key.tenant),
        };
        crate::log::set(value.key.borrow(), Tier::Memory, entry.expiry.soft.since(entry.expiry.made));
        self.l1.put(value.key, Arc::new(entry), &self.mirror);
    }

    /// Expiry of a value that was made at `made`, and is kept for `window` after its TTL. Jitter shortens.
    pub(crate) fn expiry(made: Moment, jitter: f32, ttl: Duration, window: Duration) -> Expiry {
        let ttl = ttl.mul_f64(1.0 - f64::from(jitter) * random_part());
        Expiry { made, soft: made.plus(ttl), hard: made.plus(ttl.saturating_add(window)) }
    }

    pub(crate) fn windows(policy: &Policy) -> Windows {
        Windows {
            while_revalidate: policy.stale_while_revalidate,
            if_error: policy.stale_if_error,
            eager: policy.eager_refresh,
        }
    }

    #[cfg(test)]
    pub(crate) fn lock_pruning(&self) -> impl Sized + '_ {
        self.pruning.lock()
    }

    /// Brings the map of invalidated scopes back within its bound.
    pub(crate) fn prune_if_full(&self) {
        if self.mirror.is_full() {
            self.prune();
        }
    }

    /// The same where it has grown, after an invalidation.
    pub(crate) fn prune_if_grown_full(&self) {
        if self.mirror.has_grown_full() {
            self.prune();
        }
    }

    fn prune(&self) {
        // One at a time: it goes through all of memory.
        if let Some(_alone) = self.pruning.try_lock() {
            self.mirror.prune(|restamp| self.l1.sweep(restamp));
        }
    }
}

/// A value on its way into memory.
pub(crate) struct NewEntry {
    pub(crate) key: FullKey,
    pub(crate) value: Stored,
    pub(crate) scopes: EntryScopes,
    pub(crate) tags: Vec<Arc<str>>,
    pub(crate) expiry: Expiry,
    /// Since when it is stale whatever its TTL, as far as that was known before it is judged.
    pub(crate) stale_from: Moment,
    pub(crate) load: Duration,
    /// Bytes of the value in memory.
    pub(crate) weight: usize,
    pub(crate) counters: Arc<Counters>,
}
