//! `Vary` in one line: each layer adds its own, and some caches look at the first only.

use http::header::VARY;
use http::{HeaderMap, HeaderValue};

/// Makes one list of several, without what stands in it twice.
pub(super) fn join(headers: &mut HeaderMap) {
    if headers.get_all(VARY).iter().nth(1).is_none() {
        return;
    }
    let mut names: Vec<String> = Vec::new();
    let values = headers.get_all(VARY).iter().filter_map(|value| value.to_str().ok());
    for name in values.flat_map(|value| value.split(',')).map(str::trim).filter(|name| !name.is_empty()) {
        if !names.iter().any(|known| known.eq_ignore_ascii_case(name)) {
            names.push(name.to_owned());
        }
    }
    if let Ok(one) = HeaderValue::try_from(names.join(", ")) {
        headers.insert(VARY, one);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn several_lists_become_one_and_a_single_one_stays_as_it_is() {
        let mut headers = HeaderMap::new();
        join(&mut headers);
        assert!(headers.is_empty());
        for value in ["Authorization, Accept-Encoding", "accept-encoding", "origin"] {
            headers.append(VARY, HeaderValue::from_static(value));
        }
        join(&mut headers);
        assert_eq!(
            headers.get_all(VARY).iter().collect::<Vec<_>>(),
            ["Authorization, Accept-Encoding, origin"]
        );
        headers.insert(VARY, HeaderValue::from_static("a,b , a"));
        join(&mut headers);
        assert_eq!(headers["vary"], "a,b , a");
    }
}
