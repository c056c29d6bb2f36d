//! The tenants whose log this node holds or follows.

use super::position::Position;
use super::topic::Topic;
use crate::clock::Moment;
use crate::error::{Error, ErrorKind};
use crate::limits::{EVENT_HISTORY_TTL, EVENT_LOG_TTL, MAX_LOGS};
use parking_lot::RwLock;
use std::collections::HashMap;
use std::sync::Arc;
use std::sync::atomic::AtomicUsize;
use std::time::Duration;

/// Between two looks for what is not needed any more.
const SWEEP_EVERY: Duration = Duration::from_secs(30);

/// The tenants whose log this node holds or follows.
#[derive(Default)]
pub(crate) struct Topics {
    topics: RwLock<HashMap<Arc<str>, Arc<Topic>>>,
    /// Bytes of all rings.
    bytes: Arc<AtomicUsize>,
    swept: parking_lot::Mutex<Moment>,
}

/// What goes when nobody needs it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Kept {
    /// The log itself is here: it keeps its epoch for 30 days.
    Here,
    /// It is in Redis.
    Elsewhere,
}

impl Topics {
    /// Keeps everybody away, as long as the answer is held.
    #[cfg(test)]
    pub(crate) fn lock(&self) -> impl Sized + '_ {
        (self.topics.write(), self.swept.lock())
    }

    pub(crate) fn get(&self, tenant: &str) -> Option<Arc<Topic>> {
        self.topics.read().get(tenant).cloned()
    }

    /// The topic of a tenant; a new one begins at `begin()`.
    ///
    /// # Errors
    /// [`ErrorKind::Unavailable`] if there are too many that are watched.
    pub(crate) fn of(
        &self,
        tenant: &str,
        bucket: usize,
        now: Moment,
        begin: impl FnOnce() -> Position,
    ) -> Result<Arc<Topic>, Error> {
        if let Some(topic) = self.get(tenant) {
            return Ok(topic);
        }
        let mut topics = self.topics.write();
        if !topics.contains_key(tenant) && topics.len() >= MAX_LOGS {
            make_way(&mut topics);
            if topics.len() >= MAX_LOGS {
                let why = format!("this node follows the events of {MAX_LOGS} tenants already");
                return Err(Error::new(ErrorKind::Unavailable, why));
            }
        }
        let tenant: Arc<str> = tenant.into();
        let new = || Topic::new(Arc::clone(&tenant), bucket, begin(), Arc::clone(&self.bytes), now);
        let topic = topics.entry(Arc::clone(&tenant)).or_insert_with(|| Arc::new(new()));
        Ok(Arc::clone(topic))
    }

    /// All of a bucket, by name: what follows happens in the same order each time.
    pub(crate) fn in_bucket(&self, bucket: usize) -> Vec<Arc<Topic>> {
        let mut found: Vec<_> =
            self.topics.read().values().filter(|topic| topic.bucket == bucket).cloned().collect();
        found.sort_unstable_by(|one, other| one.tenant.cmp(&other.tenant));
        found
    }

    /// How many there are, and how many of them are watched.
    pub(crate) fn count(&self) -> (usize, usize) {
        let topics = self.topics.read();
        (topics.len(), topics.values().filter(|topic| topic.is_watched()).count())
    }

    /// Lets go what nobody has needed for a while, now and then.
    pub(crate) fn sweep(&self, kept: Kept, now: Moment) {
        {
            let mut swept = self.swept.lock();
            if now.since(*swept) < SWEEP_EVERY {
                return;
            }
            *swept = now;
        }
        self.topics.write().retain(|_, topic| {
            // Whoever looks it up does so under the lock that is held here, and then watches it: a reference tells.
            let used = topic.is_watched() || Arc::strong_count(topic) > 1;
            let mut state = topic.lock();
            let idle = now.since(state.touched);
            if idle < EVENT_HISTORY_TTL {
                return true;
            }
            state.forget();
            used || kept == Kept::Here && idle < EVENT_LOG_TTL
        });
    }
}

/// Drops a part of those that nobody watches, the longest idle first.
fn make_way(topics: &mut HashMap<Arc<str>, Arc<Topic>>) {
    let idle = |topic: &Arc<Topic>| !topic.is_watched() && Arc::strong_count(topic) == 1;
    let mut unwatched: Vec<(Moment, Arc<str>)> = topics
        .values()
        .filter(|topic| idle(topic))
        .map(|topic| (topic.lock().touched, Arc::clone(&topic.tenant)))
        .collect();
    unwatched.sort_unstable_by_key(|(touched, _)| *touched);
    for (_, tenant) in unwatched.iter().take(MAX_LOGS / 16) {
        topics.remove(tenant);
    }
}
