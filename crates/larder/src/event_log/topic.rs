//! What this node knows of one tenant's log: where it ends, its last events, and who watches.
//!
//! Without Redis this *is* the log. With Redis it follows the log: whatever way an event comes, by the bus or by a read, it
//! is taken if it is the next, and only then. What is missing is read; what can't be read any more is a reset.

use super::logged::LoggedEvent;
use super::position::Position;
use super::ring::Ring;
use super::signals::Signals;
use crate::clock::Moment;
use crate::simulation::{Mutant, is};
use bytes::Bytes;
use parking_lot::{Mutex, MutexGuard};
use std::collections::VecDeque;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;
use tokio::sync::Notify;

/// Why events can't be had one after the other.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Gap {
    /// The log has begun a new history: events were lost, or may have been.
    Epoch,
    /// The events asked for are older than what is kept.
    Window,
    /// The reader was slower than the events.
    Slow,
}

impl Gap {
    /// The word in the protocol: `epoch`, `window` or `limit`.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Epoch => "epoch",
            Self::Window => "window",
            Self::Slow => "limit",
        }
    }
}

/// Epochs that a topic remembers to have left.
const LEFT: usize = 8;

/// How long a log of the past is not believed. A server that has gone back is found out by its identity long before, and the
/// log begins anew; what is there still was there all along, and it was this node that had gone astray.
const DISBELIEF: Duration = Duration::from_secs(10);

/// What this node knows of one tenant's log.
pub(crate) struct Topic {
    pub(crate) tenant: Arc<str>,
    pub(crate) bucket: usize,
    state: Mutex<State>,
    /// Told of everything that a watcher may have waited for.
    pub(crate) changed: Notify,
    pub(crate) watches: AtomicUsize,
    /// Held by who reads older events: those who come meanwhile find them in memory.
    pub(crate) filling: tokio::sync::Mutex<()>,
}

pub(crate) struct State {
    /// Empty: nothing is known yet.
    epoch: Arc<str>,
    ring: Ring,
    /// How often what watchers have seen has become void, and why the last time.
    pub(crate) resets: u64,
    pub(crate) gap: Gap,
    signals: Signals,
    /// The last event of which the bus has told, if it could not be taken.
    seen: Option<u64>,
    /// From where on the bus has told of another epoch.
    heard_of: Option<Position>,
    /// How often something may have been missed, and how many of these times a read has settled that began after it.
    doubts: u64,
    settled: u64,
    /// Somebody reads what is missing.
    pub(crate) reading: bool,
    left: VecDeque<Arc<str>>,
    /// Since when every read has brought a log of the past.
    disbelieved: Option<Moment>,
    pub(crate) touched: Moment,
    pub(crate) keys: super::keys::Keys,
}

/// From where a read is asked for.
pub(crate) struct Asked {
    pub(crate) at: Position,
    doubts: u64,
    seen: Option<u64>,
}

/// Events, one after the other.
pub(crate) struct Run {
    pub(crate) epoch: Arc<str>,
    /// The offset of the first.
    pub(crate) first: u64,
    pub(crate) events: Vec<Bytes>,
}

/// What a read of the log has brought.
pub(crate) struct Read {
    pub(crate) head: Position,
    /// From the place asked for on, if that was of this epoch; the first is the one after it, or the log has it no more.
    pub(crate) events: Vec<(u64, Bytes)>,
}

impl Topic {
    pub(crate) fn new(
        tenant: Arc<str>,
        bucket: usize,
        at: Position,
        all: Arc<AtomicUsize>,
        now: Moment,
    ) -> Self {
        let state = State {
            signals: Signals::new(Arc::clone(&all)),
            ring: Ring::after(at.offset, all),
            epoch: at.epoch,
            resets: 0,
            gap: Gap::Epoch,
            seen: None,
            heard_of: None,
            doubts: 0,
            settled: 0,
            reading: false,
            left: VecDeque::new(),
            disbelieved: None,
            touched: now,
            keys: Default::default(),
        };
        Self {
            tenant,
            bucket,
            state: Mutex::new(state),
            changed: Notify::new(),
            watches: AtomicUsize::new(0),
            filling: tokio::sync::Mutex::default(),
        }
    }

    pub(crate) fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock()
    }

    pub(crate) fn is_watched(&self) -> bool {
        self.watches.load(Ordering::Relaxed) > 0
    }

    /// Takes what the bus has brought. Whether something is missing, so that it has to be read.
    ///
    /// Which epoch the log is in only a read says. A message of another may be the first of a new one, or one of the past that
    /// was overtaken by a read: followed, it would lead back, and what comes of the log as it is would look like the past.
    pub(crate) fn told(&self, run: &Run, now: Moment) -> bool {
        let mut state = self.lock();
        state.touched = now;
        if state.epoch != run.epoch && is(Mutant::MessagesLead) && !state.is_unknown() {
            state.renew(Position::new(Arc::clone(&run.epoch), run.first - 1), Gap::Epoch);
        }
        if state.epoch != run.epoch {
            // A read that is under way may have begun before this.
            state.doubts += u64::from(!is(Mutant::OtherEpochsIgnored));
            state.hear_of(run);
            return true;
        }
        let last = run.first + run.events.len() as u64 - 1;
        if is(Mutant::EventsSkipped) && run.first > state.ring.last() + 1 {
            state.ring.restart(run.first - 1);
        }
        if run.first > state.ring.last() + 1 {
            state.seen = state.seen.max(Some(last));
            return true;
        }
        let offsets = run.first..;
        let taken = state.take(&self.tenant, offsets.zip(run.events.iter().cloned()));
        let missing = state.is_behind();
        drop(state);
        if taken {
            self.changed.notify_waiters();
        }
        missing
    }

    /// Where to read on, if something is missing and nobody reads it yet. Who is told so has to read.
    pub(crate) fn begin_reading(&self) -> Option<Asked> {
        let mut state = self.lock();
        if state.reading || !state.is_behind() {
            return None;
        }
        state.reading = true;
        Some(state.asked())
    }

    /// Where to read on; `None` ends reading: nothing is missing any more.
    pub(crate) fn go_on_reading(&self) -> Option<Asked> {
        let mut state = self.lock();
        state.reading = state.is_behind();
        state.reading.then(|| state.asked())
    }

    /// Until nothing is missing, for a while at most.
    pub(crate) async fn caught_up(&self, within: Duration) {
        let caught_up = async {
            loop {
                let changed = self.changed.notified();
                tokio::pin!(changed);
                changed.as_mut().enable();
                if !self.lock().is_behind() {
                    return;
                }
                changed.await;
            }
        };
        let _ = tokio::time::timeout(within, caught_up).await;
    }

    /// Nobody reads any more. What is missing stays so.
    pub(crate) fn stop_reading(&self) {
        self.lock().reading = false;
    }

    /// Takes what a read from `asked` on has brought; `false`: it is asked again after a while.
    ///
    /// A name of an epoch is given once, and within an epoch a log does not become shorter. So if an epoch that a read has left is
    /// there again, or less than there was, the server has gone back to what it was, and the log is about to begin anew with the
    /// coherence state, as it does whenever history is lost: what enters it until then may stand where something else stood
    /// that somebody has seen. Or this node was led to another server for a while, and nothing begins anew: so it is believed
    /// after [`DISBELIEF`].
    pub(crate) fn read(&self, asked: &Asked, read: Read, now: Moment, resets: &mut u64) -> bool {
        let mut state = self.lock();
        state.touched = now;
        if state.is_past(asked, &read.head) && !is(Mutant::LeftLogsTaken) {
            let since = *state.disbelieved.get_or_insert(now);
            if now.since(since) < DISBELIEF || is(Mutant::NeverBelieved) {
                return false;
            }
            state.left.retain(|left| *left != read.head.epoch);
        }
        state.disbelieved = None;
        let head = read.head.offset;
        let begins = read.events.first().map_or(head + 1, |(offset, _)| *offset);
        if state.is_unknown() {
            state.renew(read.head, Gap::Epoch);
        } else if read.head.epoch != state.epoch || head < asked.at.offset {
            // A log does not become shorter within its epoch: it is not the one that it says.
            *resets += 1;
            let at = state.begin_of(read.head);
            state.renew(at, Gap::Epoch);
            state.seen = (state.ring.last() < head).then_some(head);
        } else if begins > state.ring.last() + 1 {
            *resets += 1;
            state.renew(read.head, Gap::Window);
        } else {
            state.take(&self.tenant, read.events.into_iter());
        }
        if state.ring.last() >= head {
            let doubts = if is(Mutant::LaterDoubtsSettled) { state.doubts } else { asked.doubts };
            state.settled = state.settled.max(doubts);
            // What was told of before this was asked, and is not there, will not come.
            if asked.seen == state.seen {
                state.seen = None;
            }
        }
        drop(state);
        self.changed.notify_waiters();
        true
    }

    /// Whatever was missed must be read.
    pub(crate) fn doubt(&self) {
        self.lock().doubts += 1;
    }

    /// Keeps older events that were read for somebody who came back: more come back from about there.
    pub(crate) fn fill(&self, events: &[Arc<LoggedEvent>]) {
        let mut state = self.lock();
        if events.first().is_some_and(|event| event.position().epoch == state.epoch) {
            state.ring.fill(events);
        }
    }

    /// A message without a place in the log.
    pub(crate) fn signal(&self, message: Bytes) {
        {
            let mut state = self.lock();
            let at = state.ring.last();
            state.signals.push(at, message);
        }
        self.changed.notify_waiters();
    }
}

impl State {
    pub(crate) fn is_unknown(&self) -> bool {
        self.epoch.is_empty()
    }

    /// Where the log ends, as far as this node knows.
    pub(crate) fn position(&self) -> Position {
        Position::new(Arc::clone(&self.epoch), self.ring.last())
    }

    pub(crate) fn epoch(&self) -> &Arc<str> {
        &self.epoch
    }

    pub(crate) fn ring(&self) -> &Ring {
        &self.ring
    }

    fn asked(&self) -> Asked {
        Asked { at: self.position(), doubts: self.doubts, seen: self.seen }
    }

    /// A message of an epoch that no read has brought yet.
    fn hear_of(&mut self, run: &Run) {
        if self.heard_of.as_ref().is_none_or(|heard| heard.epoch != run.epoch) {
            self.heard_of = Some(Position::new(Arc::clone(&run.epoch), run.first - 1));
        }
    }

    /// Where to begin in another epoch, which ends at `head`: those who watch are told of what they could have heard.
    fn begin_of(&mut self, head: Position) -> Position {
        match self.heard_of.take() {
            Some(heard) if heard.epoch == head.epoch && heard.offset < head.offset => heard,
            _ => head,
        }
    }

    /// Whether a log that ends there is one of the past.
    fn is_past(&self, asked: &Asked, head: &Position) -> bool {
        let is_shorter = head.epoch == self.epoch && head.offset < asked.at.offset;
        is_shorter || self.left.contains(&head.epoch)
    }

    pub(crate) fn is_behind(&self) -> bool {
        self.is_unknown()
            || self.doubts > self.settled
            || self.seen.is_some_and(|seen| seen > self.ring.last())
    }

    /// Takes those that come next. Whether there was one.
    fn take(&mut self, tenant: &Arc<str>, events: impl Iterator<Item = (u64, Bytes)>) -> bool {
        let before = self.ring.last();
        for (offset, json) in events {
            if offset != self.ring.last() + 1 {
                continue;
            }
            match LoggedEvent::read(tenant, &self.epoch, offset, json) {
                Some(event) => self.ring.push(Arc::new(event)),
                // Somebody else has written into the log. What it is nobody knows, so it may not be passed over.
                None => {
                    tracing::error!(target: "larder::events", offset, "an event in the log can't be read");
                    self.renew(Position::new(Arc::clone(&self.epoch), offset), Gap::Window);
                }
            }
        }
        if self.seen.is_some_and(|seen| seen <= self.ring.last()) {
            self.seen = None;
        }
        self.ring.last() > before
    }

    /// What was seen before is void: the log goes on after `at`.
    pub(crate) fn renew(&mut self, at: Position, gap: Gap) {
        if self.epoch != at.epoch {
            if !self.is_unknown() {
                self.left.push_back(Arc::clone(&self.epoch));
                if self.left.len() > LEFT {
                    self.left.pop_front();
                }
            }
            self.keys.clear();
            self.seen = None;
        }
        self.ring.restart(at.offset);
        self.epoch = at.epoch;
        self.signals.forget_offsets();
        self.resets += u64::from(!is(Mutant::ResetsUntold));
        self.gap = gap;
    }

    /// Adds an event to a log that is here and nowhere else.
    pub(crate) fn append(&mut self, tenant: &Arc<str>, json: Bytes) -> Arc<LoggedEvent> {
        let offset = self.ring.last() + 1;
        let event = LoggedEvent::read(tenant, &self.epoch, offset, json).expect("this node has encoded it");
        let event = Arc::new(event);
        self.ring.push(Arc::clone(&event));
        event
    }

    pub(crate) fn signals(&self) -> &Signals {
        &self.signals
    }

    /// Lets go what is kept for who is slow or comes back, and not where the log is.
    pub(crate) fn forget(&mut self) {
        self.ring.clear();
        self.signals.clear();
    }
}
