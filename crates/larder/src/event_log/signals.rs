//! Messages to one tenant's watchers that have no place in the log: the last ones, for who is slow.

use crate::limits::{MAX_RINGS_BYTES, MAX_SIGNALS, MAX_SIGNALS_BYTES};
use bytes::Bytes;
use std::collections::VecDeque;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

/// The last messages to one tenant's watchers.
pub(crate) struct Signals {
    /// Each with the offset of the event before it.
    messages: VecDeque<(u64, Bytes)>,
    /// The number of the oldest.
    first: u64,
    bytes: usize,
    /// Bytes of the recent events and messages of all tenants.
    all: Arc<AtomicUsize>,
}

impl Signals {
    pub(crate) fn new(all: Arc<AtomicUsize>) -> Self {
        Self { messages: VecDeque::new(), first: 0, bytes: 0, all }
    }

    /// Adds one behind the event at `offset`, and lets the oldest go that are beyond the bounds; never this one.
    pub(crate) fn push(&mut self, offset: u64, message: Bytes) {
        self.bytes += message.len();
        let mut all = self.all.fetch_add(message.len(), Ordering::Relaxed) + message.len();
        self.messages.push_back((offset, message));
        while self.messages.len() > 1
            && (self.messages.len() > MAX_SIGNALS || self.bytes > MAX_SIGNALS_BYTES || all > MAX_RINGS_BYTES)
        {
            all -= self.pop();
        }
    }

    fn pop(&mut self) -> usize {
        let Some((_, message)) = self.messages.pop_front() else { return 0 };
        self.first += 1;
        self.bytes -= message.len();
        self.all.fetch_sub(message.len(), Ordering::Relaxed);
        message.len()
    }

    /// The oldest from this number on that was sent before anything after `offset`, with the number after it.
    pub(crate) fn get(&self, number: u64, offset: u64) -> Option<(Bytes, u64)> {
        let number = number.max(self.first);
        let place = usize::try_from(number - self.first).ok()?;
        let (at, message) = self.messages.get(place)?;
        (*at <= offset).then(|| (message.clone(), number + 1))
    }

    /// The number of the next to come.
    pub(crate) fn next(&self) -> u64 {
        self.first + self.messages.len() as u64
    }

    /// Offsets of before mean nothing any more.
    pub(crate) fn forget_offsets(&mut self) {
        self.messages.iter_mut().for_each(|(at, _)| *at = 0);
    }

    /// Forgets the messages, not how many there were.
    pub(crate) fn clear(&mut self) {
        while !self.messages.is_empty() {
            self.pop();
        }
        self.messages.shrink_to_fit();
    }
}

impl Drop for Signals {
    fn drop(&mut self) {
        self.all.fetch_sub(self.bytes, Ordering::Relaxed);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn messages_come_in_their_order_and_behind_the_event_before_them() {
        let mut signals = Signals::new(Arc::default());
        signals.push(3, Bytes::from_static(b"one"));
        signals.push(4, Bytes::from_static(b"two"));
        assert_eq!(signals.get(0, 3), Some((Bytes::from_static(b"one"), 1)));
        assert_eq!(signals.get(1, 3), None, "an event comes first");
        signals.forget_offsets();
        assert_eq!(signals.get(1, 0), Some((Bytes::from_static(b"two"), 2)));
        assert_eq!((signals.get(2, 9), signals.next()), (None, 2));
    }

    #[test]
    fn what_is_kept_is_bounded_by_number_by_bytes_and_with_that_of_all_tenants() {
        let all = Arc::new(AtomicUsize::new(0));
        let mut signals = Signals::new(Arc::clone(&all));
        for _ in 0..=MAX_SIGNALS {
            signals.push(0, Bytes::from_static(b"x"));
        }
        assert_eq!((signals.first, signals.bytes), (1, MAX_SIGNALS));
        for _ in 0..MAX_SIGNALS {
            signals.push(0, vec![0; 64 << 10].into());
        }
        assert!(signals.bytes <= MAX_SIGNALS_BYTES && signals.messages.len() == MAX_SIGNALS_BYTES >> 16);
        assert_eq!(all.load(Ordering::Relaxed), signals.bytes);
        all.fetch_add(MAX_RINGS_BYTES, Ordering::Relaxed);
        let next = signals.next();
        signals.push(0, Bytes::from_static(b"last"));
        assert_eq!(
            signals.get(0, 0),
            Some((Bytes::from_static(b"last"), next + 1)),
            "others have taken it all"
        );
        signals.clear();
        assert_eq!((signals.next(), signals.bytes), (next + 1, 0));
        signals.push(0, Bytes::from_static(b"x"));
        drop(signals);
        assert_eq!(all.load(Ordering::Relaxed), MAX_RINGS_BYTES);
    }
}
