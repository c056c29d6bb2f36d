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

fn etag_of(body: &[u8]) -> HeaderValue {
    let tag = format!("W/\"{:032x}\"", xxh3_128(body));
    HeaderValue::try_from(tag).expect("hexadecimal digits and quotes are visible ASCII")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn equal_bodies_have_equal_tags_and_others_do_not() {
        let one = Rendered::json(&[1, 2, 3]).unwrap();
        assert_eq!(one.etag(), Rendered::json(&[1, 2, 3]).unwrap().etag());
        assert_ne!(one.etag(), Rendered::json(&[1, 2]).unwrap().etag());
        assert_eq!(one.body(), &Bytes::from_static(b"[1,2,3]"));
        assert!(one.etag().to_str().unwrap().starts_with("W/\""));
    }
}
