//! The place of an invalidation in the order of all.

use crate::coherence::Stamped;
use std::{fmt, num::ParseIntError, str::FromStr};

/// The place of an invalidation in the order of all.
///
/// Whoever is given one can read what was written before it on any node: [`Tenant::at_least`](crate::Tenant::at_least).
/// Written as text (`Display`, `FromStr`) it fits into a cookie or a header.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Stamp {
    pub(crate) epoch: u64,
    pub(crate) stamp: u64,
}

impl Stamp {
    /// Which history it belongs to: another one begins when Redis loses or may have lost something.
    pub fn epoch(&self) -> u64 {
        self.epoch
    }

    /// Its number in that history: later invalidations have higher ones.
    pub fn number(&self) -> u64 {
        self.stamp
    }
}

impl From<Stamped> for Stamp {
    fn from(at: Stamped) -> Self {
        Self { epoch: at.epoch, stamp: at.stamp }
    }
}

impl fmt::Display for Stamp {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:x}.{:x}", self.epoch, self.stamp)
    }
}

/// The text is no stamp.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("this is no stamp: two hexadecimal numbers with a dot between them")]
pub struct InvalidStamp;

impl From<ParseIntError> for InvalidStamp {
    fn from(_: ParseIntError) -> Self {
        Self
    }
}

impl FromStr for Stamp {
    type Err = InvalidStamp;

    fn from_str(text: &str) -> Result<Self, InvalidStamp> {
        let (epoch, stamp) = text.split_once('.').ok_or(InvalidStamp)?;
        Ok(Self { epoch: u64::from_str_radix(epoch, 16)?, stamp: u64::from_str_radix(stamp, 16)? })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_stamp_survives_as_text() {
        let stamp = Stamp { epoch: u64::MAX, stamp: 1_763_640_000_000_001 };
        assert_eq!(stamp.to_string().parse(), Ok(stamp));
        for bad in ["", ".", "1", "1.", "x.1", "1.2.3", "10000000000000000.1"] {
            assert_eq!(bad.parse::<Stamp>(), Err(InvalidStamp), "{bad}");
        }
    }
}
