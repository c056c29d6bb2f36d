//! The place of an invalidation in the order of all.

use crate::coherence::Stamped;
use crate::limits::MAX_BUCKETS;
use smallvec::SmallVec;
use std::{fmt, num::ParseIntError, str::FromStr};

/// The place of an invalidation in the order of all.
///
/// Whoever is given one can read what was written before it on any node: [`Tenant::at_least`](crate::Tenant::at_least).
/// Written as text (`Display`, `FromStr`) it fits into a cookie or a header: about 30 bytes for each bucket that the
/// invalidation touched, and that is one for everything that concerns a single tenant.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash)]
pub struct Stamp(SmallVec<[Part; 1]>);

/// The place in one bucket's order.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
struct Part {
    bucket: u16,
    epoch: u64,
    stamp: u64,
}

impl Stamp {
    pub(crate) fn new(bucket: u16, at: Stamped) -> Self {
        Self(SmallVec::from_buf([Part { bucket, epoch: at.epoch, stamp: at.stamp }]))
    }

    /// Both.
    pub(crate) fn and(&mut self, other: Self) {
        self.0.extend(other.0);
    }

    /// Both; of each bucket the later.
    pub(crate) fn and_later(&mut self, later: Self) {
        self.0.retain(|part| later.of(part.bucket).is_none());
        self.0.extend(later.0);
    }

    /// The place in this bucket's order; `None` if the bucket was not touched.
    pub(crate) fn of(&self, bucket: u16) -> Option<Stamped> {
        let part = self.0.iter().find(|part| part.bucket == bucket)?;
        Some(Stamped { epoch: part.epoch, stamp: part.stamp })
    }

    /// Bucket, epoch (which history of the bucket; another begins when Redis loses or may have lost something) and number
    /// (later invalidations have higher ones), of each bucket that was touched.
    pub fn parts(&self) -> impl Iterator<Item = (u16, u64, u64)> + '_ {
        self.0.iter().map(|part| (part.bucket, part.epoch, part.stamp))
    }
}

impl fmt::Display for Stamp {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (place, Part { bucket, epoch, stamp }) in self.0.iter().enumerate() {
            let between = if place == 0 { "" } else { "-" };
            write!(f, "{between}{bucket:x}.{epoch:x}.{stamp:x}")?;
        }
        Ok(())
    }
}

/// The text is no stamp.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error(
    "this is no stamp: three hexadecimal numbers with dots between them, once a bucket, with `-` between them"
)]
pub struct InvalidStamp;

impl From<ParseIntError> for InvalidStamp {
    fn from(_: ParseIntError) -> Self {
        Self
    }
}

impl FromStr for Stamp {
    type Err = InvalidStamp;

    fn from_str(text: &str) -> Result<Self, InvalidStamp> {
        let mut parts = SmallVec::new();
        for part in text.split('-') {
            let mut numbers = part.split('.');
            let mut next = || numbers.next().ok_or(InvalidStamp);
            let bucket = u16::from_str_radix(next()?, 16)?;
            let epoch = u64::from_str_radix(next()?, 16)?;
            let stamp = u64::from_str_radix(next()?, 16)?;
            let twice = parts.iter().any(|part: &Part| part.bucket == bucket);
            if numbers.next().is_some() || twice || parts.len() == usize::from(MAX_BUCKETS) {
                return Err(InvalidStamp);
            }
            parts.push(Part { bucket, epoch, stamp });
        }
        Ok(Self(parts))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_stamp_survives_as_text() {
        let mut stamp = Stamp::new(0, Stamped { epoch: u64::MAX, stamp: 1_763_640_000_000_001 });
        assert_eq!(stamp.to_string().parse(), Ok(stamp.clone()));
        stamp.and(Stamp::new(15, Stamped { epoch: 1, stamp: 2 }));
        assert_eq!(stamp.to_string().parse(), Ok(stamp.clone()));
        assert_eq!(stamp.of(15), Some(Stamped { epoch: 1, stamp: 2 }));
        assert_eq!(stamp.of(1), None);
        let long: Vec<String> = (0..65).map(|bucket| format!("{bucket:x}.1.1")).collect();
        let long = long.join("-");
        let wide = "1.10000000000000000.1";
        for bad in
            ["", ".", "1", "1.1", "x.1.1", "1.2.3.4", "1.2.3-", "1.1.1-1.1.2", "10000.1.1", wide, &long]
        {
            assert_eq!(bad.parse::<Stamp>(), Err(InvalidStamp), "{bad}");
        }
    }
}
