//! Turns what the cache brought into an HTTP response.
//!
//! Of a hit, only `Age` and `Cache-Status` are written anew; everything else is there already.

use std::fmt::Write;
use std::time::Duration;

use axum::extract::FromRequestParts;
use axum::response::{IntoResponse, Response};
use http::header::{AGE, CACHE_CONTROL, CONTENT_TYPE, ETAG, IF_NONE_MATCH, VARY};
use http::request::Parts;
use http::{HeaderMap, HeaderName, HeaderValue, StatusCode};
use larder::{Outcome, Status, Tier};

use crate::rendered::Rendered;

/// How the lookup ended, in one word.
pub const X_CACHE: HeaderName = HeaderName::from_static("x-cache");
/// RFC 9211.
pub const CACHE_STATUS: HeaderName = HeaderName::from_static("cache-status");
/// <https://www.w3.org/TR/server-timing/>
pub const SERVER_TIMING: HeaderName = HeaderName::from_static("server-timing");

/// Whether an answer depends on who asked.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Audience {
    /// It depends on the token: no shared cache may keep it.
    Private,
    /// It is the same for everybody.
    Public,
}

/// What the client has already: its `If-None-Match`.
#[derive(Debug, Clone, Default)]
pub struct Conditions(Option<HeaderValue>);

impl Conditions {
    /// Takes them out of the headers of a request. Several fields count as one list (RFC 9110 §5.2), but clients send
    /// one; of several only the first is looked at, which can only lead to a needless 200.
    #[must_use]
    pub fn of(headers: &HeaderMap) -> Self {
        Self(headers.get(IF_NONE_MATCH).cloned())
    }

    /// Whether the client has this already. Weak comparison (RFC 9110 §13.1.2).
    #[must_use]
    pub fn has(&self, etag: &HeaderValue) -> bool {
        let Some(Ok(list)) = self.0.as_ref().map(HeaderValue::to_str) else { return false };
        let Ok(etag) = etag.to_str() else { return false };
        list.split(',').map(str::trim).any(|tag| tag == "*" || opaque(tag) == opaque(etag))
    }
}

impl<S: Send + Sync> FromRequestParts<S> for Conditions {
    type Rejection = std::convert::Infallible;

    async fn from_request_parts(parts: &mut Parts, _: &S) -> Result<Self, Self::Rejection> {
        Ok(Self::of(&parts.headers))
    }
}

fn opaque(tag: &str) -> &str {
    tag.strip_prefix("W/").unwrap_or(tag)
}

/// The response for a cached value: 200 with its bytes, or 304 where the client has them.
#[must_use]
pub fn cached(audience: Audience, conditions: &Conditions, rendered: &Rendered, status: &Status) -> Response {
    let mut response = if conditions.has(rendered.etag()) {
        StatusCode::NOT_MODIFIED.into_response()
    } else {
        let mut response = rendered.body().clone().into_response();
        response.headers_mut().insert(CONTENT_TYPE, rendered.content_type().clone());
        response
    };
    let headers = response.headers_mut();
    headers.insert(ETAG, rendered.etag().clone());
    add_headers(headers, audience, status);
    response
}

/// Says how the lookup ended, and that a cache between here and there must ask again.
pub fn add_headers(headers: &mut HeaderMap, audience: Audience, status: &Status) {
    headers.reserve(8);
    let control = match audience {
        Audience::Private => HeaderValue::from_static("private, no-cache"),
        Audience::Public => HeaderValue::from_static("no-cache"),
    };
    headers.insert(CACHE_CONTROL, control);
    headers.insert(VARY, HeaderValue::from_static("Authorization, Accept-Encoding"));
    headers.insert(X_CACHE, HeaderValue::from_static(status.outcome.as_str()));
    headers.insert(AGE, HeaderValue::from(status.age.as_secs()));
    headers.insert(CACHE_STATUS, cache_status(status));
    headers.insert(SERVER_TIMING, server_timing(status));
}

/// RFC 9211: `hit` or `fwd` with the reason, then `ttl` (remaining, negative when stale), then the tier as `detail`.
fn cache_status(status: &Status) -> HeaderValue {
    let seconds = status.ttl.as_secs();
    let mut text = String::with_capacity(64);
    let written = match status.outcome {
        Outcome::Hit => write!(text, "larder; hit; ttl={seconds}; detail={}", status.tier.as_str()),
        // The value is past its TTL by an unknown time of at least one second.
        Outcome::Stale => write!(text, "larder; hit; ttl=-1; detail={}-stale", status.tier.as_str()),
        Outcome::Miss if status.coalesced => {
            write!(text, "larder; fwd=miss; collapsed; ttl={seconds}; detail={}", status.tier.as_str())
        }
        Outcome::Miss => {
            write!(text, "larder; fwd=miss; stored; ttl={seconds}; detail={}", status.tier.as_str())
        }
        Outcome::Bypass => write!(text, "larder; fwd=bypass; detail={}", status.tier.as_str()),
    };
    written.expect("a string takes everything");
    HeaderValue::try_from(text).expect("digits and letters are visible ASCII")
}

fn server_timing(status: &Status) -> HeaderValue {
    match (status.outcome, status.tier, status.load) {
        (Outcome::Hit, Tier::Memory, _) => HeaderValue::from_static("cache;desc=\"HIT memory\""),
        (Outcome::Hit, Tier::Redis, _) => HeaderValue::from_static("cache;desc=\"HIT redis\""),
        (outcome, _, load) => {
            let millis = load.unwrap_or(Duration::ZERO).as_secs_f64() * 1000.0;
            let text = format!("cache;desc=\"{}\", load;dur={millis:.1}", outcome.as_str());
            HeaderValue::try_from(text).expect("digits and letters are visible ASCII")
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn status(outcome: Outcome, tier: Tier) -> Status {
        let (age, ttl) = (Duration::from_millis(61_900), Duration::from_secs(239));
        Status { outcome, tier, coalesced: false, age, ttl, load: None }
    }

    fn asked(if_none_match: &str) -> Conditions {
        let mut headers = HeaderMap::new();
        headers.insert(IF_NONE_MATCH, if_none_match.parse().unwrap());
        Conditions::of(&headers)
    }

    #[test]
    fn a_hit_says_so_in_every_header() {
        let rendered = Rendered::json(&[1]).unwrap();
        let hit = status(Outcome::Hit, Tier::Memory);
        let response = cached(Audience::Private, &Conditions::default(), &rendered, &hit);
        let headers = response.headers();
        assert_eq!(response.status(), 200);
        assert_eq!(headers["x-cache"], "HIT");
        assert_eq!(headers["cache-status"], "larder; hit; ttl=239; detail=memory");
        assert_eq!(headers["age"], "61");
        assert_eq!(headers["cache-control"], "private, no-cache");
        assert_eq!(headers["vary"], "Authorization, Accept-Encoding");
        assert_eq!(headers["content-type"], "application/json");
        assert_eq!(headers["server-timing"], "cache;desc=\"HIT memory\"");
    }

    #[test]
    fn a_client_that_has_it_gets_304_without_a_body_and_with_the_same_headers() {
        let rendered = Rendered::json(&[1]).unwrap();
        let etag = rendered.etag().to_str().unwrap().to_owned();
        let hit = status(Outcome::Hit, Tier::Redis);
        let strong = etag.trim_start_matches("W/").to_owned();
        for matching in [etag.clone(), strong, format!("\"other\", {etag}"), "*".into()] {
            let response = cached(Audience::Public, &asked(&matching), &rendered, &hit);
            assert_eq!(response.status(), 304, "{matching}");
            assert_eq!(response.headers()["etag"], etag);
            assert_eq!(response.headers()["cache-control"], "no-cache");
            assert!(response.headers().get("content-type").is_none());
        }
        for other in ["\"other\"", "", "W/\"\""] {
            assert_eq!(cached(Audience::Public, &asked(other), &rendered, &hit).status(), 200, "{other}");
        }
    }

    #[test]
    fn misses_stale_answers_and_bypasses_are_told_apart() {
        let text = |status: &Status| cache_status(status).to_str().unwrap().to_owned();
        let mut miss = status(Outcome::Miss, Tier::Origin);
        assert_eq!(text(&miss), "larder; fwd=miss; stored; ttl=239; detail=origin");
        miss.coalesced = true;
        assert_eq!(text(&miss), "larder; fwd=miss; collapsed; ttl=239; detail=origin");
        assert_eq!(text(&status(Outcome::Stale, Tier::Memory)), "larder; hit; ttl=-1; detail=memory-stale");
        assert_eq!(text(&status(Outcome::Bypass, Tier::Origin)), "larder; fwd=bypass; detail=origin");
        miss.load = Some(Duration::from_micros(12_340));
        assert_eq!(server_timing(&miss), "cache;desc=\"MISS\", load;dur=12.3");
    }
}
