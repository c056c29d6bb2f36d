//! Reading answers: exact numbers, strings, arrays. What makes no sense is [`StoreErrorKind::Protocol`].

use crate::store::{StoreError, StoreErrorKind};
use bytes::Bytes;
use redis::Value;
use std::{collections::BTreeMap, time::Duration};

/// Stamps are doubles in Redis; below this they are exact integers.
const EXACT: f64 = 9_007_199_254_740_992.0;

pub(super) fn nonsense(what: &'static str) -> StoreError {
    StoreError::new(StoreErrorKind::Protocol, what)
}

/// An integer from 0 to 2^53 - 1, exactly, whatever the server's way of writing doubles.
pub(super) fn exact(number: f64) -> Option<u64> {
    if !(0.0..EXACT).contains(&number) || number.fract() != 0.0 {
        return None;
    }
    // Formatting an integral double below 2^53 writes all its digits.
    format!("{number:.0}").parse().ok()
}

/// The same from text.
pub(super) fn exact_text(text: &[u8]) -> Option<u64> {
    let text = std::str::from_utf8(text).ok()?;
    text.parse().ok().filter(|n| *n < 1 << 53).or_else(|| exact(text.parse().ok()?))
}

/// The score of a member: `None` where there is no such member.
pub(super) fn score(value: &Value) -> Result<Option<f64>, StoreError> {
    match value {
        Value::Nil => Ok(None),
        Value::Double(number) => Ok(Some(*number)),
        Value::BulkString(text) => {
            let text = std::str::from_utf8(text).ok().and_then(|text| text.parse().ok());
            text.map(Some).ok_or_else(|| nonsense("a score is no number"))
        }
        _ => Err(nonsense("a score is no number")),
    }
}

/// The score of a member that holds a stamp.
pub(super) fn stamp(value: &Value) -> Result<Option<u64>, StoreError> {
    match score(value)? {
        None => Ok(None),
        Some(number) => exact(number).map(Some).ok_or_else(|| nonsense("a stamp is no exact integer")),
    }
}

/// A stored value; what is no string (another type lives under the key) counts as absent.
pub(super) fn stored(value: Value) -> Option<Bytes> {
    match value {
        Value::BulkString(bytes) => Some(bytes.into()),
        _ => None,
    }
}

/// Text in any of the forms that servers send it in.
pub(super) fn text(value: &Value) -> Option<&str> {
    match value {
        Value::BulkString(bytes) => std::str::from_utf8(bytes).ok(),
        Value::SimpleString(text) | Value::VerbatimString { text, .. } => Some(text),
        Value::Okay => Some("OK"),
        _ => None,
    }
}

/// The answer of a script: a word and what follows it.
pub(super) struct Answer<'a> {
    word: &'a str,
    rest: &'a [Value],
}

impl<'a> Answer<'a> {
    pub(super) fn new(value: &'a Value) -> Result<Self, StoreError> {
        let Value::Array(items) = value else { return Err(nonsense("a script answered no array")) };
        let (word, rest) = items.split_first().ok_or_else(|| nonsense("a script answered nothing"))?;
        let word = text(word).ok_or_else(|| nonsense("a script answered no word"))?;
        Ok(Self { word, rest })
    }

    pub(super) fn word(&self) -> &'a str {
        self.word
    }

    /// The exact integer at this place after the word.
    pub(super) fn number(&self, place: usize) -> Result<u64, StoreError> {
        let text = self.text(place)?;
        exact_text(text.as_bytes()).ok_or_else(|| nonsense("a script answered no exact integer"))
    }

    /// The text at this place after the word.
    pub(super) fn text(&self, place: usize) -> Result<&'a str, StoreError> {
        self.rest.get(place).and_then(text).ok_or_else(|| nonsense("a script's answer is too short"))
    }

    /// All texts from this place after the word on.
    pub(super) fn texts(&self, from: usize) -> Result<Vec<String>, StoreError> {
        (from..self.len()).map(|place| self.text(place).map(str::to_owned)).collect()
    }

    /// How much follows the word.
    pub(super) fn len(&self) -> usize {
        self.rest.len()
    }

    /// The microseconds at this place after the word.
    pub(super) fn micros(&self, place: usize) -> Result<Duration, StoreError> {
        self.number(place).map(Duration::from_micros)
    }
}

/// The fields of `INFO`.
pub(super) fn info(value: &Value) -> Result<BTreeMap<String, String>, StoreError> {
    let text = text(value).ok_or_else(|| nonsense("INFO answered no text"))?;
    let fields = text.lines().filter(|line| !line.starts_with('#')).filter_map(|line| line.split_once(':'));
    Ok(fields.map(|(name, value)| (name.to_owned(), value.trim_end().to_owned())).collect())
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn stamps_are_read_exactly_in_every_way_that_servers_write_them() {
        let at = 1_763_640_000_000_001;
        for form in ["1763640000000001", "1.763640000000001e+15", "1763640000000001.0"] {
            assert_eq!(exact_text(form.as_bytes()), Some(at), "{form}");
        }
        assert_eq!(exact_text(b"9007199254740991"), Some((1 << 53) - 1));
        assert_eq!(exact_text(b"9007199254740992"), None);
        for bad in ["", "-1", "1.5", "nan", "inf", "x", "1e400"] {
            assert_eq!(exact_text(bad.as_bytes()), None, "{bad}");
        }
    }

    proptest! {
        #[test]
        fn every_integer_below_2_to_the_53_survives_a_double(n in 0u64..1 << 53) {
            let double: f64 = n.to_string().parse().unwrap();
            prop_assert_eq!(exact(double), Some(n));
            prop_assert_eq!(exact_text(format!("{double:e}").as_bytes()), Some(n));
        }
    }

    #[test]
    fn info_is_read_line_by_line() {
        let raw = Value::BulkString(
            b"# Server\r\nredis_version:7.0.15\r\nlistener0:name=tcp,port=1:2\r\n".to_vec(),
        );
        let fields = info(&raw).unwrap();
        assert_eq!(fields["redis_version"], "7.0.15");
        assert_eq!(fields["listener0"], "name=tcp,port=1:2");
    }
}
