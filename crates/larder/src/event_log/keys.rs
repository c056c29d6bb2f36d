//! Idempotency keys of a log in memory.

use super::position::Position;
use crate::clock::Moment;
use crate::limits::{IDEMPOTENCY_KEYS, IDEMPOTENCY_TTL};
use std::collections::{HashMap, VecDeque};
use std::sync::Arc;

/// The events of the last minutes that had a key, and their places.
#[derive(Default)]
pub(crate) struct Keys {
    places: HashMap<Arc<str>, Position>,
    order: VecDeque<(Moment, Arc<str>)>,
}

impl Keys {
    /// The place of the event that had this key.
    pub(crate) fn get(&mut self, key: &str, now: Moment) -> Option<Position> {
        self.forget(now, IDEMPOTENCY_KEYS);
        self.places.get(key).cloned()
    }

    pub(crate) fn insert(&mut self, key: &str, at: Position, now: Moment) {
        self.forget(now, IDEMPOTENCY_KEYS - 1);
        let key: Arc<str> = key.into();
        self.places.insert(Arc::clone(&key), at);
        self.order.push_back((now, key));
    }

    fn forget(&mut self, now: Moment, keep: usize) {
        while let Some((at, _)) = self.order.front()
            && (now.since(*at) >= IDEMPOTENCY_TTL || self.order.len() > keep)
            && let Some((_, key)) = self.order.pop_front()
        {
            self.places.remove(&key);
        }
    }

    pub(crate) fn clear(&mut self) {
        *self = Self::default();
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::time::Duration;

    #[test]
    fn a_key_is_remembered_for_its_time_and_within_the_bound() {
        let mut keys = Keys::default();
        let began = Moment::from_nanos(1);
        keys.insert("a", Position::new("e", 1), began);
        let last = began.plus(IDEMPOTENCY_TTL - Duration::from_nanos(1));
        assert_eq!(keys.get("a", last), Some(Position::new("e", 1)));
        assert_eq!(keys.get("a", began.plus(IDEMPOTENCY_TTL)), None);
        for number in 0..=IDEMPOTENCY_KEYS {
            keys.insert(&number.to_string(), Position::new("e", 2), last);
        }
        assert_eq!((keys.places.len(), keys.order.len()), (IDEMPOTENCY_KEYS, IDEMPOTENCY_KEYS));
        assert!(keys.get("0", last).is_none() && keys.get("1", last).is_some());
    }
}
