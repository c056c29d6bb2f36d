//! Who the client is, where a proxy stands in between.

use std::net::{IpAddr, SocketAddr};

use http::{HeaderMap, HeaderName};

use crate::config::value::Proxies;

const FORWARDED_FOR: HeaderName = HeaderName::from_static("x-forwarded-for");
const FORWARDED_PROTO: HeaderName = HeaderName::from_static("x-forwarded-proto");

/// The other end of the connection; the accept loop puts it into every request.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Peer(pub(crate) SocketAddr);

/// The client behind a request.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Client {
    /// Its address.
    pub(crate) ip: IpAddr,
    /// Whether it came by TLS, as far as a trusted proxy says so.
    pub(crate) https: bool,
}

/// The client of a request that `peer` sent with `headers`.
///
/// `X-Forwarded-For` is read from its end, where the nearest proxy wrote: each address is believed as long as the one after it
/// is a trusted proxy. What a client writes there itself stands before that and is never reached.
pub(crate) fn client(peer: SocketAddr, headers: &HeaderMap, proxies: &Proxies) -> Client {
    let mut ip = peer.ip().to_canonical();
    if proxies.0.is_empty() || !proxies.contain(ip) {
        return Client { ip, https: false };
    }
    for hop in hops(headers).rev() {
        let Some(address) = hop else { break };
        ip = address;
        if !proxies.contain(ip) {
            break;
        }
    }
    let proto = headers.get_all(FORWARDED_PROTO).iter().next_back().and_then(|value| value.to_str().ok());
    let nearest = proto.and_then(|list| list.rsplit(',').next()).map(str::trim);
    Client { ip, https: nearest.is_some_and(|scheme| scheme.eq_ignore_ascii_case("https")) }
}

/// The addresses of all `X-Forwarded-For` lines in order; nothing for one that can't be read.
fn hops(headers: &HeaderMap) -> impl DoubleEndedIterator<Item = Option<IpAddr>> {
    headers
        .get_all(FORWARDED_FOR)
        .iter()
        .flat_map(|value| value.to_str().unwrap_or("?").split(','))
        .map(|hop| {
            let hop = hop.trim();
            let bare = hop.trim_start_matches('[').trim_end_matches(']');
            let parsed = bare.parse().or_else(|_| hop.parse::<SocketAddr>().map(|address| address.ip()));
            parsed.ok().map(|ip: IpAddr| ip.to_canonical())
        })
        .collect::<Vec<_>>()
        .into_iter()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::value::Value;

    fn headers(forwarded: &[&str], proto: Option<&str>) -> HeaderMap {
        let mut headers = HeaderMap::new();
        for value in forwarded {
            headers.append(FORWARDED_FOR, value.parse().unwrap());
        }
        if let Some(proto) = proto {
            headers.insert(FORWARDED_PROTO, proto.parse().unwrap());
        }
        headers
    }

    fn ip(peer: &str, forwarded: &[&str], proxies: &str) -> String {
        let proxies = Proxies::parse(proxies).unwrap();
        client(format!("{peer}:1234").parse().unwrap(), &headers(forwarded, None), &proxies).ip.to_string()
    }

    #[test]
    fn without_trusted_proxies_the_peer_is_the_client_whatever_headers_say() {
        assert_eq!(ip("203.0.113.9", &["127.0.0.1"], ""), "203.0.113.9");
        assert_eq!(ip("203.0.113.9", &["127.0.0.1"], "10.0.0.0/8"), "203.0.113.9");
    }

    #[test]
    fn the_client_is_the_last_address_that_no_trusted_proxy_has() {
        let proxies = "10.0.0.0/8";
        assert_eq!(ip("10.0.0.1", &["198.51.100.7"], proxies), "198.51.100.7");
        assert_eq!(ip("10.0.0.1", &["198.51.100.7, 10.0.0.2"], proxies), "198.51.100.7");
        assert_eq!(ip("10.0.0.1", &["127.0.0.1, 198.51.100.7"], proxies), "198.51.100.7");
        assert_eq!(ip("10.0.0.1", &["127.0.0.1", "198.51.100.7"], proxies), "198.51.100.7");
        assert_eq!(ip("10.0.0.1", &["10.0.0.3"], proxies), "10.0.0.3");
        assert_eq!(ip("10.0.0.1", &[], proxies), "10.0.0.1");
    }

    #[test]
    fn an_address_that_cannot_be_read_ends_the_trust() {
        assert_eq!(ip("10.0.0.1", &["127.0.0.1, unknown"], "10.0.0.0/8"), "10.0.0.1");
        assert_eq!(ip("10.0.0.1", &["127.0.0.1, unknown, 10.0.0.2"], "10.0.0.0/8"), "10.0.0.2");
    }

    #[test]
    fn ports_brackets_and_mapped_addresses_are_understood() {
        assert_eq!(ip("10.0.0.1", &["198.51.100.7:4711"], "10.0.0.0/8"), "198.51.100.7");
        assert_eq!(ip("10.0.0.1", &["[2001:db8::1]"], "10.0.0.0/8"), "2001:db8::1");
        assert_eq!(ip("[::ffff:10.0.0.1]", &["::ffff:198.51.100.7"], "10.0.0.0/8"), "198.51.100.7");
    }

    #[test]
    fn the_scheme_is_believed_only_from_a_trusted_proxy() {
        let proxies = Proxies::parse("10.0.0.0/8").unwrap();
        let https =
            |peer: &str, proto| client(peer.parse().unwrap(), &headers(&[], Some(proto)), &proxies).https;
        assert!(https("10.0.0.1:1", "https"));
        assert!(https("10.0.0.1:1", "http, https"));
        assert!(!https("10.0.0.1:1", "https, http"));
        assert!(!https("203.0.113.9:1", "https"));
    }
}
