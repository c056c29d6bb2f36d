//! Numbers that look random and are the same on every machine and in every version of every crate.

use uuid::{Builder, Uuid};

/// SplitMix64 (Steele, Lea, Flood: “Fast Splittable Pseudorandom Number Generators”, OOPSLA 2014).
#[derive(Debug, Clone)]
pub(super) struct Rng(u64);

impl Rng {
    /// A stream of its own for each table, so that a change of one changes no other.
    #[must_use]
    pub(super) fn new(table: &str) -> Self {
        Self(fnv1a(table))
    }

    /// The next 64 bits.
    pub(super) fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }

    /// A number from 0 to below `end`, which is not 0.
    pub(super) fn below(&mut self, end: i64) -> i64 {
        let end = u64::try_from(end.max(1)).unwrap_or(1);
        i64::try_from(self.next() % end).unwrap_or(0)
    }

    /// A number from `from` to `to`, both included.
    pub(super) fn between(&mut self, from: i64, to: i64) -> i64 {
        from + self.below(to - from + 1)
    }

    /// One of the things.
    ///
    /// # Panics
    /// Where there are none.
    pub(super) fn pick<'a, T>(&mut self, things: &'a [T]) -> &'a T {
        let count = i64::try_from(things.len()).unwrap_or(i64::MAX);
        &things[usize::try_from(self.below(count)).unwrap_or(0)]
    }

    /// One of the things; earlier ones come up more often.
    pub(super) fn pick_skewed<'a, T>(&mut self, things: &'a [T]) -> &'a T {
        let count = i64::try_from(things.len()).unwrap_or(i64::MAX);
        let (a, b) = (self.below(count), self.below(count));
        &things[usize::try_from(a.min(b)).unwrap_or(0)]
    }

    /// An id of version 7 that is as old as this time in microseconds.
    pub(super) fn id(&mut self, micros: i64) -> Uuid {
        let millis = u64::try_from(micros / 1000).unwrap_or(0);
        let mut random = [0; 10];
        random[..8].copy_from_slice(&self.next().to_be_bytes());
        random[8..].copy_from_slice(&self.next().to_be_bytes()[..2]);
        Builder::from_unix_timestamp_millis(millis, &random).into_uuid()
    }
}

fn fnv1a(text: &str) -> u64 {
    text.bytes()
        .fold(0xcbf2_9ce4_8422_2325, |hash, byte| (hash ^ u64::from(byte)).wrapping_mul(0x100_0000_01b3))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_stream_is_the_same_every_time_and_differs_between_tables() {
        let draw = |table| {
            let mut rng = Rng::new(table);
            [rng.next(), rng.next()]
        };
        assert_eq!(draw("leads"), draw("leads"));
        assert_ne!(draw("leads"), draw("posts"));
        let id = Rng::new("leads").id(1_763_600_000_123_456);
        assert_eq!((id.get_version_num(), id), (7, Rng::new("leads").id(1_763_600_000_123_999)));
    }
}
