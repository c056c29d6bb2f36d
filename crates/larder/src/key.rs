//! Keys: a sequence of segments, encoded once into the form in which they are compared, hashed and stored.
//!
//! Segments are joined by `:`; a `:`, `%` or control character inside a segment is written as `%` and two hexadecimal
//! digits, so two different sequences never have the same encoding.

use crate::error::{Error, ErrorKind};
use crate::limits::MAX_KEY_BYTES;
use smallvec::SmallVec;
use std::fmt::{self, Write as _};

/// Names a cached value within a tenant. Made by [`key!`](crate::key!).
///
/// Keys up to 96 encoded bytes are made without an allocation. A key that is too long is not an error until it is
/// used: the call then fails with [`ErrorKind::InvalidKey`].
#[derive(Clone, PartialEq, Eq, Hash)]
pub struct Key {
    text: SmallVec<[u8; 96]>,
    segments: u16,
    /// Encoded bytes beyond the limit.
    beyond: u32,
}

impl Key {
    /// A key without a segment, to be pushed to. Without any it is refused when used.
    pub fn empty() -> Self {
        Self { text: SmallVec::new(), segments: 0, beyond: 0 }
    }

    /// The key with one more segment. An empty segment is a segment.
    #[must_use]
    pub fn with(mut self, segment: impl fmt::Display) -> Self {
        if self.segments > 0 {
            self.push_byte(b':');
        }
        self.segments = self.segments.saturating_add(1);
        write!(SegmentWriter(&mut self), "{segment}").expect("writing to memory does not fail");
        self
    }

    /// The encoded form.
    pub fn as_str(&self) -> &str {
        std::str::from_utf8(&self.text).unwrap_or("")
    }

    /// The first segment, encoded: the endpoint, as far as statistics are concerned.
    pub fn first_segment(&self) -> &str {
        let text = self.as_str();
        text.split_once(':').map_or(text, |(first, _)| first)
    }

    /// From the encoded form, as [`Key::as_str`] gives it, and from nothing else: every key that may be used has one
    /// encoding. The empty text is that of `key!("")`.
    ///
    /// # Errors
    /// [`ErrorKind::InvalidKey`] if the text is too long, holds what an encoding escapes, or an escape that no encoding
    /// has (`%61`, `%3a`).
    pub fn from_encoded(text: &str) -> Result<Self, Error> {
        if text.len() > MAX_KEY_BYTES {
            return Err(too_long(text.len()));
        }
        let mut key = Self::empty();
        for segment in text.split(':') {
            let segment = decode(segment).ok_or_else(|| {
                Error::new(ErrorKind::InvalidKey, "the text is not the encoded form of a key")
            })?;
            key = key.with(segment);
        }
        Ok(key)
    }

    /// How people see the key of a tenant (`campaigns:acme:page:1`); of shared entries, whose tenant is empty, without
    /// one (`threats:page=1`).
    ///
    /// Two entries can look the same: `key!("a", "acme")` of nobody's and `key!("a")` of the tenant `acme`. Whatever
    /// takes a name that people type knows of both ([`Cache::entries_named`](crate::Cache::entries_named)); nothing is
    /// stored or found by this form.
    pub fn render(&self, tenant: &str) -> String {
        let text = self.as_str();
        if tenant.is_empty() {
            return text.to_owned();
        }
        let tenant = Self::empty().with(tenant);
        match text.split_once(':') {
            Some((first, rest)) => format!("{first}:{}:{rest}", tenant.as_str()),
            None => format!("{text}:{}", tenant.as_str()),
        }
    }

    /// Byte offsets at which segments end: the boundaries of prefixes, the whole key included.
    pub(crate) fn boundaries(&self) -> impl Iterator<Item = usize> + '_ {
        let inner = self.text.iter().enumerate().filter_map(|(at, byte)| (*byte == b':').then_some(at));
        inner.chain(std::iter::once(self.text.len()))
    }

    pub(crate) fn check(&self) -> Result<(), Error> {
        if self.segments == 0 {
            return Err(Error::new(ErrorKind::InvalidKey, "the key has no segment"));
        }
        match usize::try_from(self.beyond).unwrap_or(usize::MAX) {
            0 => Ok(()),
            beyond => Err(too_long(MAX_KEY_BYTES.saturating_add(beyond))),
        }
    }

    fn push_byte(&mut self, byte: u8) {
        if self.text.len() < MAX_KEY_BYTES {
            self.text.push(byte);
        } else {
            self.beyond = self.beyond.saturating_add(1);
        }
    }
}

fn too_long(bytes: usize) -> Error {
    let why = format!(
        "the key has {bytes} encoded bytes, at most {MAX_KEY_BYTES}: put a hash of the long part into it"
    );
    Error::new(ErrorKind::InvalidKey, why)
}

/// The segment that is encoded so; `None` if none is.
pub(crate) fn decode(encoded: &str) -> Option<String> {
    let mut segment = Vec::with_capacity(encoded.len());
    let mut bytes = encoded.bytes();
    while let Some(byte) = bytes.next() {
        if is_plain(byte) {
            segment.push(byte);
            continue;
        }
        let digit = |byte: Option<u8>| HEX.iter().position(|digit| Some(*digit) == byte);
        let (high, low) = (digit(bytes.next())?, digit(bytes.next())?);
        let escaped = u8::try_from(high << 4 | low).ok()?;
        if byte != b'%' || is_plain(escaped) {
            return None;
        }
        segment.push(escaped);
    }
    String::from_utf8(segment).ok()
}

const HEX: &[u8; 16] = b"0123456789ABCDEF";

impl fmt::Debug for Key {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// Escapes what a segment may not hold.
struct SegmentWriter<'a>(&'a mut Key);

impl fmt::Write for SegmentWriter<'_> {
    fn write_str(&mut self, text: &str) -> fmt::Result {
        let key = &mut *self.0;
        if key.text.len() + text.len() <= MAX_KEY_BYTES && text.bytes().all(is_plain) {
            key.text.extend_from_slice(text.as_bytes());
            return Ok(());
        }
        for byte in text.bytes() {
            if is_plain(byte) {
                key.push_byte(byte);
            } else {
                key.push_byte(b'%');
                key.push_byte(HEX[usize::from(byte >> 4)]);
                key.push_byte(HEX[usize::from(byte & 15)]);
            }
        }
        Ok(())
    }
}

const fn is_plain(byte: u8) -> bool {
    byte >= 0x20 && byte != 0x7f && byte != b':' && byte != b'%'
}

/// Makes a [`Key`] of segments: anything that implements `Display`.
///
/// ```
/// let key = larder::key!("dashboard_trends", "days", 30);
/// assert_eq!(key.as_str(), "dashboard_trends:days:30");
/// assert_eq!(key.render("acme"), "dashboard_trends:acme:days:30");
/// ```
#[macro_export]
macro_rules! key {
    ($($segment:expr),+ $(,)?) => { $crate::Key::empty()$(.with(&$segment))+ };
}

/// Selects every key that begins with these segments. A segment is matched whole: `prefix!("users")` does not cover
/// `usersAbc`.
#[macro_export]
macro_rules! prefix {
    ($($segment:expr),+ $(,)?) => { $crate::Selector::Prefix($crate::key!($($segment),+)) };
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn segments_never_run_into_each_other() {
        assert_ne!(key!("a:b", "c"), key!("a", "b:c"));
        assert_ne!(key!("a%3Ab"), key!("a:b"));
        assert_ne!(key!("a"), key!("a", ""));
        assert_eq!(key!("stats", "").as_str(), "stats:");
    }

    #[test]
    fn control_characters_are_escaped_and_the_rest_is_kept() {
        assert_eq!(key!("a\0b", "*?[{", "🦀 x").as_str(), "a%00b:*?[{:🦀 x");
    }

    #[test]
    fn a_key_of_the_longest_length_is_taken_and_one_more_byte_refused() {
        assert!(key!("x".repeat(MAX_KEY_BYTES)).check().is_ok());
        let err = key!("x".repeat(MAX_KEY_BYTES + 1)).check().expect_err("too long");
        assert_eq!(err.kind(), ErrorKind::InvalidKey);
        assert!(key!(":".repeat(400)).check().is_err());
        let err = key!("x".repeat(1024), ":".repeat(341)).check().expect_err("2 KiB").to_string();
        assert!(err.contains("2048") && err.contains("1024"), "{err}");
    }

    #[test]
    fn a_key_without_segments_is_refused() {
        assert_eq!(Key::empty().check().expect_err("empty").kind(), ErrorKind::InvalidKey);
    }

    #[test]
    fn the_encoded_form_reads_back() {
        for key in
            [key!("campaigns", "a:b", 1), key!(""), key!("", ""), key!("a", ""), key!("x".repeat(1024))]
        {
            assert_eq!(Key::from_encoded(key.as_str()).expect("valid"), key);
        }
    }

    #[test]
    fn what_no_key_is_encoded_as_is_refused() {
        for text in ["%61", "%3a", "%", "a%3", "%C3%A9", "%E9", "a\0b", "a%zz", "%%3A", &"x".repeat(1025)] {
            assert_eq!(Key::from_encoded(text).expect_err(text).kind(), ErrorKind::InvalidKey);
        }
    }
}
