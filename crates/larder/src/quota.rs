//! Quotas: what one tenant may take of what all share, so that none crowds the others out.

use crate::account::Account;
use crate::clock::Moment;
use crate::l1::{Entry, FullKey};
use crate::limits::{TENANT_NEW_SCOPES, TENANT_NEW_SCOPES_EVERY};
use parking_lot::Mutex;
use std::collections::VecDeque;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::sync::{Arc, OnceLock, Weak};
use tokio::sync::{OwnedSemaphorePermit, Semaphore};

/// One tenant's use of what is limited.
#[derive(Default)]
pub(crate) struct Quota {
    /// Its places among all loads.
    loads: OnceLock<Arc<Semaphore>>,
    /// Scopes that the coherence state did not hold, brought there in this window.
    scopes: Mutex<Window>,
    /// Its entries in the order in which they came. Kept only where memory has a quota.
    order: Mutex<VecDeque<(FullKey, Weak<Entry>)>>,
    /// Invalidations that were widened to the whole tenant.
    widened: AtomicU64,
}

#[derive(Default)]
struct Window {
    began: Moment,
    count: usize,
}

impl std::fmt::Debug for Quota {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Quota").field("widened", &self.widened).finish_non_exhaustive()
    }
}

impl Quota {
    /// Waits for one of the tenant's places among loads.
    pub(crate) async fn place_to_load(&self, limit: usize) -> OwnedSemaphorePermit {
        let places = Arc::clone(self.loads.get_or_init(|| Arc::new(Semaphore::new(limit))));
        places.acquire_owned().await.expect("never closed")
    }

    /// How many of its places, of which there are `limit`, are taken.
    pub(crate) fn loading(&self, limit: usize) -> usize {
        self.loads.get().map_or(0, |places| limit - places.available_permits())
    }

    /// Whether the tenant may bring `count` more scopes into the coherence state now. If not, its invalidation is to be
    /// widened to the whole tenant, whose scope is there already.
    pub(crate) fn may_bring_scopes(&self, count: usize, now: Moment) -> bool {
        let mut window = self.scopes.lock();
        if now.since(window.began) >= TENANT_NEW_SCOPES_EVERY {
            *window = Window { began: now, count: 0 };
        }
        let allowed = window.count.saturating_add(count) <= TENANT_NEW_SCOPES;
        if allowed {
            window.count += count;
        } else {
            self.widened.fetch_add(1, Relaxed);
        }
        allowed
    }

    /// How many it has brought there in the present window.
    pub(crate) fn new_scopes(&self, now: Moment) -> usize {
        let window = self.scopes.lock();
        if now.since(window.began) >= TENANT_NEW_SCOPES_EVERY { 0 } else { window.count }
    }

    /// Keeps everybody away, as long as the answer is held.
    #[cfg(test)]
    pub(crate) fn lock(&self) -> impl Sized + '_ {
        (self.scopes.lock(), self.order.lock())
    }

    /// How many invalidations were widened.
    pub(crate) fn widened(&self) -> u64 {
        self.widened.load(Relaxed)
    }

    /// Remembers an entry that has come, as the youngest.
    pub(crate) fn came(&self, key: FullKey, entry: &Arc<Entry>, account: &Account) {
        let mut order = self.order.lock();
        order.push_back((key, Arc::downgrade(entry)));
        // Those that have gone by themselves are forgotten now and then.
        if order.len() as u64 > 64 + 2 * account.entries() {
            order.retain(|(_, entry)| entry.strong_count() > 0);
        }
    }

    /// The oldest that may still be there.
    pub(crate) fn oldest(&self) -> Option<(FullKey, Weak<Entry>)> {
        self.order.lock().pop_front()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::clock::{Clock, ManualClock};

    #[test]
    fn new_scopes_are_counted_by_the_minute() {
        let (quota, clock) = (Quota::default(), ManualClock::default());
        assert!(quota.may_bring_scopes(TENANT_NEW_SCOPES - 1, clock.now()));
        assert!(quota.may_bring_scopes(1, clock.now()));
        assert!(!quota.may_bring_scopes(1, clock.now()));
        assert_eq!(quota.new_scopes(clock.now()), TENANT_NEW_SCOPES);
        clock.advance(TENANT_NEW_SCOPES_EVERY);
        assert_eq!(quota.new_scopes(clock.now()), 0);
        assert!(quota.may_bring_scopes(1, clock.now()));
        assert_eq!(quota.widened(), 1);
    }
}
