//! Following the events of all tenants.

use super::logged::LoggedEvent;
use crate::inspect::matches;
use std::sync::Arc;
use tokio::sync::broadcast;

/// What followers are told.
#[derive(Clone, Debug)]
pub(crate) enum Followed {
    Event(Arc<LoggedEvent>),
    Missed,
}

/// The events of all tenants, of all nodes, as they enter the logs; from [`EventLog::follow`](crate::EventLog::follow).
#[derive(Debug)]
pub struct Follow {
    pub(crate) events: broadcast::Receiver<Followed>,
    /// Which kinds; `None`: all.
    pub(crate) pattern: Option<Box<str>>,
}

/// What a [`Follow`] brings.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub enum FollowNext {
    /// An event. Those of one tenant come in their order.
    Event(Arc<LoggedEvent>),
    /// Events were missed: this follower was too slow (the bound is 4,096), or the connection to Redis was lost for a
    /// moment.
    Missed,
}

impl Follow {
    /// The next event; `None` when the cache is gone.
    ///
    /// # Cancel safety
    /// Nothing is lost if the future is dropped.
    pub async fn next(&mut self) -> Option<FollowNext> {
        loop {
            match self.events.recv().await {
                Ok(Followed::Event(event)) if self.wants(&event) => return Some(FollowNext::Event(event)),
                Ok(Followed::Event(_)) => {}
                Ok(Followed::Missed) | Err(broadcast::error::RecvError::Lagged(_)) => {
                    return Some(FollowNext::Missed);
                }
                Err(broadcast::error::RecvError::Closed) => return None,
            }
        }
    }

    fn wants(&self, event: &LoggedEvent) -> bool {
        self.pattern.as_deref().is_none_or(|pattern| matches(pattern, event.kind()))
    }
}
