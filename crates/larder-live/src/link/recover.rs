//! Giving a connection what it has missed.
//!
//! A connection joins at a place of the log: from there on events come to it, but its queue holds them back. What lies between
//! the client's cursor and that place is read from the log, checked to be without a gap, filtered by the rooms in which the
//! connection began, and goes before what is held. So an event is neither missed nor told twice, whatever happens meanwhile.

use std::sync::Arc;

use larder::{EventLog, LoggedEvent, Replay};

use super::{Link, Outcome, Pos};
use crate::hub::reason;
use crate::limits::{RECOVERY_BYTES, RECOVERY_EVENTS};
use crate::protocol::{CloseCode, ErrorCode, Frame, Place, Reset};

/// What is to be done for a cursor.
#[derive(Debug)]
enum Found {
    /// These were missed; all up to here is told then.
    Missed(Vec<Arc<LoggedEvent>>, Place),
    /// It can't be made good.
    Lost(Reset),
}

impl Link {
    /// Begins; `joined` is the place after which events come by themselves.
    pub(super) fn recover(&mut self, joined: Place, rooms: Vec<String>) {
        let from = match self.opening.pos.take() {
            None => return self.queue.start(Vec::new(), Frame::synced(&joined, 0)),
            Some(Pos::At(place)) if place == joined => {
                return self.queue.start(Vec::new(), Frame::synced(&joined, 0));
            }
            Some(Pos::Nowhere) => return self.lost(Reset::Epoch, &joined),
            Some(Pos::At(place)) => place,
        };
        if from.epoch() != joined.epoch() {
            return self.lost(Reset::Epoch, &joined);
        }
        let (log, tenant) = (self.shared.log.clone(), self.opening.tenant.clone());
        let (queue, shared) = (Arc::clone(&self.queue), Arc::clone(&self.shared));
        self.begin(Box::pin(async move {
            match find(&log, &tenant, &from, &joined).await {
                Ok(Found::Missed(mut events, upto)) => {
                    events.retain(|event| rooms.iter().any(|room| room == event.room()));
                    shared.metrics.replayed(events.len());
                    let synced = Frame::synced(&upto, events.len());
                    queue.start(events, synced);
                }
                Ok(Found::Lost(why)) => {
                    shared.metrics.reset(why, 1);
                    queue.start(Vec::new(), Frame::reset(why, &joined));
                }
                Err(error) => {
                    tracing::warn!(tenant, %error, "missed events can't be read");
                    queue.push_now(Frame::error(
                        None,
                        ErrorCode::NotAvailable,
                        "the event log is not available",
                    ));
                    queue.close(CloseCode::ServerError);
                }
            }
            Outcome::Done
        }));
    }

    fn lost(&self, why: Reset, joined: &Place) {
        self.shared.metrics.reset(why, 1);
        self.queue.start(Vec::new(), Frame::reset(why, joined));
    }
}

/// The events after `from` up to `joined`.
async fn find(log: &EventLog, tenant: &str, from: &Place, joined: &Place) -> Result<Found, larder::Error> {
    let missing = joined.offset().saturating_sub(from.offset());
    if missing > RECOVERY_EVENTS as u64 {
        return Ok(Found::Lost(Reset::Limit));
    }
    let (events, more) = match log.after(tenant, from, RECOVERY_EVENTS, RECOVERY_BYTES).await? {
        Replay::Events { events, head, more } => {
            if head.epoch() != joined.epoch() {
                return Ok(Found::Lost(Reset::Epoch));
            }
            (events, more)
        }
        Replay::Unrecoverable { gap, .. } => return Ok(Found::Lost(reason(gap))),
        _ => return Ok(Found::Lost(Reset::Window)),
    };
    Ok(merge(events, more, from, joined))
}

/// Takes what lies before `joined`; what comes after it comes by itself. A client may be ahead of this node, which has not heard
/// yet of what another one has told: then nothing was missed.
fn merge(mut events: Vec<Arc<LoggedEvent>>, more: bool, from: &Place, joined: &Place) -> Found {
    if from.offset() >= joined.offset() {
        return Found::Missed(Vec::new(), from.clone());
    }
    events.retain(|event| event.position().offset() <= joined.offset());
    let contiguous =
        events.iter().zip(from.offset() + 1..).all(|(event, offset)| event.position().offset() == offset);
    let last = events.last().map_or(from.offset(), |event| event.position().offset());
    match () {
        () if contiguous && last == joined.offset() => Found::Missed(events, joined.clone()),
        () if contiguous && more => Found::Lost(Reset::Limit),
        () => Found::Lost(Reset::Window),
    }
}
