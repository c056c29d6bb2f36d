//! The auditor: looks again at the origin for a few of the values that were served from memory, and counts those that had
//! changed without anybody saying so. It finds what no cache can prevent: a write that forgets to invalidate, a replica
//! that lags, a loader that reads an old snapshot.

use crate::engine::Engine;
use crate::job::Job;
use crate::key::Key;
use crate::l1::{Entry, FullKey, KeyRef};
use crate::loader::Loader;
use crate::nested::Hurry;
use crate::policy::Policy;
use crate::sync;
use crate::value::{Value, shielded};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::time::Duration;
use tokio::sync::{OwnedSemaphorePermit, Semaphore};

/// Audits under way at once. A hit that is due while there are so many is not audited.
const AT_ONCE: usize = 4;

/// Chooses the hits, and counts what came of them.
pub(crate) struct Auditor {
    /// One in so many hits.
    every: u64,
    hits: AtomicU64,
    places: Arc<Semaphore>,
}

/// What audits have found.
#[derive(Debug, Default)]
pub(crate) struct Audits {
    pub(crate) checked: AtomicU64,
    pub(crate) stale: AtomicU64,
    pub(crate) oldest_ms: AtomicU64,
}

impl Auditor {
    /// Audits this share of the hits; `None` for none.
    pub(crate) fn new(share: f64) -> Option<Self> {
        #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "from 1 to 10^9")]
        let every = (share > 0.0).then(|| (1.0 / share).clamp(1.0, 1e9) as u64)?;
        Some(Self { every, hits: AtomicU64::new(0), places: Arc::new(Semaphore::new(AT_ONCE)) })
    }

    fn is_due(&self) -> Option<OwnedSemaphorePermit> {
        if self.hits.fetch_add(1, Relaxed) % self.every != self.every - 1 {
            return None;
        }
        Arc::clone(&self.places).try_acquire_owned().ok()
    }
}

impl Engine {
    /// After a hit in memory: looks at the origin behind, if it is this one's turn.
    pub(crate) fn audit_hit<T: Value>(
        self: &Arc<Self>,
        tenant: &Arc<str>,
        key: &Key,
        policy: &Policy,
        loader: impl FnOnce() -> Box<dyn Loader<T>>,
    ) {
        let Some(place) = self.auditor.as_ref().and_then(|auditor| auditor.is_due()) else { return };
        let Some(entry) = self.l1.get(KeyRef { tenant, key }) else { return };
        let full = FullKey { tenant: Arc::clone(tenant), key: key.clone() };
        let job = Job::new(Arc::clone(self), policy.clone(), loader(), Hurry::default());
        let engine = Arc::clone(self);
        let audit = async move {
            tokio::select! {
                () = engine.audit(&full, entry, job) => {}
                () = engine.closing.cancelled() => {}
            }
            drop(place);
        };
        sync::spawn(&self.tasks, audit);
    }

    async fn audit<T: Value>(self: &Arc<Self>, full: &FullKey, entry: Arc<Entry>, mut job: Job<T>) {
        let change = self.mirror.change();
        // Whatever was announced before the hit has arrived within a lease, or the lease is gone.
        tokio::time::sleep(self.options.lease).await;
        if !self.is_still(full, &entry, change) {
            return;
        }
        let keys = [full.key.clone()];
        let Ok((values, _)) = job.load_uncached(&keys, &[Arc::clone(&entry.counters)]).await else { return };
        // A write just before the load announces itself just after it.
        tokio::time::sleep(self.options.lease).await;
        if !self.is_still(full, &entry, change) {
            return;
        }
        let served = entry.value.clone().map(|value| value.downcast::<T>());
        let served = match served {
            None => None,
            Some(Ok(value)) => Some(value),
            Some(Err(_other_type)) => return,
        };
        let found = values.into_iter().next().flatten();
        let Some(same) = same(served.as_deref(), found.as_deref()) else { return };
        self.stats.audits.checked.fetch_add(1, Relaxed);
        if !same {
            let age = self.now().since(entry.expiry.made);
            self.stats.audits.stale.fetch_add(1, Relaxed);
            self.stats
                .audits
                .oldest_ms
                .fetch_max(u64::try_from(age.as_millis()).unwrap_or(u64::MAX), Relaxed);
            let key = full.key.render(&full.tenant);
            tracing::warn!(target: "larder::audit", key, ?age, "the origin has another value, and nobody has said so");
        }
    }

    /// Whether memory would still serve this very entry, and nothing of it was changed since.
    fn is_still(&self, full: &FullKey, entry: &Arc<Entry>, change: u64) -> bool {
        let now = self.valid_entry(full.borrow());
        now.is_some_and(|(there, expiry)| Arc::ptr_eq(&there, entry) && self.now() < expiry.soft)
            && self.mirror.unchanged_since(entry.scopes.all(), change)
    }
}

/// Whether two values have the same bytes; `None` if one of them can't be written.
fn same<T: Value>(one: Option<&T>, other: Option<&T>) -> Option<bool> {
    let bytes = |value: Option<&T>| {
        let mut out = Vec::new();
        match value {
            Some(value) => shielded(|| value.encode(&mut out))?.ok().map(|()| Some(out)),
            None => Some(None),
        }
    };
    Some(bytes(one)? == bytes(other)?)
}

impl Audits {
    pub(crate) fn oldest(&self) -> Duration {
        Duration::from_millis(self.oldest_ms.load(Relaxed))
    }
}
