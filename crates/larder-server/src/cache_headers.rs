//! What a cached answer says of itself.

use std::time::Duration;

use http::HeaderMap;

/// Whether the cache answered, as `X-Cache` says.
pub(crate) fn is_hit(headers: &HeaderMap) -> bool {
    headers.get("x-cache").is_some_and(|value| value == "HIT" || value == "STALE")
}

/// The remaining fresh time that `Cache-Status` tells.
pub(crate) fn ttl(headers: &HeaderMap) -> Option<Duration> {
    let status = headers.get("cache-status")?.to_str().ok()?;
    let ttl = status.split([';', ',']).find_map(|part| part.trim().strip_prefix("ttl="))?;
    ttl.parse().ok().map(Duration::from_secs)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn hits_and_ttl_are_read_from_the_headers() {
        let mut headers = HeaderMap::new();
        headers.insert("x-cache", "HIT".parse().unwrap());
        headers.insert("cache-status", "larder; hit; ttl=287; detail=memory".parse().unwrap());
        assert!(is_hit(&headers));
        assert_eq!(ttl(&headers), Some(Duration::from_secs(287)));
        headers.insert("x-cache", "MISS".parse().unwrap());
        headers.insert("cache-status", "larder; fwd=miss".parse().unwrap());
        assert!(!is_hit(&headers));
        assert_eq!(ttl(&headers), None);
    }
}
