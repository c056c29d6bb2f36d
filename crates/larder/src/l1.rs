//! The in-process tier: entries by tenant and key, bounded by weight.
//!
//! **Architecture invariant:** the whole key decides. A hash finds the shelf, tenant and key bytes are compared.
//!
//! **Architecture invariant:** entries come and go in this file only, so that every tenant's account is exact.

use crate::account::Account;
use crate::clock::Moment;
use crate::coherence::{Judged, Mirror};
use crate::freshness::{Expiry, is_due_early};
use crate::key::Key;
use crate::remote::random_part;
use crate::scope::{EntryScopes, Subject};
use crate::simulation;
use crate::stats::{Counters, Stats};
use crate::status::{LastOutcome, Outcome, Status};
use quick_cache::sync::Cache as Quick;
use quick_cache::{Equivalent, Lifecycle, OptionsBuilder, Weighter};
use smallvec::SmallVec;
use std::any::Any;
use std::hash::{Hash, Hasher};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

/// A cached value of any type, or its absence.
pub(crate) type Stored = Option<Arc<dyn Any + Send + Sync>>;

/// One entry in memory.
pub(crate) struct Entry {
    pub(crate) value: Stored,
    pub(crate) scopes: EntryScopes,
    /// The declared tags, for people.
    pub(crate) tags: Vec<Arc<str>>,
    pub(crate) judged: Judged,
    /// Version within the epoch: an entry is never replaced by an older one.
    pub(crate) ver: u64,
    pub(crate) expiry: Expiry,
    /// After a failed load nobody tries again before this.
    pub(crate) retry_at: AtomicU64,
    /// Nobody loads ahead of expiry before this.
    pub(crate) ahead_at: AtomicU64,
    /// How long the load took.
    pub(crate) load: Duration,
    pub(crate) weight: u64,
    /// For people: how the last lookup of its key here ended.
    pub(crate) last: LastOutcome,
    pub(crate) counters: Arc<Counters>,
    /// Its tenant's, which knows of it while it is in memory.
    pub(crate) account: Arc<Account>,
}

/// How soon a load ahead of expiry is tried again at the soonest.
const AHEAD_AGAIN: Duration = Duration::from_secs(1);

/// See [`Entry::is_due_early`]: what is left of this one, and as much as clocks and rounding may take away.
pub(crate) fn ahead_below(expiry: Expiry, now: Moment) -> Duration {
    let slack = (expiry.soft.since(expiry.made) / 32).max(Duration::from_millis(50));
    expiry.soft.since(now).saturating_add(slack)
}

impl Entry {
    /// Bytes of its value, of all that it weighs.
    pub(crate) fn value_weight(&self, key: &Key) -> usize {
        let rest = weigh(key, self.scopes.all().len(), 0);
        usize::try_from(self.weight.saturating_sub(rest)).unwrap_or(usize::MAX)
    }

    /// Counts a lookup that it answers.
    pub(crate) fn count(&self, status: &Status) {
        self.counters.count(status);
        self.last.note(status.outcome);
    }

    pub(crate) fn may_retry(&self, now: Moment) -> bool {
        now.as_nanos() >= self.retry_at.load(Ordering::Relaxed)
    }

    pub(crate) fn retry_not_before(&self, moment: Moment) {
        self.retry_at.store(moment.as_nanos(), Ordering::Relaxed);
    }

    /// Whether it is for this lookup to load ahead of expiry. If so, below how much fresh time left a value is to be
    /// replaced: with clearly more, another node has loaded since.
    pub(crate) fn is_due_early(&self, beta: f32, now: Moment) -> Option<Duration> {
        let left = self.expiry.soft.since(now);
        if !is_due_early(left, self.load, beta, random_part) {
            return None;
        }
        // One of all that are due at once; the next one in a while, if nothing has come of it.
        let (free_at, pause) = (self.ahead_at.load(Ordering::Relaxed), self.load.max(AHEAD_AGAIN));
        let claimed = now.as_nanos() >= free_at
            && self
                .ahead_at
                .compare_exchange(free_at, now.plus(pause).as_nanos(), Ordering::Relaxed, Ordering::Relaxed)
                .is_ok();
        claimed.then(|| ahead_below(self.expiry, now))
    }
}

/// The key of an entry: tenant and encoded key.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct FullKey {
    pub(crate) tenant: Arc<str>,
    pub(crate) key: Key,
}

impl FullKey {
    pub(crate) fn borrow(&self) -> KeyRef<'_> {
        KeyRef { tenant: &self.tenant, key: &self.key }
    }
}

/// A key to look up, without owning it.
#[derive(Clone, Copy)]
pub(crate) struct KeyRef<'a> {
    pub(crate) tenant: &'a str,
    pub(crate) key: &'a Key,
}

impl Hash for FullKey {
    fn hash<H: Hasher>(&self, state: &mut H) {
        self.borrow().hash(state);
    }
}

impl Hash for KeyRef<'_> {
    fn hash<H: Hasher>(&self, state: &mut H) {
        self.tenant.hash(state);
        self.key.hash(state);
    }
}

impl Equivalent<FullKey> for KeyRef<'_> {
    fn equivalent(&self, full: &FullKey) -> bool {
        *self.tenant == *full.tenant && *self.key == full.key
    }
}

#[derive(Clone)]
struct ByWeight;

impl Weighter<FullKey, Arc<Entry>> for ByWeight {
    fn weight(&self, _key: &FullKey, entry: &Arc<Entry>) -> u64 {
        entry.weight
    }
}

/// Gathers what an insertion pushes out, so that it is counted and dropped after the shard's lock was let go.
#[derive(Clone)]
struct GatherGone;

impl Lifecycle<FullKey, Arc<Entry>> for GatherGone {
    type RequestState = SmallVec<[(FullKey, Arc<Entry>); 1]>;

    fn on_evict(&self, gone: &mut Self::RequestState, key: FullKey, entry: Arc<Entry>) {
        gone.push((key, entry));
    }
}

/// What an entry weighs beyond its value: entry, key, scopes, and the map's own overhead.
const OVERHEAD: usize = 512;

/// Unpredictable, so that nobody can choose keys that share a shelf.
fn hasher() -> ahash::RandomState {
    match simulation::random() {
        Some(seed) => ahash::RandomState::with_seeds(seed, 1, 2, 3),
        None => ahash::RandomState::new(),
    }
}

/// Bytes that an entry takes in memory.
pub(crate) fn weigh(key: &Key, scopes: usize, value: usize) -> u64 {
    let bytes = OVERHEAD + key.as_str().len() + 16 * scopes + value;
    u64::try_from(bytes).unwrap_or(u64::MAX)
}

/// The in-process tier.
pub(crate) struct L1 {
    entries: Quick<FullKey, Arc<Entry>, ByWeight, ahash::RandomState, GatherGone>,
    capacity: u64,
    /// Bytes that one tenant may hold; `None`: all of them.
    tenant_quota: Option<u64>,
    stats: Arc<Stats>,
}

impl L1 {
    /// Bounded to `capacity` bytes, where one entry may weigh up to `largest`.
    pub(crate) fn new(capacity: u64, largest: u64, tenant_quota: Option<u64>, stats: Arc<Stats>) -> Self {
        // Capacity is split among shards, and an entry that outweighs its shard is refused: so few enough of them.
        let shards = usize::try_from(capacity / largest.max(1).saturating_mul(4)).unwrap_or(1).clamp(1, 64);
        let options = OptionsBuilder::new()
            .estimated_items_capacity(usize::try_from(capacity / 8192).unwrap_or(1024).clamp(64, 1 << 20))
            .weight_capacity(capacity)
            .shards(shards)
            .build()
            .expect("every option is set");
        let entries = Quick::with_options(options, ByWeight, hasher(), GatherGone);
        Self { entries, capacity, tenant_quota, stats }
    }

    pub(crate) fn get(&self, key: KeyRef<'_>) -> Option<Arc<Entry>> {
        self.entries.get(&key)
    }

    /// Notes how a lookup ended that memory did not answer, where memory has an entry of its key by now.
    pub(crate) fn note(&self, key: KeyRef<'_>, outcome: Outcome) {
        if let Some(entry) = self.entries.peek(&key) {
            entry.last.note(outcome);
        }
    }

    /// Puts an admitted entry in, unless a newer version is there.
    pub(crate) fn put(&self, key: FullKey, entry: Arc<Entry>, mirror: &Mirror) {
        if let Some(there) = self.entries.peek(&key) {
            if there.ver > entry.ver && mirror.serves(&there.judged, there.scopes.subject(&key.key)) {
                return;
            }
            entry.last.follow(&there.last);
        }
        entry.account.enter(entry.weight);
        let mut gone = SmallVec::new();
        self.entries.insert_with_lifecycle(key.clone(), Arc::clone(&entry), &mut gone);
        for (gone_key, gone) in gone {
            gone.account.leave(gone.weight);
            // What was there under the same key made way for its successor, not for want of room.
            if gone_key != key || Arc::ptr_eq(&gone, &entry) {
                gone.account.count_eviction();
                self.stats.evictions.fetch_add(1, Ordering::Relaxed);
            }
        }
        if let Some(quota) = self.tenant_quota {
            self.keep_within(quota, key, &entry);
        }
    }

    /// Drops a tenant's oldest entries until it holds no more than its quota.
    fn keep_within(&self, quota: u64, key: FullKey, entry: &Arc<Entry>) {
        let account = &entry.account;
        account.quota.came(key, entry, account);
        while account.bytes() > quota
            && let Some((key, oldest)) = account.quota.oldest()
        {
            let Some(oldest) = oldest.upgrade() else { continue };
            if let Some((_, gone)) = self.entries.remove_if(&key, |there| Arc::ptr_eq(there, &oldest)) {
                account.leave(gone.weight);
                account.count_eviction();
                self.stats.evictions.fetch_add(1, Ordering::Relaxed);
            }
        }
    }

    /// Drops one entry: its space is not needed any more. Correctness never depends on it.
    pub(crate) fn remove(&self, key: KeyRef<'_>) {
        if let Some((_, gone)) = self.entries.remove(&key) {
            gone.account.leave(gone.weight);
        }
    }

    /// Drops an entry that was found invalid, unless another has taken its place.
    pub(crate) fn remove_this(&self, key: KeyRef<'_>, entry: &Arc<Entry>) {
        if let Some((_, gone)) = self.entries.remove_if(&key, |there| Arc::ptr_eq(there, entry)) {
            gone.account.leave(gone.weight);
        }
    }

    pub(crate) fn for_each(&self, mut see: impl FnMut(&FullKey, &Arc<Entry>)) {
        self.entries.iter().for_each(|(key, entry)| see(&key, &entry));
    }

    /// Re-stamps every entry that is still valid, so that the mirror may forget the older half of its map.
    pub(crate) fn sweep(&self, restamp: &dyn Fn(&Judged, Subject<'_>)) {
        self.for_each(|key, entry| restamp(&entry.judged, entry.scopes.subject(&key.key)));
    }

    pub(crate) fn len(&self) -> u64 {
        self.entries.len() as u64
    }

    pub(crate) fn weight(&self) -> u64 {
        self.entries.weight()
    }

    pub(crate) fn capacity(&self) -> u64 {
        self.capacity
    }
}
