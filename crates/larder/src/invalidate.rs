//! An invalidation: here at once, then in Redis, which tells the other nodes.

use crate::coherence::Stamped;
use crate::engine::Engine;
use crate::error::{Error, ErrorKind};
use crate::l1::KeyRef;
use crate::remote::Remote;
use crate::scope::{Covered, ScopeHash, Selection};
use crate::simulation;
use crate::store::{EntryName, InvalidateReply, InvalidateRequest, Link, StoreError};
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

/// The place of an invalidation in the order of all.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Stamp {
    /// Which history the stamp belongs to.
    pub epoch: u64,
    /// Later invalidations have higher stamps.
    pub stamp: u64,
}

impl From<Stamped> for Stamp {
    fn from(at: Stamped) -> Self {
        Self { epoch: at.epoch, stamp: at.stamp }
    }
}

/// How long one attempt may take; it is repeated until [`Engine::defer_after`].
const ATTEMPT: Duration = Duration::from_millis(500);

impl Engine {
    /// Invalidates. From its return on, this node serves nothing of before, also where the result is `Deferred`.
    pub(crate) async fn invalidate(
        self: &Arc<Self>,
        tenant: Option<&str>,
        selection: Selection,
    ) -> Result<Stamp, Error> {
        self.check_open()?;
        let covered = Covered::of(tenant, selection)?;
        self.stats.invalidations.fetch_add(1, Ordering::Relaxed);
        if let Some(tenant) = tenant {
            self.stats.accounts.of(tenant).count_invalidation();
        }
        let result = match &self.remote {
            None => Ok(self.invalidate_alone(&covered)),
            Some(remote) => {
                // In a task of its own: a caller that goes away half-way leaves no block behind.
                let (engine, remote) = (Arc::clone(self), Arc::clone(remote));
                let blocked = Blocked::new(self, &covered);
                let work = async move { engine.invalidate_shared(&remote, blocked, covered).await };
                self.tasks
                    .spawn(simulation::task(work))
                    .await
                    .unwrap_or_else(|_| Err(crate::lookup::closed()))
            }
        };
        self.prune_if_full();
        result
    }

    fn invalidate_alone(&self, covered: &Covered) -> Stamp {
        let scopes = covered.all();
        let at = self.mirror.stamp_alone(&scopes);
        self.drop_entries(covered);
        self.flights.detach(&scopes);
        tell(covered);
        at.into()
    }

    async fn invalidate_shared(
        &self,
        remote: &Arc<Remote>,
        blocked: Blocked,
        covered: Covered,
    ) -> Result<Stamp, Error> {
        self.drop_entries(&covered);
        self.flights.detach(&blocked.scopes);
        let started = self.now();
        // Deferring sooner than others can notice the silence would hide it from them; a silence that has lasted long
        // enough need not be waited for again.
        let patience = self.defer_after().saturating_sub(remote.silence());
        loop {
            let left = patience.saturating_sub(self.now().since(started));
            let done = attempt(remote, &covered, left.clamp(Duration::from_millis(1), ATTEMPT)).await;
            // A reply of a history that this node has left does not count: it is done again in the one that it follows.
            if let Some((link, at)) = done
                && remote.settle(&link, &blocked.scopes, at)
            {
                self.flights.detach(&blocked.scopes);
                tell(&covered);
                return Ok(at.into());
            }
            let left = patience.saturating_sub(self.now().since(started));
            if left.is_zero() {
                break;
            }
            let pause = Duration::from_millis(25).min(left);
            let mut state = remote.state.subscribe();
            let _ = tokio::time::timeout(pause, state.changed()).await;
        }
        let scopes = blocked.defer(remote);
        self.flights.detach(&scopes);
        self.stats.deferred.fetch_add(1, Ordering::Relaxed);
        let why = "Redis is out of reach: the invalidation is in force on this node and is delivered when Redis is back";
        Err(Error::new(ErrorKind::Deferred, why))
    }

    /// How long an invalidation is tried before it is deferred: longer than a lease, so that an outage that all nodes
    /// see is marked in Redis before anybody relies on Redis again.
    fn defer_after(&self) -> Duration {
        self.options.lease.mul_f64(1.5)
    }

    fn drop_entries(&self, covered: &Covered) {
        for (tenant, key, _) in &covered.keys {
            self.l1.remove(KeyRef { tenant, key });
        }
    }
}

fn tell(covered: &Covered) {
    let first = covered.keys.first().map(|(tenant, key, _)| KeyRef { tenant, key });
    crate::log::invalidated(covered.scopes.len(), covered.keys.len(), first);
}

/// One attempt to tell Redis.
async fn attempt(
    remote: &Arc<Remote>,
    covered: &Covered,
    within: Duration,
) -> Option<(Arc<dyn Link>, Stamped)> {
    let link = remote.link()?;
    let keys: Vec<(EntryName<'_>, ScopeHash)> = covered
        .keys
        .iter()
        .map(|(tenant, key, scope)| (EntryName { tenant, key: key.as_str() }, *scope))
        .collect();
    let what = InvalidateRequest { scopes: &covered.scopes, keys: &keys };
    let reply: Result<InvalidateReply, StoreError> = link.invalidate(what, within).await;
    remote.note(&link, &reply);
    match reply {
        Ok(InvalidateReply::Done { epoch, stamp }) => Some((link, Stamped { epoch, stamp })),
        Ok(InvalidateReply::Recover) => {
            remote.lose_link(&link, "the coherence state is gone");
            None
        }
        Err(_) => None,
    }
}

/// Scopes that this node serves nothing of, until settled or made good. If neither happens (the task was dropped on
/// shutdown) the block stays: safe, and the process is about to end.
struct Blocked {
    engine: Arc<Engine>,
    scopes: Vec<ScopeHash>,
}

impl Blocked {
    fn new(engine: &Arc<Engine>, covered: &Covered) -> Self {
        let scopes = covered.all();
        engine.mirror.block(&scopes);
        Self { engine: Arc::clone(engine), scopes }
    }

    fn defer(self, remote: &Remote) -> Vec<ScopeHash> {
        // Raises the change counter once more: what was loaded while we tried is not kept either.
        self.engine.mirror.block(&self.scopes);
        self.engine.mirror.unblock(&self.scopes);
        remote.defer(self.scopes.clone());
        self.scopes
    }
}
