//! What a node does before it relies on Redis again: it delivers what it had deferred, and after an outage that all nodes
//! saw it waits until everybody has.

use crate::clock::Moment;
use crate::coherence::Stamped;
use crate::engine::Engine;
use crate::remote::Remote;
use crate::simulation::{Mutant, is};
use crate::store::{
    BarrierReply, BarrierRequest, EntryName, HeartbeatReply, InvalidateReply, InvalidateRequest, Link,
    StoreError, StoreErrorKind,
};
use std::sync::Arc;
use std::time::Duration;

/// Between two looks at whether the others have delivered.
const PAUSE: Duration = Duration::from_millis(25);

/// Delivers the journal, in its order. It is empty for a moment when this returns.
pub(crate) async fn deliver(remote: &Arc<Remote>, link: &Arc<dyn Link>) -> Result<(), StoreError> {
    loop {
        let oldest = remote.oldest_deferred();
        if oldest.is_empty() || is(Mutant::JournalLost) {
            return Ok(());
        }
        let scopes: Vec<_> = oldest.iter().flat_map(|(_, covered)| &covered.scopes).copied().collect();
        let keys: Vec<_> = oldest
            .iter()
            .flat_map(|(_, covered)| &covered.keys)
            .map(|(tenant, key, scope)| (EntryName { tenant, key: key.as_str() }, *scope))
            .collect();
        let globs: Vec<_> = oldest.iter().flat_map(|(_, covered)| &covered.globs).cloned().collect();
        let what = InvalidateRequest { scopes: &scopes, keys: &keys, globs: &globs, ack: None };
        let reply = link.invalidate(what, crate::invalidate::ATTEMPT).await;
        remote.note(link, &reply);
        match reply? {
            InvalidateReply::Done { epoch, stamp, .. } => {
                let at = Stamped { epoch, stamp };
                if !oldest.iter().all(|(id, _)| remote.delivered(link, *id, at)) {
                    return Err(StoreError::new(StoreErrorKind::Changed, "another epoch has begun"));
                }
            }
            InvalidateReply::Recover => return Err(gone()),
        }
    }
}

/// Settles an outage: waits until every node that was there when it began has delivered what it had deferred. A node
/// that does not come back in time (two leases from `began`) is given up, with all that Redis holds.
pub(crate) async fn settle(
    engine: &Engine,
    remote: &Arc<Remote>,
    link: &Arc<dyn Link>,
    outage: u64,
    began: Moment,
) -> Result<(), StoreError> {
    let (mut heard, lease) = (engine.now(), engine.options.lease);
    let lease_us = u64::try_from(lease.as_micros()).unwrap_or(u64::MAX);
    if is(Mutant::NoBarrier) {
        return Ok(());
    }
    let nodes = remote.nodes_since(outage.saturating_sub(lease_us.saturating_mul(2)));
    loop {
        // Whoever waits is heard, and stays registered: else the next to come takes the wait for another outage.
        if engine.now().since(heard) >= lease / 4 {
            heard = engine.now();
            match link.heartbeat(lease, false, lease).await? {
                HeartbeatReply::Alive { outage: now, .. } if now == Some(outage) => {}
                // Settled, or another has come on top: the caller looks again.
                HeartbeatReply::Alive { .. } => return Ok(()),
                HeartbeatReply::Recover => return Err(gone()),
            }
        }
        // An invalidation that has failed once may still be deferred: this node has not delivered everything.
        if remote.has_unfinished() {
            tokio::time::sleep(PAUSE).await;
            continue;
        }
        deliver(remote, link).await?;
        let evict = engine.now().since(began) > lease * 2;
        let ask = BarrierRequest { outage, nodes: &nodes, evict };
        let reply = link.barrier(ask, lease).await;
        remote.note(link, &reply);
        match reply? {
            BarrierReply::Done => return Ok(()),
            BarrierReply::Bumped => {
                tracing::warn!(
                    target: "larder::redis",
                    "a node that was there before the outage did not come back: a new epoch begins"
                );
                return Ok(());
            }
            BarrierReply::Wait(missing) => {
                tracing::debug!(target: "larder::redis", ?missing, "waiting for other nodes to deliver");
                tokio::time::sleep(PAUSE).await;
            }
            BarrierReply::Recover => return Err(gone()),
        }
    }
}

fn gone() -> StoreError {
    StoreError::new(StoreErrorKind::Changed, "the coherence state is gone")
}
