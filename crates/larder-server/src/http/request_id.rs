//! `X-Request-Id`: taken where it is sane, made otherwise.

use http::{HeaderMap, HeaderName, HeaderValue};
use uuid::Uuid;

use crate::limits::REQUEST_ID_BYTES;

pub(super) const REQUEST_ID: HeaderName = HeaderName::from_static("x-request-id");

/// The id of a request with `headers`: visible ASCII without quotes, so that it can stand in any log line.
pub(super) fn of(headers: &HeaderMap) -> HeaderValue {
    let sane = |value: &&HeaderValue| {
        let bytes = value.as_bytes();
        let fits = !bytes.is_empty() && bytes.len() <= REQUEST_ID_BYTES;
        fits && bytes.iter().all(|byte| byte.is_ascii_graphic() && !matches!(byte, b'"' | b'\\'))
    };
    match headers.get(REQUEST_ID).filter(sane) {
        Some(given) => given.clone(),
        None => HeaderValue::try_from(Uuid::now_v7().to_string()).expect("an id is ASCII"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn taken(given: &[u8]) -> bool {
        let mut headers = HeaderMap::new();
        headers.insert(REQUEST_ID, HeaderValue::from_bytes(given).unwrap());
        of(&headers).as_bytes() == given
    }

    #[test]
    fn a_sane_id_is_taken_and_any_other_replaced() {
        assert!(taken(b"trace-42/a:b"));
        assert!(taken(&[b'x'; 128]));
        assert!(!taken(&[b'x'; 129]));
        assert!(!taken(b"two words"));
        assert!(!taken(b"quo\"te"));
        assert!(!taken("é".as_bytes()));
        assert!(!taken(b""));
        assert_ne!(of(&HeaderMap::new()), of(&HeaderMap::new()));
    }
}
