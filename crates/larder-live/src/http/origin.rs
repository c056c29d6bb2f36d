//! Which pages may connect: browsers let every page open a WebSocket to every server (cross-site WebSocket hijacking).

use http::HeaderMap;
use http::header::{HOST, ORIGIN};

use crate::live::AllowOrigin;

/// Where a request comes from.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Origin {
    /// No page: a program.
    None,
    /// A page that may connect.
    Allowed,
    /// A page that may not.
    Refused,
}

pub(super) fn of(headers: &HeaderMap, allow: &AllowOrigin) -> Origin {
    let Some(origin) = headers.get(ORIGIN) else { return Origin::None };
    let Ok(origin) = origin.to_str() else { return Origin::Refused };
    let host = headers.get(HOST).and_then(|host| host.to_str().ok());
    let same = match (origin.split_once("://"), host) {
        (Some((_, origin)), Some(host)) => origin.eq_ignore_ascii_case(host),
        _ => false,
    };
    if same || allow(origin) { Origin::Allowed } else { Origin::Refused }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::sync::Arc;

    #[test]
    fn the_servers_own_pages_and_those_that_are_allowed_may_connect() {
        let allow: AllowOrigin = Arc::new(|origin| origin == "https://app.example");
        for (origin, is) in [
            (None, Origin::None),
            (Some("https://app.example"), Origin::Allowed),
            (Some("http://server.example:8000"), Origin::Allowed),
            (Some("http://server.example"), Origin::Refused),
            (Some("https://evil.example"), Origin::Refused),
            (Some("https://app.example.evil.example"), Origin::Refused),
            (Some("null"), Origin::Refused),
        ] {
            let mut headers = HeaderMap::new();
            headers.insert(HOST, "server.example:8000".parse().unwrap());
            if let Some(origin) = origin {
                headers.insert(ORIGIN, origin.parse().unwrap());
            }
            assert_eq!(of(&headers, &allow), is, "{origin:?}");
        }
    }
}
