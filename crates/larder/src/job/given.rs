//! Values that nobody loads, because their caller brought them: as old as the call, not as the lease under which they are
//! stored.

use super::{Granted, Job, Pending};
use crate::coherence::{Made, Stamped};
use crate::remote::Remote;
use crate::simulation::{Mutant, is};
use crate::value::Value;
use std::sync::Arc;
use std::time::Duration;

impl<T: Value> Job<T> {
    /// Who joins the flight of a value that was brought gets what is as old as the call that brought it.
    pub(super) fn count_from_the_call(&self, pending: &mut [Pending<T>]) {
        let made = self.loader.made_at().filter(|_| !is(Mutant::GivenAsOfItsFlight));
        if let Some(made) = made {
            pending.iter_mut().for_each(|one| one.change = made.watch.change);
        }
    }

    /// Leases under which a value that was brought may be stored as if it had been loaded under them; the others are given
    /// back, and what they are for is kept nowhere.
    pub(super) async fn undisturbed(
        &mut self,
        remote: &Arc<Remote>,
        granted: Vec<Granted<T>>,
        made: Made,
    ) -> Vec<Granted<T>> {
        let (mut kept, mut overtaken, mut held) = (Vec::new(), Vec::new(), Vec::new());
        for mut one in granted {
            let leased = Stamped { epoch: one.epoch, stamp: one.ver };
            if self.is_undisturbed(&mut one.pending, made, leased).await {
                kept.push(one);
            } else {
                held.push(one.held());
                overtaken.push(one.pending);
            }
        }
        if !held.is_empty() {
            self.give_back(remote, held, Duration::ZERO);
        }
        if !overtaken.is_empty() {
            self.give_way(overtaken).await;
        }
        kept
    }

    /// The same where memory alone is to keep it.
    pub(super) async fn undisturbed_here(&mut self, pending: Vec<Pending<T>>, made: Made) -> Vec<Pending<T>> {
        let (mut kept, mut overtaken) = (Vec::new(), Vec::new());
        for mut one in pending {
            let fine = self.is_undisturbed(&mut one, made, made.own).await;
            if fine { &mut kept } else { &mut overtaken }.push(one);
        }
        if !overtaken.is_empty() {
            self.give_way(overtaken).await;
        }
        kept
    }

    /// Whether nothing has happened to it up to there. That is known when everything up to there has arrived here; if it
    /// does not arrive in time, the value is not kept.
    async fn is_undisturbed(&mut self, one: &mut Pending<T>, made: Made, upto: Stamped) -> bool {
        let mirror = &self.engine.mirror;
        if !is(Mutant::GivenUnawaited) {
            let _ = tokio::time::timeout(self.budget, mirror.applied(upto)).await;
        }
        let undisturbed = mirror.undisturbed(&made, upto, &one.scopes, &one.key.key);
        if let Some(change) = undisturbed {
            one.change = change;
        }
        undisturbed.is_some()
    }

    /// The value is handed to those who wait for it, and kept nowhere: it was overtaken, or somebody else has begun to load
    /// since, and what that brings is what all nodes will have.
    pub(super) async fn give_way(&mut self, mut pending: Vec<Pending<T>>) {
        pending.iter_mut().for_each(|one| one.fence = None);
        let loaded = self.load(pending.iter()).await;
        self.land_loaded(pending, loaded, None, 0);
    }
}
