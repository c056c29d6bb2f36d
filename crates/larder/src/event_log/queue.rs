//! Events on their way into the log: one line per tenant, in the order in which they were published here.
//!
//! An event may enter the log when its invalidation is in force everywhere; those behind it wait for it. Whoever takes
//! events from the front of a line is alone in that until it says that there are none.

use super::position::Position;
use crate::error::{Error, ErrorKind};
use crate::limits::{
    MAX_ALL_WAITING_BYTES, MAX_ALL_WAITING_EVENTS, MAX_APPEND_BYTES, MAX_APPEND_EVENTS, MAX_WAITING_BYTES,
    MAX_WAITING_EVENTS,
};
use crate::simulation::{Limit, Mutant, is, limit};
use bytes::Bytes;
use parking_lot::Mutex;
use std::collections::{HashMap, VecDeque};
use std::convert::Infallible;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use tokio::sync::oneshot;

/// Events on their way into the log.
#[derive(Default)]
pub(crate) struct Queue {
    lines: Mutex<HashMap<Arc<str>, Line>>,
    /// Of the next place. Of all lines, so that none is given twice: a line may be dropped, and begin again, while somebody
    /// still holds a place in it.
    number: AtomicU64,
    /// Events in all lines, and in batches that have not entered the log.
    count: Arc<AtomicUsize>,
    /// Bytes in all lines.
    bytes: AtomicUsize,
    /// How often a line was dropped.
    pub(crate) overflows: AtomicU64,
}

/// The events of one tenant.
#[derive(Default)]
struct Line {
    waiting: VecDeque<Waiting>,
    bytes: usize,
    /// Somebody takes events from the front.
    taking: bool,
    /// The log must begin a new epoch, since events were dropped.
    renew: bool,
}

impl Line {
    fn is_done(&self) -> bool {
        self.waiting.is_empty() && !self.renew
    }

    /// Nobody passes those before him.
    fn let_pass(&mut self) {
        if is(Mutant::LinesOvertaken)
            && let Some(ready) = self.waiting.iter().position(|waiting| waiting.ready)
            && let Some(ready) = self.waiting.remove(ready)
        {
            self.waiting.push_front(ready);
        }
    }
}

struct Waiting {
    number: u64,
    ready: bool,
    item: Item,
}

/// One event on its way.
pub(crate) struct Item {
    pub(crate) json: Bytes,
    pub(crate) id: Arc<str>,
    /// The id was chosen by the publisher, and is remembered.
    pub(crate) keyed: bool,
    /// Who wants to know where it is.
    pub(crate) done: Option<oneshot::Sender<Result<Position, Error>>>,
    /// Dropped with it: who makes it ready learns that it need not.
    #[expect(dead_code, reason = "that it is dropped is what it tells")]
    pub(crate) alive: Option<oneshot::Sender<Infallible>>,
}

impl Item {
    pub(crate) fn told_to(mut self, done: Option<oneshot::Sender<Result<Position, Error>>>) -> Self {
        self.done = done;
        self
    }

    pub(crate) fn finish(self, outcome: Result<Position, Error>) {
        if let Some(done) = self.done {
            // Nobody may want to know any more.
            let _ = done.send(outcome);
        }
    }
}

/// Events that have left their line, and count as waiting as long as this is there.
pub(crate) struct Counted {
    events: usize,
    all: Arc<AtomicUsize>,
}

impl Drop for Counted {
    fn drop(&mut self) {
        self.all.fetch_sub(self.events, Ordering::Relaxed);
    }
}

/// Events that may enter the log now, in their order.
pub(crate) struct Batch {
    pub(crate) counted: Counted,
    pub(crate) items: Vec<Item>,
    /// In a new epoch.
    pub(crate) renew: bool,
}

impl Batch {
    /// None of them will enter the log.
    pub(crate) fn finish(self, error: &Error) {
        self.items.into_iter().for_each(|item| item.finish(Err(error.clone())));
    }
}

impl Queue {
    /// A place at the end of the tenant's line. Where there is no room, the line is dropped: whoever follows the log starts
    /// anew.
    pub(crate) fn join(&self, tenant: &Arc<str>, item: Item) -> u64 {
        let (dropped, number) = {
            let mut lines = self.lines.lock();
            let line = lines.entry(Arc::clone(tenant)).or_default();
            let dropped =
                if self.has_room(line, item.json.len()) { VecDeque::new() } else { self.drop_line(line) };
            (dropped, self.push(line, item, false))
        };
        if !dropped.is_empty() {
            let events = dropped.len();
            tracing::warn!(
                target: "larder::events", %tenant, events,
                "too many events wait for their place in the log: they are dropped, and the log begins a new epoch"
            );
        }
        for waiting in dropped {
            waiting.item.finish(Err(too_many()));
        }
        number
    }

    /// The same for an event that is ready at once, and whose publisher can be refused.
    ///
    /// # Errors
    /// [`ErrorKind::Unavailable`] if there is no room.
    pub(crate) fn join_ready(&self, tenant: &Arc<str>, item: Item) -> Result<(), Error> {
        let mut lines = self.lines.lock();
        let line = lines.entry(Arc::clone(tenant)).or_default();
        if !self.has_room(line, item.json.len()) {
            if !line.taking && line.is_done() {
                lines.remove(tenant);
            }
            return Err(too_many());
        }
        self.push(line, item, true);
        Ok(())
    }

    fn has_room(&self, line: &Line, bytes: usize) -> bool {
        line.waiting.len() < limit(Limit::WaitingEvents, MAX_WAITING_EVENTS)
            && self.len() < MAX_ALL_WAITING_EVENTS
            && line.bytes + bytes <= MAX_WAITING_BYTES
            && self.bytes.load(Ordering::Relaxed) + bytes <= MAX_ALL_WAITING_BYTES
    }

    fn push(&self, line: &mut Line, item: Item, ready: bool) -> u64 {
        // Under the lock of the lines: in each of them numbers rise.
        let number = self.number.fetch_add(1, Ordering::Relaxed);
        line.bytes += item.json.len();
        self.bytes.fetch_add(item.json.len(), Ordering::Relaxed);
        self.count.fetch_add(1, Ordering::Relaxed);
        line.waiting.push_back(Waiting { number, ready, item });
        number
    }

    fn drop_line(&self, line: &mut Line) -> VecDeque<Waiting> {
        self.overflows.fetch_add(1, Ordering::Relaxed);
        line.renew = !is(Mutant::DroppedUntold);
        let dropped = std::mem::take(&mut line.waiting);
        let bytes = dropped.iter().map(|waiting| waiting.item.json.len()).sum();
        self.left(line, dropped.len(), bytes);
        dropped
    }

    fn left(&self, line: &mut Line, events: usize, bytes: usize) {
        line.bytes -= bytes;
        self.bytes.fetch_sub(bytes, Ordering::Relaxed);
        self.count.fetch_sub(events, Ordering::Relaxed);
    }

    /// The event at this place may enter the log. It may have been dropped.
    pub(crate) fn ready(&self, tenant: &str, number: u64) {
        if let Some(line) = self.lines.lock().get_mut(tenant)
            && let Ok(place) = line.waiting.binary_search_by_key(&number, |waiting| waiting.number)
        {
            line.waiting[place].ready = true;
        }
    }

    /// The event at this place will not come.
    pub(crate) fn leave(&self, tenant: &str, number: u64, error: &Error) {
        let left = {
            let mut lines = self.lines.lock();
            let Some(line) = lines.get_mut(tenant) else { return };
            let Ok(place) = line.waiting.binary_search_by_key(&number, |waiting| waiting.number) else {
                return;
            };
            let left = line.waiting.remove(place);
            self.left(line, 1, left.as_ref().map_or(0, |left| left.item.json.len()));
            left
        };
        if let Some(left) = left {
            left.item.finish(Err(error.clone()));
        }
    }

    /// Whether there is something at the front of the line that may enter the log, and nobody takes it. Who is told so has
    /// to take it.
    pub(crate) fn begin_taking(&self, tenant: &str) -> bool {
        let mut lines = self.lines.lock();
        let Some(line) = lines.get_mut(tenant) else { return false };
        line.let_pass();
        // A new epoch is to begin also where nobody comes after those who were dropped.
        let begins = !line.taking && line.waiting.front().map_or(line.renew, |first| first.ready);
        line.taking |= begins;
        if !line.taking && line.is_done() {
            lines.remove(tenant);
        }
        begins
    }

    /// What may enter the log now; `None` ends taking.
    pub(crate) fn take(&self, tenant: &str) -> Option<Batch> {
        let mut lines = self.lines.lock();
        let line = lines.get_mut(tenant)?;
        line.let_pass();
        let mut items = Vec::new();
        let mut bytes = 0;
        while let Some(first) = line.waiting.front()
            && first.ready
            && items.len() < MAX_APPEND_EVENTS
            && (items.is_empty() || bytes + first.item.json.len() <= MAX_APPEND_BYTES)
            && let Some(first) = line.waiting.pop_front()
        {
            bytes += first.item.json.len();
            items.push(first.item);
        }
        if items.is_empty() && !(line.renew && line.waiting.is_empty()) {
            line.taking = false;
            if line.is_done() {
                lines.remove(tenant);
            }
            return None;
        }
        self.left(line, 0, bytes);
        let counted = Counted { events: items.len(), all: Arc::clone(&self.count) };
        Some(Batch { counted, items, renew: std::mem::take(&mut line.renew) })
    }

    /// Keeps everybody away, as long as the answer is held.
    #[cfg(test)]
    pub(crate) fn lock(&self) -> impl Sized + '_ {
        self.lines.lock()
    }

    /// How many events wait.
    pub(crate) fn len(&self) -> usize {
        self.count.load(Ordering::Relaxed)
    }
}

fn too_many() -> Error {
    let why = "too many events of this tenant wait for their place in the log";
    Error::new(ErrorKind::Unavailable, why)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn item(json: &'static [u8]) -> (Item, oneshot::Receiver<Result<Position, Error>>) {
        let (done, outcome) = oneshot::channel();
        (
            Item {
                json: Bytes::from_static(json),
                id: "i".into(),
                keyed: false,
                done: Some(done),
                alive: None,
            },
            outcome,
        )
    }

    fn taken(queue: &Queue, tenant: &str) -> Vec<Bytes> {
        queue
            .take(tenant)
            .map(|batch| batch.items.into_iter().map(|item| item.json).collect())
            .unwrap_or_default()
    }

    #[test]
    fn events_leave_in_the_order_in_which_they_came_however_they_become_ready() {
        let (queue, acme): (Queue, Arc<str>) = (Queue::default(), "acme".into());
        let places = [b"1", b"2", b"3"].map(|json| queue.join(&acme, item(json).0));
        queue.ready("acme", places[1]);
        assert!(!queue.begin_taking("acme"));
        queue.ready("acme", places[0]);
        assert!(queue.begin_taking("acme"));
        assert!(!queue.begin_taking("acme"), "one takes");
        assert_eq!(taken(&queue, "acme"), [&b"1"[..], b"2"]);
        assert!(queue.take("acme").is_none());
        queue.ready("acme", places[2]);
        assert!(queue.begin_taking("acme"));
        assert_eq!(taken(&queue, "acme"), [&b"3"[..]]);
        assert!(queue.take("acme").is_none());
        assert_eq!((queue.len(), queue.lines.lock().len()), (0, 0));
    }

    #[test]
    fn one_that_does_not_come_holds_up_nobody() {
        let (queue, acme): (Queue, Arc<str>) = (Queue::default(), "acme".into());
        let (first, outcome) = item(b"1");
        let (first, second) = (queue.join(&acme, first), queue.join(&acme, item(b"2").0));
        queue.ready("acme", second);
        queue.leave("acme", first, &Error::new(ErrorKind::Closed, "it is closed"));
        assert_eq!(outcome.blocking_recv().unwrap().unwrap_err().kind(), ErrorKind::Closed);
        assert!(queue.begin_taking("acme"));
        assert_eq!(taken(&queue, "acme"), [&b"2"[..]]);
    }

    #[test]
    fn a_place_in_a_line_that_was_dropped_is_nobody_elses() {
        let (queue, acme): (Queue, Arc<str>) = (Queue::default(), "acme".into());
        let old: Vec<u64> = (0..=MAX_WAITING_EVENTS).map(|_| queue.join(&acme, item(b"1").0)).collect();
        let last = *old.last().unwrap();
        queue.ready("acme", last);
        assert!(queue.begin_taking("acme") && queue.take("acme").is_some_and(|batch| batch.renew));
        assert!(queue.take("acme").is_none() && queue.lines.lock().is_empty());
        // Those who held the others come late.
        let (next, mut outcome) = item(b"2");
        queue.join(&acme, next);
        for number in old {
            queue.leave("acme", number, &Error::new(ErrorKind::Closed, "it is closed"));
            queue.ready("acme", number);
        }
        assert!(outcome.try_recv().is_err(), "it waits");
        assert!(!queue.begin_taking("acme"), "and may not enter yet");
    }

    #[test]
    fn a_line_that_is_too_long_is_dropped_and_the_log_begins_anew() {
        let (queue, acme): (Queue, Arc<str>) = (Queue::default(), "acme".into());
        let (alive, mut gone) = oneshot::channel();
        let mut alive = Some(alive);
        let mut outcomes = Vec::new();
        for _ in 0..MAX_WAITING_EVENTS {
            let (one, outcome) = item(b"x");
            let one = Item { alive: alive.take(), ..one };
            queue.join(&acme, one);
            outcomes.push(outcome);
        }
        assert_eq!(queue.join_ready(&acme, item(b"x").0).unwrap_err().kind(), ErrorKind::Unavailable);
        assert_eq!(queue.len(), MAX_WAITING_EVENTS);
        assert_eq!(gone.try_recv(), Err(oneshot::error::TryRecvError::Empty));
        let place = queue.join(&acme, item(b"new").0);
        assert_eq!((queue.len(), queue.overflows.load(Ordering::Relaxed)), (1, 1));
        assert_eq!(gone.try_recv(), Err(oneshot::error::TryRecvError::Closed));
        for outcome in outcomes {
            assert!(outcome.blocking_recv().unwrap().is_err());
        }
        queue.ready("acme", place);
        assert!(queue.begin_taking("acme"));
        let batch = queue.take("acme").unwrap();
        assert!(batch.renew);
        assert_eq!(batch.items[0].json, "new");
        assert_eq!(queue.bytes.load(Ordering::Relaxed), 0);
    }

    #[test]
    fn what_enters_at_once_is_bounded() {
        let (queue, acme): (Queue, Arc<str>) = (Queue::default(), "acme".into());
        for _ in 0..MAX_APPEND_EVENTS + 1 {
            queue.join_ready(&acme, item(b"x").0).unwrap();
        }
        assert!(queue.begin_taking("acme"));
        assert_eq!(taken(&queue, "acme").len(), MAX_APPEND_EVENTS);
        assert_eq!(taken(&queue, "acme").len(), 1);
        static LARGE: [u8; MAX_APPEND_BYTES] = [b'x'; MAX_APPEND_BYTES];
        for _ in 0..2 {
            queue.join_ready(&acme, item(&LARGE).0).unwrap();
        }
        assert_eq!(taken(&queue, "acme").len(), 1);
    }
}
