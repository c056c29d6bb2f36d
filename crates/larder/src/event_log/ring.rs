//! The last events of one tenant, without a gap.

use super::logged::LoggedEvent;
use crate::limits::{EVENT_HISTORY, MAX_RING_BYTES, MAX_RINGS_BYTES};
use crate::simulation::{Limit, limit};
use std::collections::VecDeque;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

/// The last events of one tenant: the offsets from `first` on, each once, in their order.
pub(crate) struct Ring {
    events: VecDeque<Arc<LoggedEvent>>,
    /// The offset of the oldest; of the next to come, if there is none.
    first: u64,
    bytes: usize,
    /// Bytes in the rings of all tenants.
    all: Arc<AtomicUsize>,
}

impl Ring {
    /// Empty, after the event of this offset.
    pub(crate) fn after(offset: u64, all: Arc<AtomicUsize>) -> Self {
        Self { events: VecDeque::new(), first: offset + 1, bytes: 0, all }
    }

    /// The offset of the last event, whether or not it is still there.
    pub(crate) fn last(&self) -> u64 {
        self.first + self.events.len() as u64 - 1
    }

    /// The lowest offset that it [covers](Ring::covers).
    pub(crate) fn oldest(&self) -> u64 {
        self.first - 1
    }

    /// Whether everything after this offset is there.
    pub(crate) fn covers(&self, offset: u64) -> bool {
        (self.oldest()..=self.last()).contains(&offset)
    }

    /// The events after an offset that it [covers](Ring::covers).
    pub(crate) fn since(&self, offset: u64) -> impl Iterator<Item = &Arc<LoggedEvent>> {
        let skip = usize::try_from(offset + 1 - self.first).unwrap_or(usize::MAX);
        self.events.range(skip.min(self.events.len())..)
    }

    /// Adds the next event, and lets the oldest go that are beyond the bounds; never this one.
    pub(crate) fn push(&mut self, event: Arc<LoggedEvent>) {
        debug_assert_eq!(event.position().offset(), self.last() + 1);
        let weight = event.weight();
        self.bytes += weight;
        let mut all = self.all.fetch_add(weight, Ordering::Relaxed) + weight;
        let most = limit(Limit::EventHistory, EVENT_HISTORY);
        self.events.push_back(event);
        while self.events.len() > 1
            && (self.events.len() > most || self.bytes > MAX_RING_BYTES || all > MAX_RINGS_BYTES)
        {
            all -= self.pop();
        }
    }

    /// Adds older events, as far as there is room: those that end just before its first.
    pub(crate) fn fill(&mut self, events: &[Arc<LoggedEvent>]) {
        let (first, most) = (self.first, limit(Limit::EventHistory, EVENT_HISTORY));
        for event in events.iter().rev().skip_while(|event| event.position().offset() >= first) {
            let weight = event.weight();
            let all = self.all.load(Ordering::Relaxed) + weight;
            let fits = self.events.len() < most && self.bytes + weight <= MAX_RING_BYTES;
            if event.position().offset() + 1 != self.first || !fits || all > MAX_RINGS_BYTES {
                return;
            }
            self.first -= 1;
            self.bytes += weight;
            self.all.fetch_add(weight, Ordering::Relaxed);
            self.events.push_front(Arc::clone(event));
        }
    }

    fn pop(&mut self) -> usize {
        let Some(event) = self.events.pop_front() else { return 0 };
        let weight = event.weight();
        self.first += 1;
        self.bytes -= weight;
        self.all.fetch_sub(weight, Ordering::Relaxed);
        weight
    }

    /// Empty again, after the event of this offset.
    pub(crate) fn restart(&mut self, offset: u64) {
        self.clear();
        self.first = offset + 1;
    }

    /// Forgets the events, not where they ended.
    pub(crate) fn clear(&mut self) {
        while self.pop() > 0 {}
        self.events.shrink_to_fit();
    }
}

impl Drop for Ring {
    fn drop(&mut self) {
        self.all.fetch_sub(self.bytes, Ordering::Relaxed);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::event::Event;
    use crate::event_log::logged::encode;

    fn event(offset: u64, bytes: usize) -> Arc<LoggedEvent> {
        let event = Event::new("k").data("x".repeat(bytes).into());
        let json = encode(&event, "i", 0).unwrap();
        Arc::new(LoggedEvent::read(&"t".into(), &"e".into(), offset, json).unwrap())
    }

    fn offsets(ring: &Ring, after: u64) -> Vec<u64> {
        ring.since(after).map(|event| event.position().offset()).collect()
    }

    #[test]
    fn what_is_after_an_offset_is_found_and_what_has_gone_is_known_to_be_gone() {
        let mut ring = Ring::after(4, Arc::default());
        assert_eq!((ring.last(), ring.covers(4), ring.covers(3), ring.covers(5)), (4, true, false, false));
        for offset in 5..=8 {
            ring.push(event(offset, 1));
        }
        assert_eq!(offsets(&ring, 4), [5, 6, 7, 8]);
        assert_eq!(offsets(&ring, 7), [8]);
        assert_eq!(offsets(&ring, 8), [0; 0]);
        assert!(!ring.covers(9) && !ring.covers(3));
        ring.clear();
        assert_eq!((ring.last(), ring.covers(8), ring.covers(7)), (8, true, false));
    }

    #[test]
    fn older_events_are_added_where_they_join_on_and_as_far_as_they_fit() {
        let mut ring = Ring::after(10, Arc::default());
        let run =
            |range: std::ops::RangeInclusive<u64>| range.map(|offset| event(offset, 1)).collect::<Vec<_>>();
        ring.fill(&run(5..=8));
        assert!(!ring.covers(9), "there is a hole");
        ring.push(event(11, 1));
        ring.fill(&run(6..=11));
        assert_eq!(offsets(&ring, 5), [6, 7, 8, 9, 10, 11]);
        ring.fill(&run(3..=5));
        assert_eq!(offsets(&ring, 2).len(), 9);
        let mut ring = Ring::after(2000, Arc::default());
        ring.fill(&run(1..=2000));
        assert_eq!((ring.events.len(), ring.last()), (EVENT_HISTORY, 2000));
    }

    #[test]
    fn the_bounds_of_a_ring_hold_and_what_it_takes_is_given_back() {
        let all: Arc<AtomicUsize> = Arc::default();
        let mut ring = Ring::after(0, Arc::clone(&all));
        for offset in 1..=EVENT_HISTORY as u64 + 1 {
            ring.push(event(offset, 1));
        }
        assert!(ring.covers(1) && !ring.covers(0));
        for offset in ring.last() + 1..ring.last() + 80 {
            ring.push(event(offset, 60_000));
        }
        assert!(ring.bytes <= MAX_RING_BYTES && ring.bytes + 70_000 > MAX_RING_BYTES);
        assert_eq!(all.load(Ordering::Relaxed), ring.bytes);
        // Others hold too much: a tenant pays with its own.
        all.fetch_add(MAX_RINGS_BYTES, Ordering::Relaxed);
        ring.push(event(ring.last() + 1, 1));
        assert_eq!(ring.since(ring.last() - 1).count(), 1);
        assert!(!ring.covers(ring.last() - 2));
        drop(ring);
        assert_eq!(all.load(Ordering::Relaxed), MAX_RINGS_BYTES);
    }
}
