//! What a node does before it relies on Redis again: it delivers what it had deferred, and after an outage that all nodes
//! saw it waits until everybody has.

use crate::coherence::Stamped;
use crate::engine::Engine;
use crate::remote::Remote;
use crate::simulation::{Mutant, is};
use crate::store::{
    BarrierReply, BarrierRequest, EntryName, InvalidateReply, InvalidateRequest, Link, StoreError,
    StoreErrorKind,
};
use std::sync::Arc;
use std::time::Duration;

/// Between two looks at whether the others have delivered.
const PAUSE: Duration = Duration::from_millis(25);

/// Delivers the journal, in its order. It is empty for a moment when this returns.
pub(crate) async fn deliver(remote: &Arc<Remote>, link: &Arc<dyn Link>) -> Result<(), StoreError> {
    while let Some((id, covered)) = remote.first_deferred().filter(|_| !is(Mutant::JournalLost)) {
        let keys: Vec<_> = covered
            .keys
            .iter()
            .map(|(tenant, key, scope)| (EntryName { tenant, key: key.as_str() }, *scope))
            .collect();
        let what =
            InvalidateRequest { scopes: &covered.scopes, keys: &keys, globs: &covered.globs, ack: None };
        let reply = link.invalidate(what, crate::invalidate::ATTEMPT).await;
        remote.note(link, &reply);
        match reply? {
            InvalidateReply::Done { epoch, stamp, .. } => {
                if !remote.delivered(link, id, Stamped { epoch, stamp }) {
                    return Err(StoreError::new(StoreErrorKind::Changed, "another epoch has begun"));
                }
            }
            InvalidateReply::Recover => return Err(gone()),
        }
    }
    Ok(())
}

/// Settles an outage: waits until every node that was there when it began has delivered what it had deferred. A node
/// that does not come back in time is given up, with all that Redis holds.
pub(crate) async fn settle(
    engine: &Engine,
    remote: &Arc<Remote>,
    link: &Arc<dyn Link>,
    outage: u64,
) -> Result<(), StoreError> {
    let (began, lease) = (engine.now(), engine.options.lease);
    let lease_us = u64::try_from(lease.as_micros()).unwrap_or(u64::MAX);
    if is(Mutant::NoBarrier) {
        return Ok(());
    }
    let nodes = remote.nodes_since(outage.saturating_sub(lease_us.saturating_mul(2)));
    loop {
        // An invalidation that has failed once may still be deferred: this node has not delivered everything.
        if remote.has_unfinished() && !is(Mutant::UnfinishedIgnored) {
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
