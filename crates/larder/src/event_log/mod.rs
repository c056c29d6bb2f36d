//! The tenants' event logs: each tenant's events in one order, numbered, for all nodes.
//!
//! | file | holds |
//! | --- | --- |
//! | `position` | a place in a log |
//! | `logged` | an event in it, encoded once |
//! | `queue` | events on their way, in the order of their publication |
//! | `ring`, `keys`, `topic`, `topics` | what this node knows of a log: its last events, where it ends |
//! | `watch`, `follow` | those who listen: to one tenant without a gap, to all |
//! | `logs` | all of it together |
//! | `bus` | the way to and from Redis |
//! | `presence` | who is in a room |
//! | `claims` | names that are taken once |

mod bus;
mod claims;
mod follow;
mod keys;
mod logged;
mod logs;
mod position;
mod presence;
mod queue;
mod ring;
mod signals;
#[cfg(test)]
mod tests;
mod topic;
mod topics;
mod watch;

use crate::buckets::Buckets;
use crate::error::{Error, ErrorKind};
use crate::event::Event;
use crate::limits::{MAX_REPLAY_BYTES, MAX_REPLAY_EVENTS, MAX_SIGNAL_BYTES, MAX_TENANT_BYTES};
use crate::simulation::{Mutant, is};
use crate::store::log::{LogReadReply, LogReadRequest};
use bytes::Bytes;
use std::fmt;
use std::sync::Arc;
use tokio::sync::oneshot;

pub use follow::{Follow, FollowNext};
pub use logged::LoggedEvent;
pub(crate) use logs::{Destination, Ends, Logs, Place, closed};
pub use position::{InvalidPosition, Position};
pub use presence::{Member, Members, Presence};
pub(crate) use queue::Item;
pub use topic::Gap;
pub use watch::{Watch, WatchNext};

/// The tenants' event logs, from [`Cache::event_log`](crate::Cache::event_log). Cheap to clone.
///
/// Each tenant has one log, in which its events stand in one order and are numbered. It holds what
/// [`Tenant::publish`](crate::Tenant::publish) has published, and what was [appended](EventLog::append). An event enters it
/// when what it invalidates is dropped on all nodes, so whoever sees the event reads the new value, on any node.
///
/// Without Redis the logs are in this process's memory. With Redis they are there, and the nodes are told. While Redis is
/// out of reach events wait, and follow in their order when it is back. Where events were lost, or may have been (Redis
/// lost its data, too many waited), the log begins a new epoch, and everybody who follows it is told.
///
/// Tenants' names have 1 to 128 bytes; the empty one stands for shared data.
#[derive(Clone)]
pub struct EventLog {
    buckets: Arc<Buckets>,
    pub(crate) logs: Arc<Logs>,
}

/// What [`EventLog::after`] brings.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub enum Replay {
    /// The events after the place asked for, without a gap.
    Events {
        /// The events.
        events: Vec<Arc<LoggedEvent>>,
        /// Where the log ended just now.
        head: Position,
        /// Whether there are more than were asked for.
        more: bool,
    },
    /// They can't be had any more: start anew, from `head`.
    Unrecoverable {
        /// Where the log ended just now.
        head: Position,
        /// Why.
        gap: Gap,
    },
}

impl EventLog {
    pub(crate) fn new(buckets: Arc<Buckets>) -> Self {
        let logs = Arc::clone(&buckets.first().logs);
        Self { buckets, logs }
    }

    fn destination(&self, tenant: &str) -> Result<Destination, Error> {
        if tenant.len() > MAX_TENANT_BYTES {
            let why = format!("a tenant's name has 1 to {MAX_TENANT_BYTES} bytes, not {}", tenant.len());
            return Err(Error::new(ErrorKind::InvalidTenant, why));
        }
        self.logs.check_open()?;
        let bucket = usize::from(self.buckets.home(tenant).any().mirror.bucket);
        Ok(Destination { tenant: tenant.into(), bucket })
    }

    /// Puts an event into the tenant's log, behind all that was published or appended on this node before the first poll.
    /// Nothing is invalidated, and subscribers of this process are not told: it is for what is no change of data, such as a
    /// message. Returns its place; that of the first, if its [key](Event::idempotency_key) was used before.
    ///
    /// Waits for Redis, where it is out of reach.
    ///
    /// # Errors
    /// `InvalidRequest` if it is too large, or says what to invalidate; `InvalidTenant`; `Unavailable` if too many wait, or
    /// were dropped for that; `Closed`.
    ///
    /// # Cancel safety
    /// Once it has been polled, it is carried through also where the future is dropped.
    pub async fn append(&self, tenant: &str, event: Event) -> Result<Position, Error> {
        let to = self.destination(tenant)?;
        if !event.invalidates.is_empty() {
            let why = "an event that invalidates something is published, not appended";
            return Err(Error::new(ErrorKind::InvalidRequest, why));
        }
        let (done, outcome) = oneshot::channel();
        let item = self.logs.item(&event)?.told_to(Some(done));
        self.logs.join_ready(&to, item)?;
        outcome.await.unwrap_or_else(|_| Err(closed()))
    }

    /// Where the tenant's log ends.
    ///
    /// # Errors
    /// `Unavailable` if Redis has it and is not in reach; `InvalidTenant`, `Closed`.
    ///
    /// # Cancel safety
    /// Nothing happens if it is dropped.
    pub async fn head(&self, tenant: &str) -> Result<Position, Error> {
        let topic = self.logs.topic(&self.destination(tenant)?).await?;
        let state = topic.lock();
        if state.is_behind() { Err(unavailable()) } else { Ok(state.position()) }
    }

    /// What came after a place: `max_events` (at most 1,000) and `max_bytes` of JSON (at most 4 MiB) of it, but one event in
    /// any case. As a rule it is in this node's memory.
    ///
    /// # Errors
    /// As [`EventLog::head`].
    ///
    /// # Cancel safety
    /// Nothing happens if it is dropped.
    pub async fn after(
        &self,
        tenant: &str,
        from: &Position,
        max_events: usize,
        max_bytes: usize,
    ) -> Result<Replay, Error> {
        let to = self.destination(tenant)?;
        let (max_events, max_bytes) =
            (max_events.clamp(1, MAX_REPLAY_EVENTS), max_bytes.min(MAX_REPLAY_BYTES));
        if let Some(replay) = self.remembered(&to, from, max_events, max_bytes)? {
            return Ok(replay);
        }
        // After a node's death thousands come back at once: one of them reads what all of them need.
        let topic = self.logs.topics.get(tenant);
        let _alone = match &topic {
            Some(topic) => tokio::time::timeout(bus::ATTEMPT, topic.filling.lock()).await.ok(),
            None => None,
        };
        if let Some(replay) = self.remembered(&to, from, max_events, max_bytes)? {
            return Ok(replay);
        }
        match (self.read(&to, from).await?, &topic) {
            (Replay::Events { events, head, more }, Some(topic)) => {
                topic.fill(&events);
                let remembered = self.remembered(&to, from, max_events, max_bytes)?;
                Ok(remembered.unwrap_or_else(|| cut(events, head, more, max_events, max_bytes)))
            }
            (Replay::Events { events, head, more }, None) => {
                Ok(cut(events, head, more, max_events, max_bytes))
            }
            (lost, _) => Ok(lost),
        }
    }

    /// From Redis, as much as one call gives.
    async fn read(&self, to: &Destination, from: &Position) -> Result<Replay, Error> {
        let Some(bus) = &self.logs.bus else { return Err(unavailable()) };
        bus.start(&self.logs)?;
        let link = bus.linked_soon(to.bucket).await.ok_or_else(unavailable)?;
        let new_epoch = self.logs.names.next();
        let what = LogReadRequest {
            tenant: &to.tenant,
            after: (&from.epoch, from.offset),
            new_epoch: &new_epoch,
            max_events: MAX_REPLAY_EVENTS,
            max_bytes: MAX_REPLAY_BYTES,
        };
        let reply = link.read(what, bus::ATTEMPT).await;
        bus.note(to.bucket, &link, &reply, &mut 0);
        match reply {
            Ok(LogReadReply::Log { epoch, head, events }) => {
                Ok(replay(&to.tenant, from, &Position::new(epoch, head), events))
            }
            _ => Err(unavailable()),
        }
    }

    /// From memory. `None`: Redis has to be asked.
    fn remembered(
        &self,
        to: &Destination,
        from: &Position,
        max_events: usize,
        max_bytes: usize,
    ) -> Result<Option<Replay>, Error> {
        let topic = match &self.logs.bus {
            None => Some(self.logs.topic_here(to)?),
            Some(_) => self.logs.topics.get(&to.tenant),
        };
        let Some(topic) = topic else { return Ok(None) };
        let state = topic.lock();
        let head = state.position();
        if *state.epoch() == from.epoch && state.ring().covers(from.offset) && !state.is_behind() {
            let events = state.ring().since(from.offset);
            let events: Vec<Arc<LoggedEvent>> =
                within(events, max_events, max_bytes).map(Arc::clone).collect();
            let more = events.last().map_or(from.offset, |last| last.position().offset) < head.offset;
            return Ok(Some(Replay::Events { events, head, more }));
        }
        let gap =
            if *state.epoch() == from.epoch && from.offset <= head.offset { Gap::Window } else { Gap::Epoch };
        // What Redis has, it is asked for: this node may be behind.
        Ok(self.logs.bus.is_none().then_some(Replay::Unrecoverable { head, gap }))
    }

    /// Tells those who [watch](EventLog::watch) a tenant, on all nodes, something that has no place in the log: in no order
    /// with the events, and lost where somebody does not listen, is slow, or where Redis is out of reach.
    ///
    /// # Errors
    /// `Unavailable`: only this node's watchers were told. `InvalidRequest` beyond 64 KiB; `InvalidTenant`, `Closed`.
    ///
    /// # Cancel safety
    /// If it is dropped, the message may or may not be on its way.
    pub async fn signal(&self, tenant: &str, message: Bytes) -> Result<(), Error> {
        let to = self.destination(tenant)?;
        if message.len() > MAX_SIGNAL_BYTES {
            let why = format!("the message has {} bytes: at most {MAX_SIGNAL_BYTES}", message.len());
            return Err(Error::new(ErrorKind::InvalidRequest, why));
        }
        let Some(bus) = &self.logs.bus else {
            self.logs.signal_here(tenant, message);
            return Ok(());
        };
        bus.start(&self.logs)?;
        if let Some(link) = bus.linked_soon(to.bucket).await {
            let reply = link.signal(tenant, &message, bus::ATTEMPT).await;
            bus.note(to.bucket, &link, &reply, &mut 0);
            if reply.is_ok() {
                return Ok(());
            }
        }
        self.logs.signal_here(tenant, message);
        Err(unavailable())
    }

    /// Follows a tenant's log from where it ends now, without a gap. Where Redis is out of reach it begins at an
    /// [unknown](Position::unknown) place after half a second, and is reset when Redis is back.
    ///
    /// # Errors
    /// `InvalidTenant`, `Closed`; `Unavailable` if this node follows 65,536 tenants already.
    ///
    /// # Cancel safety
    /// Nothing happens if it is dropped.
    pub async fn watch(&self, tenant: &str) -> Result<Watch, Error> {
        let topic = self.logs.topic(&self.destination(tenant)?).await?;
        let watch = Watch::new(Arc::clone(&topic), self.logs.ends.ending.clone());
        if let Some(bus) = &self.logs.bus {
            // Nobody has read on for it if something came just before it was there.
            bus.catch_up(&self.logs, &topic)?;
        }
        Ok(watch)
    }

    /// The events of all tenants, of all nodes, of kinds that match `pattern` (`campaign.*`; `*` stands for anything), from
    /// now on. Unlike a [watch](EventLog::watch) it recovers nothing: what is missed is told as such.
    ///
    /// # Errors
    /// `Closed`.
    pub fn follow(&self, pattern: &str) -> Result<Follow, Error> {
        self.logs.check_open()?;
        let events = self.logs.followers.subscribe();
        if let Some(bus) = &self.logs.bus {
            bus.start(&self.logs)?;
        }
        Ok(Follow { events, pattern: (pattern != "*").then(|| pattern.into()) })
    }
}

/// As many as were asked for; the first in any case.
fn within<'a>(
    events: impl Iterator<Item = &'a Arc<LoggedEvent>>,
    max_events: usize,
    max_bytes: usize,
) -> impl Iterator<Item = &'a Arc<LoggedEvent>> {
    let mut bytes = 0;
    let fits = move |(place, event): &(usize, &Arc<LoggedEvent>)| {
        bytes += event.json().len();
        *place == 0 || *place < max_events && bytes <= max_bytes
    };
    events.enumerate().take_while(fits).map(|(_, event)| event)
}

/// The same of what was read.
fn cut(
    mut events: Vec<Arc<LoggedEvent>>,
    head: Position,
    more: bool,
    max_events: usize,
    max_bytes: usize,
) -> Replay {
    let wanted = within(events.iter(), max_events, max_bytes).count();
    let more = more || wanted < events.len();
    events.truncate(wanted);
    Replay::Events { events, head, more }
}

/// What Redis has told.
fn replay(tenant: &Arc<str>, from: &Position, head: &Position, events: Vec<(u64, Bytes)>) -> Replay {
    let lost = |gap| Replay::Unrecoverable { head: head.clone(), gap };
    if head.epoch != from.epoch || from.offset > head.offset {
        return lost(Gap::Epoch);
    }
    let mut found = Vec::with_capacity(events.len());
    for (place, (offset, json)) in (from.offset + 1..).zip(events) {
        match LoggedEvent::read(tenant, &head.epoch, offset, json) {
            Some(event) if offset == place || is(Mutant::ReplayedWithHoles) => found.push(Arc::new(event)),
            _ => return lost(Gap::Window),
        }
    }
    let reached = from.offset + found.len() as u64;
    if found.is_empty() && reached < head.offset {
        return lost(Gap::Window);
    }
    Replay::Events { more: reached < head.offset, events: found, head: head.clone() }
}

fn unavailable() -> Error {
    Error::new(ErrorKind::Unavailable, "the event log is in Redis, which is not in reach")
}

impl fmt::Debug for EventLog {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("EventLog").finish_non_exhaustive()
    }
}
