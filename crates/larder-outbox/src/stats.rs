//! What the outbox did and what waits in it.

use parking_lot::Mutex;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::{Duration, Instant};

/// What an [`Outbox`](crate::Outbox) did, and what waits in the table, from [`Outbox::stats`](crate::Outbox::stats).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct OutboxStats {
    /// Whether this process is the one that relays.
    pub relays: bool,
    /// Rows in the table, whoever wrote them; counted up to 10,000. At most five seconds old, like the next two.
    pub waiting: u64,
    /// How long the oldest row has waited.
    pub lag: Duration,
    /// Rows that were set aside and that nobody has looked after; 10,000 at most.
    pub dead: u64,
    /// Rows that this process relayed.
    pub relayed: u64,
    /// Events that this process published itself, past the relay.
    pub direct: u64,
    /// Rows that this process set aside.
    pub set_aside: u64,
    /// Times that the database failed the relay of this process.
    pub failures: u64,
    /// Tenants whose rows wait for Redis at this moment.
    pub stalled: u64,
}

/// What is counted.
#[derive(Debug, Default)]
pub(crate) struct Counters {
    pub(crate) relays: AtomicBool,
    pub(crate) relayed: AtomicU64,
    pub(crate) direct: AtomicU64,
    pub(crate) set_aside: AtomicU64,
    pub(crate) failures: AtomicU64,
    pub(crate) stalled: AtomicU64,
    pub(crate) backlog: Mutex<Option<Backlog>>,
}

/// What was found in the table.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Backlog {
    pub(crate) at: Instant,
    pub(crate) waiting: u64,
    pub(crate) oldest: Option<Duration>,
    pub(crate) dead: u64,
}

impl Counters {
    pub(crate) fn add(counter: &AtomicU64, n: usize) {
        counter.fetch_add(u64::try_from(n).unwrap_or(u64::MAX), Ordering::Relaxed);
    }

    pub(crate) fn snapshot(&self) -> OutboxStats {
        let backlog = *self.backlog.lock();
        let get = |counter: &AtomicU64| counter.load(Ordering::Relaxed);
        OutboxStats {
            relays: self.relays.load(Ordering::Relaxed),
            waiting: backlog.map_or(0, |found| found.waiting),
            // What waited then has waited longer by now, unless it has gone: then the next count says so.
            lag: backlog.and_then(|found| Some(found.oldest? + found.at.elapsed())).unwrap_or_default(),
            dead: backlog.map_or(0, |found| found.dead),
            relayed: get(&self.relayed),
            direct: get(&self.direct),
            set_aside: get(&self.set_aside),
            failures: get(&self.failures),
            stalled: get(&self.stalled),
        }
    }
}
