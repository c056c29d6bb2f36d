//! A place in a tenant's event log.

use std::fmt;
use std::str::FromStr;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, OnceLock};

/// A place in a tenant's event log: which history of the log, and how many of its events lie before or at it.
///
/// Written as text (`Display`, `FromStr`) it is `k3JxQ0aZ1:1017`.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Position {
    pub(crate) epoch: Arc<str>,
    pub(crate) offset: u64,
}

/// Bytes of an epoch's name at most: ours have 8.
const MAX_EPOCH_BYTES: usize = 32;

impl Position {
    pub(crate) fn new(epoch: impl Into<Arc<str>>, offset: u64) -> Self {
        Self { epoch: epoch.into(), offset }
    }

    /// The place of somebody who has seen nothing of which this node knows: Redis has not been in reach yet. It is of no
    /// history, so a [reset](crate::WatchNext::Reset) follows when it is.
    pub fn unknown() -> Self {
        Self::new("", 0)
    }

    /// Whether this is [`Position::unknown`].
    pub fn is_unknown(&self) -> bool {
        self.epoch.is_empty()
    }

    /// The history: a random name, made when the tenant's log begins. Another begins when events are lost or may have been
    /// lost; offsets of different histories can't be compared.
    pub fn epoch(&self) -> &str {
        &self.epoch
    }

    /// The number of an event, from 1; 0 is the place before the first.
    pub fn offset(&self) -> u64 {
        self.offset
    }
}

impl fmt::Display for Position {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{}", self.epoch, self.offset)
    }
}

/// The text is no position.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("this is no position in an event log: letters and digits, a colon, and a number")]
pub struct InvalidPosition;

impl FromStr for Position {
    type Err = InvalidPosition;

    fn from_str(text: &str) -> Result<Self, InvalidPosition> {
        let (epoch, offset) = text.split_once(':').ok_or(InvalidPosition)?;
        let named = epoch.len() <= MAX_EPOCH_BYTES && epoch.bytes().all(|byte| byte.is_ascii_alphanumeric());
        let number = !offset.is_empty() && offset.bytes().all(|byte| byte.is_ascii_digit());
        match offset.parse() {
            Ok(offset) if named && number => Ok(Self::new(epoch, offset)),
            _ => Err(InvalidPosition),
        }
    }
}

/// Makes names that nobody has used before: of epochs, and of events.
#[derive(Default)]
pub(crate) struct Names {
    /// Of this process: 9 letters and digits, which is about 47 random bits.
    process: OnceLock<String>,
    made: AtomicU64,
}

impl Names {
    pub(crate) fn next(&self) -> Arc<str> {
        let process = self.process.get_or_init(|| {
            let (mut name, eight) = (String::new(), 62u64.pow(8));
            write_digits(&mut name, eight + crate::remote::random_u64() % eight);
            name
        });
        let mut name = String::with_capacity(process.len() + 8);
        name.push_str(process);
        write_digits(&mut name, self.made.fetch_add(1, Ordering::Relaxed));
        name.into()
    }
}

/// In base 62, the lowest digit first.
fn write_digits(out: &mut String, mut number: u64) {
    const DIGITS: &[u8; 62] = b"0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz";
    loop {
        let digit = usize::try_from(number % 62).expect("below 62");
        out.push(char::from(DIGITS[digit]));
        number /= 62;
        if number == 0 {
            return;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_position_survives_as_text() {
        for position in [
            Position::new(Names::default().next(), 1017),
            Position::new("k3Jx", u64::MAX),
            Position::unknown(),
        ] {
            assert_eq!(position.to_string().parse(), Ok(position));
        }
    }

    #[test]
    fn what_is_no_position_is_refused() {
        let long = format!("{}:1", "e".repeat(MAX_EPOCH_BYTES + 1));
        for bad in [
            "",
            "k3Jx",
            "k3Jx:",
            "k3Jx:-1",
            "k3Jx:+1",
            "k3Jx:1:2",
            "k3 Jx:1",
            "é:1",
            "k:18446744073709551616",
            &long,
        ] {
            assert_eq!(bad.parse::<Position>(), Err(InvalidPosition), "{bad}");
        }
    }

    #[test]
    fn names_come_once() {
        let (one, other) = (Names::default(), Names::default());
        let names: std::collections::HashSet<_> =
            (0..200).map(|_| one.next()).chain([other.next()]).collect();
        assert_eq!(names.len(), 201);
        assert!(names.iter().all(|name| name.len() <= 12), "{names:?}");
    }
}
