//! Whether this node has seen what a lookup must reflect.

use crate::engine::Engine;
use crate::simulation::{Mutant, is};
use crate::stamp::Stamp;

impl Engine {
    /// Whether what this node has in memory, and the flights that it may join, reflect `stamp`. Waits a moment for the
    /// message that is on its way.
    pub(crate) async fn caught_up(&self, stamp: Option<&Stamp>) -> bool {
        let Some(at) = stamp.and_then(|stamp| stamp.of(self.mirror.bucket)) else { return true };
        if is(Mutant::StampsOfCallersIgnored) {
            return true;
        }
        if !self.mirror.has_applied(at) {
            let _ = tokio::time::timeout(self.options.read_timeout, self.mirror.applied(at)).await;
        }
        self.mirror.has_applied(at)
    }
}
