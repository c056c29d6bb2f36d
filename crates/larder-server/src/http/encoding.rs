//! Clients that refuse every encoding that there is, the plain one included.

use axum::extract::Request;
use http::HeaderMap;
use http::header::ACCEPT_ENCODING;

/// Lets such a client have the plain answer (RFC 9110 §12.5.3 leaves that to the server). The layer that compresses would
/// make a 406 of it, with the body of the success, after a write has been done.
pub(super) async fn plain_rather_than_none(mut request: Request) -> Request {
    if refuses_all(request.headers()) {
        request.headers_mut().remove(ACCEPT_ENCODING);
    }
    request
}

/// Whether `Accept-Encoding` refuses the plain answer and offers nothing that we have instead.
fn refuses_all(headers: &HeaderMap) -> bool {
    let values = headers.get_all(ACCEPT_ENCODING).iter().filter_map(|value| value.to_str().ok());
    let (mut plain, mut others) = (None, None);
    for (coding, wanted) in values.flat_map(|value| value.split(',')).map(offer) {
        match coding.as_str() {
            "gzip" | "x-gzip" | "br" | "zstd" if wanted => return false,
            "identity" => plain = Some(wanted),
            "*" => others = Some(wanted),
            _ => {}
        }
    }
    !plain.or(others).unwrap_or(true) && others != Some(true)
}

/// A coding, and whether it is wanted: its weight is not 0.
fn offer(item: &str) -> (String, bool) {
    let mut parts = item.split(';').map(str::trim);
    let coding = parts.next().unwrap_or_default().to_ascii_lowercase();
    let weight = parts.find_map(|part| part.strip_prefix("q=").or_else(|| part.strip_prefix("Q=")));
    (coding, weight.and_then(|weight| weight.trim().parse::<f32>().ok()).is_none_or(|weight| weight > 0.0))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_who_refuses_the_plain_answer_and_wants_no_other_of_ours_refuses_all() {
        for (value, all) in [
            ("*;q=0", true),
            ("identity;q=0", true),
            ("deflate, identity; q=0.0", true),
            ("gzip;q=0, *;q=0", true),
            ("", false),
            ("gzip", false),
            ("deflate", false),
            ("gzip;q=0", false),
            ("br;q=0.1, *;q=0", false),
            ("identity, *;q=0", false),
            ("identity;q=0, *", false),
        ] {
            let headers = HeaderMap::from_iter([(ACCEPT_ENCODING, value.parse().unwrap())]);
            assert_eq!(refuses_all(&headers), all, "{value:?}");
        }
        assert!(!refuses_all(&HeaderMap::new()));
    }
}
