//! CORS: which pages of other origins may call.

use std::time::Duration;

use http::header::{
    ACCEPT, AGE, AUTHORIZATION, CONTENT_TYPE, ETAG, HeaderName, IF_NONE_MATCH, LOCATION, ORIGIN, RETRY_AFTER,
};
use http::{HeaderValue, Method, request};
use tower_http::cors::{AllowOrigin, CorsLayer};

use super::request_id::REQUEST_ID;
use crate::config::value::Origins;

/// Allows `origins`; a refused one is logged with the setting that would allow it.
pub(super) fn layer(origins: Origins) -> CorsLayer {
    let allowed = move |origin: &HeaderValue, head: &request::Parts| {
        let allowed = origin.to_str().is_ok_and(|origin| origins.allow(origin)) || same_origin(origin, head);
        if !allowed {
            tracing::warn!(
                ?origin,
                setting = "CORS_ORIGINS",
                "refused a request from a page of another origin"
            );
        }
        allowed
    };
    CorsLayer::new()
        .allow_origin(AllowOrigin::predicate(allowed))
        .allow_methods([Method::GET, Method::HEAD, Method::POST, Method::PUT, Method::DELETE])
        .allow_headers([AUTHORIZATION, CONTENT_TYPE, ACCEPT, IF_NONE_MATCH, REQUEST_ID])
        .expose_headers([
            HeaderName::from_static("x-cache"),
            HeaderName::from_static("cache-status"),
            HeaderName::from_static("server-timing"),
            AGE,
            ETAG,
            LOCATION,
            RETRY_AFTER,
            REQUEST_ID,
        ])
        .max_age(Duration::from_secs(600))
        .vary([ORIGIN])
}

/// Browsers send `Origin` with some requests to the very server the page came from; nobody needs to allow those.
fn same_origin(origin: &HeaderValue, head: &request::Parts) -> bool {
    let host = head.headers.get(http::header::HOST).and_then(|host| host.to_str().ok());
    let host = host.or_else(|| head.uri.authority().map(|authority| authority.as_str()));
    let origin = origin.to_str().ok().and_then(|origin| origin.split_once("://"));
    matches!((origin, host), (Some((_, origin)), Some(host)) if origin.eq_ignore_ascii_case(host))
}
