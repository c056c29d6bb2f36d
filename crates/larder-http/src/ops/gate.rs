//! Who may see what.

use std::net::IpAddr;

use axum::extract::FromRequestParts;
use http::header::{AUTHORIZATION, HOST};
use http::request::Parts;
use http::{HeaderMap, Uri};

use super::Ops;
use crate::problem::Problem;
use crate::who::{ClientAddr, Identity, Role};

/// Whoever asks: signed in or not, but never with a token that is not valid.
pub(super) struct Anyone(pub(super) Option<Identity>);

impl FromRequestParts<Ops> for Anyone {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, ops: &Ops) -> Result<Self, Problem> {
        ops.who.identify(&parts.headers).map(Self)
    }
}

/// Somebody who is signed in.
pub(super) struct SignedIn(pub(super) Identity);

impl FromRequestParts<Ops> for SignedIn {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, ops: &Ops) -> Result<Self, Problem> {
        ops.who.identify(&parts.headers)?.map(Self).ok_or_else(Problem::unauthorized)
    }
}

/// Somebody who operates the server.
pub(super) struct Admin;

impl FromRequestParts<Ops> for Admin {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, ops: &Ops) -> Result<Self, Problem> {
        match SignedIn::from_request_parts(parts, ops).await?.0.role {
            Role::Admin => Ok(Self),
            _ => Err(Problem::forbidden("this needs the role admin")),
        }
    }
}

/// A scraper: on this machine, or with the token for it.
pub(super) struct Scraper;

impl FromRequestParts<Ops> for Scraper {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, ops: &Ops) -> Result<Self, Problem> {
        let client = parts.extensions.get::<ClientAddr>();
        if client.is_some_and(|client| is_loopback(client.0, &parts.headers, &parts.uri)) {
            return Ok(Self);
        }
        match &ops.metrics_token {
            Some(token) if bearer(&parts.headers).is_some_and(|given| is_same(given, token)) => Ok(Self),
            Some(_) => Err(Problem::unauthorized()),
            None => Err(Problem::forbidden("metrics are for this machine only")),
        }
    }
}

/// Whether the client is this machine and `Host` says so too, which a page of another site that has its name resolved
/// to 127.0.0.1 can't.
#[must_use]
pub fn is_loopback(client: IpAddr, headers: &HeaderMap, uri: &Uri) -> bool {
    let host = match headers.get(HOST) {
        Some(value) => value.to_str().ok(),
        // HTTP/2 has it in the URI.
        None => uri.authority().map(http::uri::Authority::as_str),
    };
    client.to_canonical().is_loopback() && host.is_some_and(names_this_machine)
}

fn names_this_machine(host: &str) -> bool {
    let name = match host.rsplit_once(':') {
        Some((name, port)) if port.bytes().all(|byte| byte.is_ascii_digit()) => name,
        _ => host,
    };
    let bare = name.strip_prefix('[').and_then(|name| name.strip_suffix(']')).unwrap_or(name);
    name.eq_ignore_ascii_case("localhost") || bare.parse::<IpAddr>().is_ok_and(|ip| ip.is_loopback())
}

fn bearer(headers: &HeaderMap) -> Option<&str> {
    let (scheme, token) = headers.get(AUTHORIZATION)?.to_str().ok()?.split_once(' ')?;
    scheme.eq_ignore_ascii_case("bearer").then(|| token.trim())
}

/// Compares in a time that does not tell how much of it is right.
fn is_same(given: &str, token: &str) -> bool {
    let differ =
        given.bytes().zip(token.bytes()).fold(0, |differ, (a, b)| std::hint::black_box(differ | (a ^ b)));
    given.len() == token.len() && differ == 0
}

#[cfg(test)]
mod tests {
    use super::*;

    fn is_here(client: &str, host: Option<&str>, uri: &'static str) -> bool {
        let mut headers = HeaderMap::new();
        if let Some(host) = host {
            headers.insert(HOST, host.parse().unwrap());
        }
        is_loopback(client.parse().unwrap(), &headers, &Uri::from_static(uri))
    }

    #[test]
    fn only_this_machine_under_its_own_name_is_here() {
        for host in ["localhost", "LOCALHOST:8000", "127.0.0.1:8000", "127.0.0.1", "[::1]:8000", "[::1]"] {
            assert!(is_here("127.0.0.1", Some(host), "/metrics"), "{host}");
        }
        for host in ["evil.example", "localhost.evil.example:80", "10.0.0.1", "", "127.0.0.1.evil.example"] {
            assert!(!is_here("127.0.0.1", Some(host), "/metrics"), "{host}");
        }
        assert!(is_here("::1", Some("localhost"), "/"));
        assert!(is_here("::ffff:127.0.0.1", Some("localhost"), "/"));
        assert!(!is_here("198.51.100.7", Some("localhost"), "/"));
        assert!(!is_here("127.0.0.1", None, "/metrics"));
        assert!(is_here("127.0.0.1", None, "http://localhost:8000/metrics"));
        assert!(!is_here("127.0.0.1", Some("evil.example"), "http://localhost:8000/metrics"));
    }

    #[test]
    fn a_token_is_right_only_as_a_whole() {
        assert!(is_same("secret", "secret"));
        for wrong in ["secre", "secrets", "secreT", "", "Secret"] {
            assert!(!is_same(wrong, "secret"), "{wrong}");
        }
    }
}
