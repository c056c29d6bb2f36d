//! The one task of a tenant that has connections here: it follows the tenant's log and tells it to them.

use std::sync::Arc;
use std::time::{Duration, Instant};

use larder::{Gap, Watch, WatchNext};
use tokio::time::MissedTickBehavior;

use super::{Audience, Change, Signal};
use crate::limits::PRESENCE_REFRESH;
use crate::live::Shared;
use crate::protocol::{CloseCode, Frame, Reset};

/// Events that are told before others get their turn on this worker.
const AT_ONCE: usize = 64;

/// Follows the log until nobody has been there for a while, or the cache ends.
pub(crate) async fn follow(shared: Arc<Shared>, audience: Arc<Audience>, mut watch: Watch) {
    let linger = shared.config.linger;
    let mut look = tokio::time::interval(linger.max(Duration::from_millis(1)));
    let mut compare = tokio::time::interval(PRESENCE_REFRESH);
    let mut batch = tokio::time::interval((shared.config.presence_batch / 4).max(Duration::from_millis(1)));
    batch.set_missed_tick_behavior(MissedTickBehavior::Skip);
    // Changes of presence wait to be told.
    let mut later = false;
    loop {
        tokio::select! {
            next = watch.next() => {
                let Some(next) = next else { break };
                later |= take(&shared, &audience, next);
                for _ in 0..AT_ONCE {
                    let Some(next) = watch.try_next() else { break };
                    later |= take(&shared, &audience, next);
                }
                tokio::task::yield_now().await;
            }
            _ = batch.tick(), if later => later = audience.tell_presence(Instant::now()),
            _ = compare.tick() => {
                let rooms = audience.watched_rooms();
                if !rooms.is_empty() {
                    shared.connections.spawn(compare_presence(Arc::clone(&shared), Arc::clone(&audience), rooms));
                }
            }
            _ = look.tick() => {
                let idle = audience.empty_since().is_some_and(|since| since.elapsed() >= linger);
                if idle && shared.hub.retire(&audience) {
                    return;
                }
            }
        }
    }
    // Nothing more will come: the cache has been shut down.
    for conn in audience.everybody() {
        conn.queue.close(CloseCode::ServerError);
    }
    while !shared.hub.retire(&audience) {
        look.tick().await;
    }
}

/// Returns whether there is something to be told later.
fn take(shared: &Shared, audience: &Audience, next: WatchNext) -> bool {
    match next {
        WatchNext::Event(event) => audience.tell(&event),
        WatchNext::Signal(bytes) => match Signal::decode(&bytes) {
            Some(signal) => return obey(shared, audience, signal),
            None => {
                tracing::debug!(tenant = %audience.tenant(), "a signal of another version was passed over")
            }
        },
        WatchNext::Reset { head, gap } => {
            tracing::info!(tenant = %audience.tenant(), %head, why = gap.as_str(), "events are missing: clients begin anew");
            audience.reset(reason(gap), head);
        }
        _ => tracing::warn!("the log brings something of which this version knows nothing"),
    }
    false
}

/// A node that dies tells nobody that its connections have gone: numbers that differ do.
async fn compare_presence(shared: Arc<Shared>, audience: Arc<Audience>, rooms: Vec<Box<str>>) {
    for room in rooms {
        if shared.draining.is_cancelled() {
            return;
        }
        if let Ok(members) = shared.log.members(audience.tenant(), &room, 0).await {
            audience.compare_presence(&room, members.total);
        }
    }
}

pub(crate) fn reason(gap: Gap) -> Reset {
    match gap {
        Gap::Epoch => Reset::Epoch,
        _ => Reset::Window,
    }
}

fn obey(shared: &Shared, audience: &Audience, signal: Signal) -> bool {
    match signal {
        Signal::Message { room, from, data } => {
            audience.tell_room(&room, &Frame::message(&room, &from, &data));
        }
        Signal::Presence { room, user, info, here, total } => {
            let change = Change { user, info, here, total };
            return audience.note_presence(&room, change, shared.config.presence_batch);
        }
        Signal::Kick(whom) => audience.kick(&whom),
        Signal::Command { conn, command } => {
            shared.streams.hand(&conn, command);
        }
    }
    false
}
