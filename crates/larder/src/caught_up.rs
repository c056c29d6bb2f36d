//! Whether this node has seen what a lookup must reflect.

use crate::coherence::Stamped;
use crate::engine::Engine;
use crate::simulation::{Mutant, is};
use crate::stamp::Stamp;
use crate::store::{StateReply, Tags};
use parking_lot::Mutex;
use tokio::time::{Instant, timeout_at};

/// Where a lookup finds nothing older than what it must reflect.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Reach {
    /// In memory, and in the flights that it may join.
    Memory,
    /// In Redis.
    Redis,
    /// At the origin only: this node's Redis knows nothing of that epoch, and may be a primary that another has replaced.
    Origin,
}

/// An epoch that is over, as Redis said once: not asked again for each stamp of it.
#[derive(Debug, Default)]
pub(crate) struct History(Mutex<Option<Past>>);

#[derive(Clone, Copy, Debug)]
struct Past {
    epoch: u64,
    /// What it stamped is earlier than this.
    before: u64,
    /// The epoch that was followed when Redis said so.
    followed: u64,
}

impl History {
    fn has(&self, at: Stamped, follows: impl FnOnce(u64) -> bool) -> bool {
        let past = *self.0.lock();
        past.is_some_and(|past| past.epoch == at.epoch && at.stamp < past.before && follows(past.followed))
    }
}

impl Engine {
    /// How far a lookup that must reflect `stamp` has to reach. Waits a moment for the message that is on its way.
    pub(crate) async fn reach(&self, stamp: Option<&Stamp>) -> Reach {
        let Some(at) = stamp.and_then(|stamp| stamp.of(self.mirror.bucket)) else { return Reach::Memory };
        if is(Mutant::StampsOfCallersIgnored) || self.mirror.has_applied(at) {
            return Reach::Memory;
        }
        let deadline = Instant::now() + self.options.read_timeout;
        if self.is_history(at).await {
            return if self.mirror.is_good() { Reach::Memory } else { Reach::Redis };
        }
        let _ = timeout_at(deadline, self.mirror.applied(at)).await;
        if self.mirror.has_applied(at) {
            Reach::Memory
        } else if self.follows(at.epoch) || is(Mutant::UnknownEpochsTrusted) {
            Reach::Redis
        } else {
            Reach::Origin
        }
    }

    fn follows(&self, epoch: u64) -> bool {
        self.mirror.fence_alone().epoch == epoch
    }

    /// Whether `at` is of an epoch that this node has never followed, and that is over: Redis is in the epoch that this
    /// node follows, and that began after it. A later one may have begun elsewhere, of which this node has not heard yet.
    async fn is_history(&self, at: Stamped) -> bool {
        if self.history.has(at, |epoch| self.follows(epoch)) {
            return true;
        }
        let remote = self.remote.as_ref().filter(|_| !self.follows(at.epoch));
        let Some((remote, link)) = remote.and_then(|remote| Some((remote, remote.good_link()?))) else {
            return false;
        };
        let reply = link.read(&[], &[], Tags::Named, self.options.read_timeout).await;
        remote.note(&link, &reply);
        let state = reply.ok().and_then(|reply| reply.state);
        // Whatever an epoch stamps is later than its first floor, and floors only rise.
        let before = |floor: u64| at.stamp < floor || is(Mutant::UnknownEpochsTrusted);
        let over =
            |state: &StateReply| state.epoch != at.epoch && self.follows(state.epoch) && before(state.floor);
        let Some(state) = state.filter(over) else { return false };
        *self.history.0.lock() = Some(Past { epoch: at.epoch, before: state.floor, followed: state.epoch });
        true
    }
}
