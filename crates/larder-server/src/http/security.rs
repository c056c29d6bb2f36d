//! The headers of a hardened API.

use http::header::{
    CACHE_CONTROL, CONTENT_SECURITY_POLICY, REFERRER_POLICY, STRICT_TRANSPORT_SECURITY,
    X_CONTENT_TYPE_OPTIONS, X_FRAME_OPTIONS,
};
use http::{HeaderMap, HeaderName, HeaderValue};

const fn value(text: &'static str) -> HeaderValue {
    HeaderValue::from_static(text)
}

/// What is set unless a route has its own: a page brings its own policy, a cached route its own `Cache-Control`.
static DEFAULTS: [(HeaderName, HeaderValue); 8] = [
    (X_CONTENT_TYPE_OPTIONS, value("nosniff")),
    (X_FRAME_OPTIONS, value("DENY")),
    (REFERRER_POLICY, value("no-referrer")),
    (CONTENT_SECURITY_POLICY, value("default-src 'none'; frame-ancestors 'none'")),
    (HeaderName::from_static("cross-origin-opener-policy"), value("same-origin")),
    (HeaderName::from_static("cross-origin-resource-policy"), value("same-origin")),
    (HeaderName::from_static("permissions-policy"), value("camera=(), geolocation=(), microphone=()")),
    (CACHE_CONTROL, value("no-store")),
];

/// Adds them to the `headers` of a response that goes out by `https` or not.
pub(super) fn harden(headers: &mut HeaderMap, https: bool) {
    for (name, value) in &DEFAULTS {
        headers.entry(name).or_insert_with(|| value.clone());
    }
    // Over plain HTTP browsers must ignore it (RFC 6797 §7.2), so it isn't sent.
    if https {
        headers.entry(STRICT_TRANSPORT_SECURITY).or_insert(value("max-age=31536000; includeSubDomains"));
    }
}
