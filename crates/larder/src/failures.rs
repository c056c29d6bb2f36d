//! Loads that failed a moment ago and are not to be tried again yet.

use crate::clock::Moment;
use crate::coherence::Mirror;
use crate::error::Error;
use crate::l1::FullKey;
use crate::limits::MAX_FAILURES;
use crate::scope::EntryScopes;
use crate::sync::Mutex;
use std::collections::HashMap;
use std::sync::atomic::{AtomicUsize, Ordering};

/// A load that failed.
pub(crate) struct Failure {
    /// Nobody tries again before.
    pub(crate) until: Moment,
    /// What ends it earlier, if it is invalidated.
    pub(crate) scopes: EntryScopes,
    /// The mirror's change counter when the load began.
    pub(crate) change: u64,
    pub(crate) error: Error,
}

impl Failure {
    fn holds(&self, now: Moment, mirror: &Mirror) -> bool {
        now < self.until && mirror.unchanged_since(self.scopes.all(), self.change)
    }
}

/// Failed loads of this node that cool down. Usually none, and then asking costs one load of a number.
#[derive(Default)]
pub(crate) struct Failures {
    count: AtomicUsize,
    failed: Mutex<HashMap<FullKey, Failure, ahash::RandomState>>,
}

impl Failures {
    /// The error of the key's last load, if that is not to be tried again yet.
    pub(crate) fn of(&self, key: &FullKey, now: Moment, mirror: &Mirror) -> Option<Error> {
        if self.count.load(Ordering::Acquire) == 0 {
            return None;
        }
        let mut failed = self.failed.lock();
        let failure = failed.get(key)?;
        if failure.holds(now, mirror) {
            return Some(failure.error.clone());
        }
        failed.remove(key);
        self.count.store(failed.len(), Ordering::Release);
        None
    }

    /// Keeps everybody away, as long as the answer is held.
    #[cfg(test)]
    pub(crate) fn lock(&self) -> impl Sized + '_ {
        self.failed.lock()
    }

    /// Remembers a failure, unless there are too many.
    pub(crate) fn add(&self, key: FullKey, failure: Failure, now: Moment, mirror: &Mirror) {
        let mut failed = self.failed.lock();
        if failed.len() >= MAX_FAILURES {
            failed.retain(|_, failure| failure.holds(now, mirror));
        }
        if failed.len() < MAX_FAILURES || failed.contains_key(&key) {
            failed.insert(key, failure);
        }
        self.count.store(failed.len(), Ordering::Release);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::clock::ManualClock;
    use crate::error::ErrorKind;
    use crate::key;
    use std::sync::Arc;
    use std::time::Duration;

    #[test]
    fn no_more_failures_are_remembered_than_the_limit_and_those_that_are_over_make_room() {
        let (mirror, failures) = (Mirror::alone(Arc::new(ManualClock::default())), Failures::default());
        let at = |seconds: u64| Moment::from_nanos(0).plus(Duration::from_secs(seconds));
        let full = |i: usize| FullKey { tenant: Arc::from("acme"), key: key!("k", i) };
        let add = |i: usize, now: u64| {
            let key = full(i);
            let failure = Failure {
                until: at(now + 1),
                scopes: EntryScopes::of(&key.tenant, &key.key),
                change: mirror.change(),
                error: Error::new(ErrorKind::Load, "failed"),
            };
            failures.add(key, failure, at(now), &mirror);
        };
        (0..=MAX_FAILURES).for_each(|i| add(i, 0));
        assert!(failures.of(&full(MAX_FAILURES - 1), at(0), &mirror).is_some());
        assert!(failures.of(&full(MAX_FAILURES), at(0), &mirror).is_none());
        add(MAX_FAILURES, 1);
        assert!(failures.of(&full(MAX_FAILURES), at(1), &mirror).is_some());
        assert_eq!(failures.count.load(Ordering::Acquire), 1);
    }
}
