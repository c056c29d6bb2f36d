//! Following one tenant's log.

use super::logged::LoggedEvent;
use super::position::Position;
use super::topic::{Gap, Topic};
use crate::simulation::{Mutant, is};
use bytes::Bytes;
use std::fmt;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use tokio_util::sync::CancellationToken;

/// A tenant's log as it grows, from [`EventLog::watch`](crate::EventLog::watch).
///
/// All watches of a tenant share the last events that this node keeps: one costs some hundred bytes, however many events
/// there are.
pub struct Watch {
    topic: Arc<Topic>,
    cursor: Cursor,
    ending: CancellationToken,
}

/// How far a watch is.
struct Cursor {
    /// After the last event that it has brought.
    at: Position,
    resets: u64,
    signal: u64,
}

/// What a [`Watch`] brings.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub enum WatchNext {
    /// The next event: its offset is one more than that of the event before, or than that of the head with which the watch
    /// began or was reset.
    Event(Arc<LoggedEvent>),
    /// A message without a place in the log.
    Signal(Bytes),
    /// Events are missing, or the log has begun a new history. What was seen before is void; the next event is the one
    /// after `head`. Whoever reads the data now sees all that was published up to there.
    Reset {
        /// From where it goes on.
        head: Position,
        /// Why.
        gap: Gap,
    },
}

impl Watch {
    pub(crate) fn new(topic: Arc<Topic>, ending: CancellationToken) -> Self {
        topic.watches.fetch_add(1, Ordering::Relaxed);
        let cursor = {
            let state = topic.lock();
            Cursor { at: state.position(), resets: state.resets, signal: state.signals().next() }
        };
        Self { topic, cursor, ending }
    }

    /// The tenant.
    pub fn tenant(&self) -> &str {
        &self.topic.tenant
    }

    /// Where it is: after the last event that it has brought, or where it began. [Unknown](Position::unknown) as long as
    /// Redis has not been in reach.
    pub fn head(&self) -> Position {
        self.cursor.at.clone()
    }

    /// What comes next; `None` when the cache has been shut down.
    ///
    /// # Cancel safety
    /// Nothing is lost if the future is dropped.
    pub async fn next(&mut self) -> Option<WatchNext> {
        loop {
            let changed = self.topic.changed.notified();
            tokio::pin!(changed);
            changed.as_mut().enable();
            if let Some(next) = self.cursor.look(&self.topic) {
                return Some(next);
            }
            tokio::select! {
                () = changed => {}
                () = self.ending.cancelled() => return None,
            }
        }
    }

    /// What comes next, if it is there already.
    pub fn try_next(&mut self) -> Option<WatchNext> {
        self.cursor.look(&self.topic)
    }
}

impl Cursor {
    fn look(&mut self, topic: &Topic) -> Option<WatchNext> {
        let state = topic.lock();
        let gap = match () {
            () if state.resets != self.resets => Some(state.gap),
            () if !state.ring().covers(self.at.offset) && is(Mutant::SlowUntold) => {
                self.at = Position::new(Arc::clone(state.epoch()), state.ring().oldest());
                None
            }
            () if !state.ring().covers(self.at.offset) => Some(Gap::Slow),
            () => None,
        };
        if let Some(gap) = gap {
            self.resets = state.resets;
            self.at = state.position();
            return Some(WatchNext::Reset { head: self.at.clone(), gap });
        }
        if let Some((message, next)) = state.signals().get(self.signal, self.at.offset) {
            self.signal = next;
            return Some(WatchNext::Signal(message));
        }
        let event = Arc::clone(state.ring().since(self.at.offset).next()?);
        self.at.offset += 1;
        Some(WatchNext::Event(event))
    }
}

impl Drop for Watch {
    fn drop(&mut self) {
        self.topic.watches.fetch_sub(1, Ordering::Relaxed);
    }
}

impl fmt::Debug for Watch {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Watch")
            .field("tenant", &self.tenant())
            .field("head", &self.head())
            .finish_non_exhaustive()
    }
}
