//! What can be cached.

use serde::{Serialize, de::DeserializeOwned};
use std::io;

/// How a value's bytes are written. Part of every envelope: bytes written one way are never read another.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
#[non_exhaustive]
pub enum Codec {
    /// JSON: survives a changed struct across a rolling deploy, and people can read it.
    Json = 1,
    /// The type's own bytes.
    Raw = 2,
}

/// Why bytes could not be made of a value, or a value of bytes.
#[derive(Debug, thiserror::Error)]
#[error("the value cannot be {0}")]
pub struct CodecError(pub &'static str);

/// What can be cached: every owned type that serde can write and read, or a type that brings its own bytes.
#[diagnostic::on_unimplemented(
    message = "`{Self}` cannot be cached",
    note = "derive `serde::Serialize` and `serde::Deserialize` for it, without borrowed fields",
    note = "it must also be `Send + Sync + 'static`: loads run in a task of their own"
)]
pub trait Value: Sized + Send + Sync + 'static {
    /// How the bytes are written.
    const CODEC: Codec;

    /// Appends the bytes.
    ///
    /// # Errors
    /// If the value cannot be written; it is then served, but not kept.
    fn encode(&self, out: &mut Vec<u8>) -> Result<(), CodecError>;

    /// From bytes that may come from anywhere.
    ///
    /// # Errors
    /// If they are not such a value. This is a miss for the caller.
    fn decode(bytes: &[u8]) -> Result<Self, CodecError>;

    /// How many bytes [`Value::encode`] would append, or about as many.
    ///
    /// # Errors
    /// If the value cannot be written.
    fn encoded_len(&self) -> Result<usize, CodecError>;

    /// Bytes in memory, given the encoded length. Decoded values are larger than their bytes.
    fn weight(&self, encoded_len: usize) -> usize {
        encoded_len.saturating_mul(2)
    }
}

impl<T> Value for T
where
    T: Serialize + DeserializeOwned + Send + Sync + 'static,
{
    const CODEC: Codec = Codec::Json;

    fn encode(&self, out: &mut Vec<u8>) -> Result<(), CodecError> {
        serde_json::to_writer(out, self).map_err(|_| CodecError("written as JSON"))
    }

    fn decode(bytes: &[u8]) -> Result<Self, CodecError> {
        serde_json::from_slice(bytes).map_err(|_| CodecError("read from JSON"))
    }

    fn encoded_len(&self) -> Result<usize, CodecError> {
        let mut count = Count(0);
        serde_json::to_writer(&mut count, self).map_err(|_| CodecError("written as JSON"))?;
        Ok(count.0)
    }
}

/// Runs what a user's type brings. `None` if it panics: such a value is served and not kept, such bytes are no value.
pub(crate) fn shielded<R>(run: impl FnOnce() -> R) -> Option<R> {
    std::panic::catch_unwind(std::panic::AssertUnwindSafe(run)).ok()
}

/// How many bytes a value has encoded, and how many in memory; `None` if it cannot be written.
pub(crate) fn measure<T: Value>(value: Option<&T>) -> Option<(usize, usize)> {
    let Some(value) = value else { return Some((0, 0)) };
    shielded(|| value.encoded_len().map(|length| (length, value.weight(length))))?.ok()
}

/// Counts what is written to it.
struct Count(usize);

impl io::Write for Count {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.0 += bytes.len();
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_counted_length_is_the_written_length() {
        let value = vec![("a".to_owned(), 1), ("ü".to_owned(), -5)];
        let mut bytes = Vec::new();
        value.encode(&mut bytes).expect("serialisable");
        assert_eq!(value.encoded_len().expect("serialisable"), bytes.len());
        assert_eq!(Vec::<(String, i32)>::decode(&bytes).expect("the same"), value);
    }
}
