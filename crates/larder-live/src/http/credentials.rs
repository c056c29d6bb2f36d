//! Where a token may stand in a request: PROTOCOL.md §2.

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use http::HeaderMap;
use http::header::{AUTHORIZATION, COOKIE, SEC_WEBSOCKET_PROTOCOL};

use super::origin::Origin;
use crate::protocol::SUBPROTOCOL;

/// Before the token in a sub-protocol.
const BEARER: &str = "bearer.";

/// The token of the `Authorization` header. What is there but no bearer is an empty token, which nobody takes.
pub(super) fn header(headers: &HeaderMap) -> Option<String> {
    let value = headers.get(AUTHORIZATION)?;
    let token = value.to_str().ok().and_then(|text| text.split_once(' '));
    let token = token.filter(|(scheme, _)| scheme.eq_ignore_ascii_case("bearer"));
    Some(token.map_or_else(String::new, |(_, token)| token.trim().to_owned()))
}

/// The token of the configured cookie, if the page that sent it may connect: browsers send cookies along with whatever any page
/// asks for.
pub(super) fn cookie(headers: &HeaderMap, name: Option<&str>, origin: Origin) -> Option<String> {
    let name = name.filter(|_| origin == Origin::Allowed)?;
    let all = headers.get_all(COOKIE).iter().filter_map(|value| value.to_str().ok());
    let mut pairs = all.flat_map(|line| line.split(';')).filter_map(|pair| pair.trim().split_once('='));
    pairs.find(|(key, _)| *key == name).map(|(_, value)| value.trim_matches('"').to_owned())
}

/// The sub-protocols that a WebSocket client offers.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct Offered {
    /// Ours is among them.
    pub(super) ours: bool,
    /// Others are, which are not the token.
    pub(super) others: bool,
    /// One that holds a token.
    pub(super) token: Option<String>,
}

pub(super) fn offered(headers: &HeaderMap) -> Offered {
    let mut offered = Offered::default();
    let lines = headers.get_all(SEC_WEBSOCKET_PROTOCOL).iter();
    let names = lines.flat_map(|line| line.to_str().unwrap_or("?").split(','));
    for name in names.map(str::trim).filter(|name| !name.is_empty()) {
        if name == SUBPROTOCOL {
            offered.ours = true;
        } else if let Some(encoded) = name.strip_prefix(BEARER) {
            let token = URL_SAFE_NO_PAD.decode(encoded.trim_end_matches('=')).ok();
            offered.token = Some(token.and_then(|token| String::from_utf8(token).ok()).unwrap_or_default());
        } else {
            offered.others = true;
        }
    }
    offered
}

#[cfg(test)]
mod tests {
    use super::*;

    fn with(name: http::HeaderName, value: &str) -> HeaderMap {
        HeaderMap::from_iter([(name, value.parse().unwrap())])
    }

    #[test]
    fn the_header_holds_a_bearer_or_nothing_that_anybody_takes() {
        let token = |value: &str| header(&with(AUTHORIZATION, value));
        assert_eq!(token("Bearer a.b.c").as_deref(), Some("a.b.c"));
        assert_eq!(token("bearer  a.b.c").as_deref(), Some("a.b.c"));
        assert_eq!(token("Basic abc").as_deref(), Some(""));
        assert_eq!(token("a.b.c").as_deref(), Some(""));
        assert_eq!(header(&HeaderMap::new()), None);
    }

    #[test]
    fn a_cookie_counts_only_by_its_name_and_from_an_allowed_page() {
        let headers = with(COOKIE, "a=1; token=x.y.z; b=2");
        assert_eq!(cookie(&headers, Some("token"), Origin::Allowed).as_deref(), Some("x.y.z"));
        assert_eq!(cookie(&headers, Some("token"), Origin::None), None);
        assert_eq!(cookie(&headers, None, Origin::Allowed), None);
        assert_eq!(cookie(&headers, Some("other"), Origin::Allowed), None);
    }

    #[test]
    fn the_token_among_the_sub_protocols_is_decoded() {
        let encoded = URL_SAFE_NO_PAD.encode("a.b.c");
        let told = |value: &str| offered(&with(SEC_WEBSOCKET_PROTOCOL, value));
        assert_eq!(
            told(&format!("larder.v1, bearer.{encoded}")),
            Offered { ours: true, others: false, token: Some("a.b.c".into()) }
        );
        assert_eq!(told("graphql-ws"), Offered { ours: false, others: true, token: None });
        assert_eq!(told("larder.v1,bearer.!!!").token.as_deref(), Some(""));
        assert_eq!(offered(&HeaderMap::new()), Offered::default());
    }
}
