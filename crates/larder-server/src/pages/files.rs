//! Handing out what is in the program: typed, tagged, and asked for again by its tag only.

use std::hash::{DefaultHasher, Hash, Hasher};

use axum::response::{IntoResponse, Response};
use bytes::Bytes;
use http::header::{CACHE_CONTROL, CONTENT_SECURITY_POLICY, CONTENT_TYPE, ETAG, IF_NONE_MATCH};
use http::{HeaderMap, StatusCode};

/// Scripts and styles come from files of ours, and from nowhere else.
const POLICY: &str = "default-src 'none'; script-src 'self'; style-src 'self'; connect-src 'self'; img-src 'self' data:; \
                      base-uri 'none'; form-action 'self'; frame-ancestors 'none'";

pub(super) const HTML: &str = "text/html; charset=utf-8";
pub(super) const CSS: &str = "text/css; charset=utf-8";
pub(super) const SCRIPT: &str = "text/javascript; charset=utf-8";

/// A file of the program: where it is handed out, its type, what it holds.
#[derive(Clone, Copy)]
pub(super) struct File {
    pub(super) path: &'static str,
    pub(super) kind: &'static str,
    pub(super) text: &'static str,
}

impl File {
    pub(super) const fn new(path: &'static str, kind: &'static str, text: &'static str) -> Self {
        Self { path, kind, text }
    }
}

/// What is handed out, with its tag.
#[derive(Clone)]
pub(super) struct Page {
    kind: &'static str,
    body: Bytes,
    tag: String,
}

impl Page {
    pub(super) fn new(kind: &'static str, body: impl Into<Bytes>) -> Self {
        let body = body.into();
        let mut hasher = DefaultHasher::new();
        body.hash(&mut hasher);
        // Weak: the same text may go out under another compression.
        Self { kind, tag: format!("W/\"{:016x}\"", hasher.finish()), body }
    }

    /// The answer to a request with these headers.
    pub(super) fn answer(&self, headers: &HeaderMap) -> Response {
        self.with(StatusCode::OK, headers)
    }

    /// The same under another status, for which nothing is left out.
    pub(super) fn with(&self, status: StatusCode, headers: &HeaderMap) -> Response {
        // Another version of the program has other pages, so they are asked for again.
        let told = [
            (CONTENT_TYPE, self.kind),
            (CONTENT_SECURITY_POLICY, POLICY),
            (CACHE_CONTROL, "no-cache"),
            (ETAG, self.tag.as_str()),
        ];
        if status == StatusCode::OK && is_known(headers, &self.tag) {
            return (StatusCode::NOT_MODIFIED, told).into_response();
        }
        (status, told, self.body.clone()).into_response()
    }
}

/// Whether the client has what is tagged so (RFC 9110 §13.1.2).
fn is_known(headers: &HeaderMap, tag: &str) -> bool {
    let lines = headers.get_all(IF_NONE_MATCH).iter().filter_map(|line| line.to_str().ok());
    let opaque = |tag: &str| tag.trim().trim_start_matches("W/").to_owned();
    lines.flat_map(|line| line.split(',')).any(|known| known.trim() == "*" || opaque(known) == opaque(tag))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn who_has_a_page_is_not_sent_it_again() {
        let page = Page::new(CSS, "body {}");
        let first = page.answer(&HeaderMap::new());
        assert_eq!(first.status(), 200);
        let tag = first.headers()[ETAG].to_str().unwrap().to_owned();
        let asked =
            |value: &str| page.answer(&HeaderMap::from_iter([(IF_NONE_MATCH, value.parse().unwrap())]));
        for known in
            [tag.clone(), format!("\"x\", {tag}"), tag.trim_start_matches("W/").to_owned(), "*".to_owned()]
        {
            assert_eq!(asked(&known).status(), 304, "{known}");
        }
        assert_eq!(asked("\"other\"").status(), 200);
        assert_ne!(Page::new(CSS, "p {}").tag, tag);
    }
}
