//! How often somebody may do something: a bucket of tokens, for one or for each of many.

use std::collections::HashMap;
use std::hash::Hash;
use std::time::{Duration, Instant};

use parking_lot::Mutex;

use crate::limits::{RATE_KEYS, RATE_SHARED};

/// Fills at a constant rate up to its size; what is done takes one out.
#[derive(Debug)]
pub(crate) struct Bucket {
    /// When it was, or will be, empty: all that is needed to know how full it is.
    empty_at: Instant,
    each: Duration,
    size: u32,
}

impl Bucket {
    /// A full one, of `size`, that gets `per_second` back.
    pub(crate) fn full(size: u32, per_second: u32, now: Instant) -> Self {
        let each = Duration::from_secs(1) / per_second.max(1);
        Self { empty_at: now.checked_sub(each * size).unwrap_or(now), each, size }
    }

    /// Takes one out; or says after how long there will be one.
    pub(crate) fn take(&mut self, now: Instant) -> Result<(), Duration> {
        let full = now.checked_sub(self.each * self.size).unwrap_or(now);
        let next = self.empty_at.max(full) + self.each;
        if next > now {
            return Err(next - now);
        }
        self.empty_at = next;
        Ok(())
    }

    fn is_full(&self, now: Instant) -> bool {
        now.checked_sub(self.each * self.size).is_none_or(|full| self.empty_at <= full)
    }
}

/// A bucket for each of many, in bounded memory: where there are too many to count each, some share one.
#[derive(Debug)]
pub(crate) struct Each<K> {
    size: u32,
    per_second: u32,
    buckets: Mutex<Buckets<K>>,
    hasher: ahash::RandomState,
}

#[derive(Debug)]
struct Buckets<K> {
    own: HashMap<K, Bucket, ahash::RandomState>,
    shared: HashMap<u64, Bucket, ahash::RandomState>,
    /// When full ones can be looked for again: not sooner than one that was empty can be full.
    sweep_at: Instant,
}

impl<K: Eq + Hash> Each<K> {
    /// Full ones, of `size`, that get `per_second` back.
    pub(crate) fn full(size: u32, per_second: u32, now: Instant) -> Self {
        let buckets = Buckets { own: HashMap::default(), shared: HashMap::default(), sweep_at: now };
        Self { size, per_second, buckets: Mutex::new(buckets), hasher: ahash::RandomState::default() }
    }

    /// Takes one out of that of `key`; or says after how long there will be one.
    pub(crate) fn take(&self, key: K, now: Instant) -> Result<(), Duration> {
        let buckets = &mut *self.buckets.lock();
        let new = || Bucket::full(self.size, self.per_second, now);
        if buckets.own.len() >= RATE_KEYS {
            buckets.sweep(now, Duration::from_secs(1) * self.size / self.per_second.max(1));
        }
        let bucket = if buckets.own.len() < RATE_KEYS || buckets.own.contains_key(&key) {
            buckets.own.entry(key).or_insert_with(new)
        } else {
            buckets.shared.entry(self.hasher.hash_one(&key) % RATE_SHARED).or_insert_with(new)
        };
        bucket.take(now)
    }
}

impl<K: Eq + Hash> Buckets<K> {
    /// Forgets the full ones, which are as new ones.
    fn sweep(&mut self, now: Instant, every: Duration) {
        if now >= self.sweep_at {
            self.own.retain(|_, bucket| !bucket.is_full(now));
            self.sweep_at = now + every;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn as_many_at_once_as_its_size_then_one_each_period() {
        let begin = Instant::now() + Duration::from_secs(100);
        let mut bucket = Bucket::full(40, 20, begin);
        for _ in 0..40 {
            assert_eq!(bucket.take(begin), Ok(()));
        }
        assert_eq!(bucket.take(begin), Err(Duration::from_millis(50)));
        assert_eq!(bucket.take(begin + Duration::from_millis(50)), Ok(()));
        assert!(bucket.take(begin + Duration::from_millis(99)).is_err());
        assert_eq!(bucket.take(begin + Duration::from_millis(100)), Ok(()));
    }

    #[test]
    fn however_long_nothing_was_taken_it_is_only_full() {
        let begin = Instant::now() + Duration::from_secs(100);
        let mut bucket = Bucket::full(2, 1, begin);
        let later = begin + Duration::from_secs(3600);
        assert!(bucket.take(later).is_ok() && bucket.take(later).is_ok());
        assert!(bucket.take(later).is_err());
    }

    #[test]
    fn everybody_has_a_bucket_of_their_own() {
        let begin = Instant::now() + Duration::from_secs(100);
        let each = Each::full(2, 1, begin);
        for user in ["a", "b"] {
            assert!(each.take(user, begin).is_ok() && each.take(user, begin).is_ok());
            assert_eq!(each.take(user, begin), Err(Duration::from_secs(1)));
        }
    }

    #[test]
    fn beyond_so_many_some_share_a_bucket_until_others_are_full_again() {
        let begin = Instant::now() + Duration::from_secs(100);
        let each = Each::full(1, 1, begin);
        let many = RATE_KEYS + 10 * usize::try_from(RATE_SHARED).unwrap();
        let taken = (0..many).filter(|key| each.take(*key, begin).is_ok()).count();
        assert!(taken > RATE_KEYS && taken <= RATE_KEYS + usize::try_from(RATE_SHARED).unwrap(), "{taken}");
        assert_eq!(each.buckets.lock().own.len(), RATE_KEYS);
        assert!(each.take(0, begin).is_err(), "who has one keeps it");
        let later = begin + Duration::from_secs(2);
        assert_eq!(each.take(many, later), Ok(()));
        assert_eq!(each.buckets.lock().own.len(), 1);
    }
}
