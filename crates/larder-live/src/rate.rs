//! How often somebody may do something: a bucket of tokens.

use std::time::{Duration, Instant};

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
}
