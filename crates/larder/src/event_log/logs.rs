//! The event logs of all tenants, as one node keeps or follows them.

use super::bus::Bus;
use super::claims::Claims;
use super::follow::Followed;
use super::logged::{LoggedEvent, encode};
use super::position::{Names, Position};
use super::presence::Register;
use super::queue::{Batch, Item, Queue};
use super::topic::{Gap, Topic};
use super::topics::{Kept, Topics};
use crate::clock::{Clock, Moment};
use crate::closing::Closing;
use crate::error::{Error, ErrorKind};
use crate::event::Event;
use crate::limits::EVENT_BACKLOG;
use crate::remote::Remote;
use crate::stats::StatsSnapshot;
use bytes::Bytes;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, SystemTime};
use tokio::sync::broadcast;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

/// How the cache ends: what is under way, what serves it, and when either is to stop.
#[derive(Clone, Default)]
pub(crate) struct Ends {
    pub(crate) tasks: TaskTracker,
    pub(crate) closing: Closing,
    pub(crate) background: TaskTracker,
    pub(crate) ending: CancellationToken,
}

/// The event logs of all tenants.
pub(crate) struct Logs {
    pub(crate) clock: Arc<dyn Clock>,
    pub(crate) topics: Topics,
    pub(crate) queue: Queue,
    pub(crate) names: Names,
    pub(crate) ends: Ends,
    pub(crate) counts: Counts,
    pub(crate) present: Register,
    pub(crate) claims: Claims,
    pub(crate) followers: broadcast::Sender<Followed>,
    /// Where they are, if that is not here.
    pub(crate) bus: Option<Bus>,
}

/// What happened.
#[derive(Default)]
pub(crate) struct Counts {
    pub(crate) appended: AtomicU64,
    pub(crate) resets: AtomicU64,
    pub(crate) reconnects: AtomicU64,
    pub(crate) missed: AtomicU64,
}

/// Where an event goes, and how it is named.
pub(crate) struct Destination {
    pub(crate) tenant: Arc<str>,
    pub(crate) bucket: usize,
}

impl Logs {
    pub(crate) fn new(clock: Arc<dyn Clock>, remote: Option<&Arc<Remote>>, ends: Ends) -> Arc<Self> {
        let keeps = remote.filter(|remote| remote.connector.keeps_logs());
        Arc::new(Self {
            clock,
            topics: Topics::default(),
            queue: Queue::default(),
            names: Names::default(),
            ends,
            counts: Counts::default(),
            present: Register::default(),
            claims: Claims::default(),
            followers: broadcast::channel(EVENT_BACKLOG).0,
            bus: keeps.map(|remote| Bus::new(Arc::clone(&remote.connector), remote.node.clone())),
        })
    }

    pub(crate) fn now(&self) -> Moment {
        self.clock.now()
    }

    pub(crate) fn check_open(&self) -> Result<(), Error> {
        if self.ends.closing.is_cancelled() {
            return Err(closed());
        }
        Ok(())
    }

    /// An event on its way.
    ///
    /// # Errors
    /// [`ErrorKind::InvalidRequest`]: it can't stand in a log.
    pub(crate) fn item(&self, event: &Event) -> Result<Item, Error> {
        let id = event.key.as_deref().map_or_else(|| self.names.next(), Arc::from);
        let json = encode(event, &id, now_ms())?;
        Ok(Item { json, id, keyed: event.key.is_some(), done: None, alive: None })
    }

    /// A place in the tenant's line. The event enters the log when it is [ready](Place::ready).
    pub(crate) fn join(self: &Arc<Self>, to: Destination, item: Item) -> Place {
        let number = self.queue.join(&to.tenant, item);
        Place { logs: Arc::clone(self), to, number, left: false }
    }

    /// Ends some time after the cache has begun to end: what has not entered a log by then will not.
    pub(crate) async fn gives_up(&self) {
        self.ends.closing.cancelled().await;
        tokio::time::sleep(LAST_ATTEMPTS).await;
    }

    /// An event without an invalidation, in the same line.
    ///
    /// # Errors
    /// [`ErrorKind::Unavailable`] if too many wait.
    pub(crate) fn join_ready(self: &Arc<Self>, to: &Destination, item: Item) -> Result<(), Error> {
        self.queue.join_ready(&to.tenant, item)?;
        self.flow(to);
        Ok(())
    }

    /// Has what may enter the log do so.
    fn flow(self: &Arc<Self>, to: &Destination) {
        if self.queue.begin_taking(&to.tenant) {
            match &self.bus {
                None => self.enter_here(to),
                Some(bus) => bus.pump(self, to),
            }
        }
    }

    fn enter_here(&self, to: &Destination) {
        while let Some(batch) = self.queue.take(&to.tenant) {
            match self.topic_here(to) {
                Ok(topic) => self.append_here(&topic, batch),
                Err(error) => batch.finish(&error),
            }
        }
        self.topics.sweep(Kept::Here, self.now());
    }

    fn append_here(&self, topic: &Topic, batch: Batch) {
        let now = self.now();
        let mut added = 0;
        let mut outcomes = Vec::with_capacity(batch.items.len());
        {
            let mut state = topic.lock();
            if batch.renew {
                self.counts.resets.fetch_add(1, Ordering::Relaxed);
                state.renew(Position::new(self.names.next(), 0), Gap::Epoch);
            }
            state.touched = now;
            for item in batch.items {
                let known = if item.keyed { state.keys.get(&item.id, now) } else { None };
                let at = known.unwrap_or_else(|| {
                    added += 1;
                    let event = state.append(&topic.tenant, item.json.clone());
                    let at = event.position().clone();
                    self.tell_followers(&event);
                    if item.keyed {
                        state.keys.insert(&item.id, at.clone(), now);
                    }
                    at
                });
                outcomes.push((item, at));
            }
        }
        self.counts.appended.fetch_add(added, Ordering::Relaxed);
        topic.changed.notify_waiters();
        drop(batch.counted);
        for (item, at) in outcomes {
            item.finish(Ok(at));
        }
    }

    pub(crate) fn tell_followers(&self, event: &Arc<LoggedEvent>) {
        if self.followers.receiver_count() > 0 {
            // Whoever followed may just have gone.
            let _ = self.followers.send(Followed::Event(Arc::clone(event)));
        }
    }

    /// The tenant's topic, where the log is here.
    pub(crate) fn topic_here(&self, to: &Destination) -> Result<Arc<Topic>, Error> {
        self.topics.of(&to.tenant, to.bucket, self.now(), || Position::new(self.names.next(), 0))
    }

    /// The tenant's topic. Where the log is in Redis it is known how far it goes, unless Redis is out of reach.
    pub(crate) async fn topic(self: &Arc<Self>, to: &Destination) -> Result<Arc<Topic>, Error> {
        self.check_open()?;
        match &self.bus {
            None => self.topic_here(to),
            Some(bus) => {
                let topic = self.topics.of(&to.tenant, to.bucket, self.now(), Position::unknown)?;
                bus.start(self)?;
                bus.tried(to.bucket).await;
                bus.catch_up(self, &topic)?;
                topic.caught_up(PATIENCE).await;
                Ok(topic)
            }
        }
    }

    /// Adds what is known to the statistics.
    pub(crate) fn add_to(&self, stats: &mut StatsSnapshot) {
        let events = &mut stats.events;
        events.appended = self.counts.appended.load(Ordering::Relaxed);
        events.waiting = self.queue.len() as u64;
        events.overflows = self.queue.overflows.load(Ordering::Relaxed);
        events.resets = self.counts.resets.load(Ordering::Relaxed);
        events.reconnects = self.counts.reconnects.load(Ordering::Relaxed);
        events.missed = self.counts.missed.load(Ordering::Relaxed);
        let (logs, watched) = self.topics.count();
        (events.logs, events.watched) = (logs as u64, watched as u64);
    }

    /// Tells this node's watchers of a tenant.
    pub(crate) fn signal_here(&self, tenant: &str, message: Bytes) {
        if let Some(topic) = self.topics.get(tenant) {
            topic.signal(message);
        }
    }
}

/// How long events are still tried to be put into the logs when the cache is shut down.
const LAST_ATTEMPTS: Duration = Duration::from_secs(2);

/// How long a call waits for Redis to say how far a log goes.
const PATIENCE: Duration = Duration::from_millis(500);

/// An event's place in its tenant's line. One that is dropped will not come.
pub(crate) struct Place {
    logs: Arc<Logs>,
    to: Destination,
    number: u64,
    left: bool,
}

impl Place {
    /// The event may enter the log.
    pub(crate) fn ready(mut self) {
        self.left = true;
        self.logs.queue.ready(&self.to.tenant, self.number);
        self.logs.flow(&self.to);
    }

    /// It will not come, for this reason.
    pub(crate) fn leave(mut self, error: &Error) {
        self.leave_now(error);
    }

    fn leave_now(&mut self, error: &Error) {
        if !std::mem::replace(&mut self.left, true) {
            self.logs.queue.leave(&self.to.tenant, self.number, error);
            self.logs.flow(&self.to);
        }
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        self.leave_now(&closed());
    }
}

pub(crate) fn closed() -> Error {
    Error::new(ErrorKind::Closed, "the cache has been shut down")
}

/// By the wall clock, for people.
fn now_ms() -> u64 {
    let since = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default();
    u64::try_from(since.as_millis()).unwrap_or(u64::MAX)
}
