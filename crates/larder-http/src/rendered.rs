//! What a route caches: the bytes of its answer with everything that can be known about them, made once.

use bytes::Bytes;
use http::HeaderValue;
use serde::Serialize;
use xxhash_rust::xxh3::xxh3_128;

/// The media type of an API answer.
pub const JSON: HeaderValue = HeaderValue::from_static("application/json");

/// A body that is ready to be sent: a cache hit clones a reference count and formats nothing.
///
/// The `ETag` is weak, since compression changes the bytes but not the meaning (RFC 9110 §8.8.1).
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Rendered {
    body: Bytes,
    content_type: HeaderValue,
    etag: HeaderValue,
}

impl Rendered {
    /// Renders a value as JSON.
    ///
    /// # Errors
    /// Where the value can't be JSON, for instance a map whose keys are no strings.
    pub fn json<T: Serialize + ?Sized>(value: &T) -> Result<Self, serde_json::Error> {
        Ok(Self::new(serde_json::to_vec(value)?.into(), JSON))
    }

    /// Takes bytes as they are.
    #[must_use]
    pub fn new(body: Bytes, content_type: HeaderValue) -> Self {
        let etag = etag_of(&body);
        Self { body, content_type, etag }
    }

    /// The bytes; a clone shares them.
    #[must_use]
    pub fn body(&self) -> &Bytes {
        &self.body
    }

    /// The media type of the bytes.
    #[must_use]
    pub fn content_type(&self) -> &HeaderValue {
        &self.content_type
    }

    /// The weak validator of the bytes.
    #[must_use]
    pub fn etag(&self) -> &HeaderValue {
        &self.etag
    }
}

/// In Redis: one byte for the length of the content type, the content type, the body. The `ETag` is made again, which
/// takes less than reading it.
impl larder::Value for Rendered {
    const CODEC: larder::Codec = larder::Codec::Raw;

    fn encode(&self, out: &mut Vec<u8>) -> Result<(), larder::CodecError> {
        let content_type = self.content_type.as_bytes();
        let length = u8::try_from(content_type.len()).map_err(|_| TOO_LONG)?;
        out.push(length);
        out.extend_from_slice(content_type);
        out.extend_from_slice(&self.body);
        Ok(())
    }

    fn decode(bytes: &[u8]) -> Result<Self, larder::CodecError> {
        let (&length, rest) = bytes.split_first().ok_or(TRUNCATED)?;
        let (content_type, body) = rest.split_at_checked(usize::from(length)).ok_or(TRUNCATED)?;
        let content_type = HeaderValue::from_bytes(content_type).map_err(|_| NO_HEADER)?;
        Ok(Self::new(Bytes::copy_from_slice(body), content_type))
    }

    fn encoded_len(&self) -> Result<usize, larder::CodecError> {
        Ok(1 + self.content_type.len() + self.body.len())
    }

    fn weight(&self, encoded_len: usize) -> usize {
        encoded_len + size_of::<Self>() + self.etag.len()
    }
}

const TOO_LONG: larder::CodecError = larder::CodecError("written: its content type is too long");
const TRUNCATED: larder::CodecError = larder::CodecError("read: it is cut off");
const NO_HEADER: larder::CodecError = larder::CodecError("read: its content type is none");

fn etag_of(body: &[u8]) -> HeaderValue {
    let tag = format!("W/\"{:032x}\"", xxh3_128(body));
    HeaderValue::try_from(tag).expect("hexadecimal digits and quotes are visible ASCII")
}

#[cfg(test)]
mod tests {
    use super::*;
    use larder::Value;

    #[test]
    fn equal_bodies_have_equal_tags_and_others_do_not() {
        let one = Rendered::json(&[1, 2, 3]).unwrap();
        assert_eq!(one.etag(), Rendered::json(&[1, 2, 3]).unwrap().etag());
        assert_ne!(one.etag(), Rendered::json(&[1, 2]).unwrap().etag());
        assert_eq!(one.body(), &Bytes::from_static(b"[1,2,3]"));
        assert!(one.etag().to_str().unwrap().starts_with("W/\""));
    }

    #[test]
    fn what_is_written_is_read_back_whole() {
        let value = Rendered::new(Bytes::from_static(b"a\0b"), HeaderValue::from_static("text/plain"));
        let mut bytes = Vec::new();
        value.encode(&mut bytes).unwrap();
        assert_eq!(bytes.len(), value.encoded_len().unwrap());
        assert_eq!(Rendered::decode(&bytes).unwrap(), value);
    }

    #[test]
    fn bytes_that_are_no_such_value_are_refused() {
        for bad in [&b""[..], b"\x05text", b"\x02\n\nbody"] {
            assert!(Rendered::decode(bad).is_err(), "{bad:?}");
        }
    }
}
