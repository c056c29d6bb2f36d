//! Values that nobody loads, because their caller brought them: as old as the caller's own invalidation, not as the lease
//! under which they are stored.

use super::{Granted, Job, Pending};
use crate::coherence::Stamped;
use crate::remote::Remote;
use crate::value::Value;
use std::sync::Arc;
use std::time::Duration;

impl<T: Value> Job<T> {
    /// Leases under which a value made at `made` may be stored, at that version; the others are given back. A scope stamped
    /// since refuses the fill. Of a key that was invalidated since Redis keeps no stamp: that is known when everything up to
    /// the lease has arrived here, and if it does not arrive in time, the value is not stored.
    pub(super) async fn as_of(
        &mut self,
        remote: &Arc<Remote>,
        granted: Vec<Granted<T>>,
        made: Stamped,
    ) -> (Vec<Granted<T>>, Vec<Pending<T>>) {
        let (mut kept, mut overtaken, mut held) = (Vec::new(), Vec::new(), Vec::new());
        for mut one in granted {
            let mirror = &self.engine.mirror;
            let leased = Stamped { epoch: one.epoch, stamp: one.ver };
            let _ = tokio::time::timeout(self.budget, mirror.applied(leased)).await;
            let is_last = one.epoch == made.epoch
                && mirror.has_applied(leased)
                && mirror.is_last(one.pending.scopes.key(), made);
            if is_last {
                one.ver = made.stamp;
                kept.push(one);
            } else {
                held.push(one.held());
                overtaken.push(one.pending);
            }
        }
        if !held.is_empty() {
            self.give_back(remote, held, Duration::ZERO);
        }
        (kept, overtaken)
    }
}
