//! Whether this node has seen what a lookup must reflect.

use crate::coherence::Stamped;
use crate::engine::Engine;
use crate::simulation::{Mutant, is};
use crate::stamp::Stamp;
use crate::store::Tags;

impl Engine {
    /// Whether what this node has in memory, and the flights that it may join, reflect `stamp`. Waits a moment for the
    /// message that is on its way.
    pub(crate) async fn caught_up(&self, stamp: Option<&Stamp>) -> bool {
        let Some(at) = stamp.and_then(|stamp| stamp.of(self.mirror.bucket)) else { return true };
        if is(Mutant::StampsOfCallersIgnored) || self.mirror.has_applied(at) {
            return true;
        }
        if self.is_history(at).await {
            return self.mirror.is_good();
        }
        let _ = tokio::time::timeout(self.options.read_timeout, self.mirror.applied(at)).await;
        self.mirror.has_applied(at)
    }

    /// Whether `at` is of an epoch that this node has never followed, and that is over: Redis is in the epoch that this
    /// node follows, and none comes back. Else it may be of one that this node has not heard of yet.
    async fn is_history(&self, at: Stamped) -> bool {
        let follows = |epoch| self.mirror.fence_alone().epoch == epoch;
        let remote = self.remote.as_ref().filter(|_| !follows(at.epoch));
        let Some((remote, link)) = remote.and_then(|remote| Some((remote, remote.good_link()?))) else {
            return false;
        };
        let reply = link.read(&[], &[], Tags::Named, self.options.read_timeout).await;
        remote.note(&link, &reply);
        let state = reply.ok().and_then(|reply| reply.state);
        state.is_some_and(|state| state.epoch != at.epoch && follows(state.epoch))
    }
}
