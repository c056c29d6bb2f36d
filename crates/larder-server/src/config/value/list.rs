//! Lists, separated by commas.

use std::net::IpAddr;

use ipnet::IpNet;

use super::Value;
use crate::config::{nearest, ttl};

fn parts(text: &str) -> impl Iterator<Item = &str> {
    text.split(',').map(str::trim).filter(|part| !part.is_empty())
}

/// Networks whose word about the client's address is believed.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Proxies(pub Vec<IpNet>);

impl Proxies {
    /// Whether `address` is one of them.
    pub fn contain(&self, address: IpAddr) -> bool {
        self.0.iter().any(|network| network.contains(&address))
    }
}

impl Value for Proxies {
    const OPTIONAL: bool = true;

    fn form() -> String {
        "networks such as 10.0.0.0/8,fd00::/8 or single addresses, with commas".into()
    }

    fn parse(text: &str) -> Result<Self, String> {
        let network = |part: &str| {
            part.parse::<IpNet>()
                .or_else(|_| part.parse::<IpAddr>().map(IpNet::from))
                .map_err(|_| format!("holds {part:?}, which is no network"))
        };
        parts(text).map(network).collect::<Result<_, _>>().map(Self)
    }
}

/// One allowed origin: exact, or with any port.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum OriginPattern {
    /// Every origin (`*`).
    Any,
    /// This one.
    Exact(String),
    /// This scheme and host, with any port or none.
    AnyPort(String),
}

impl OriginPattern {
    fn matches(&self, origin: &str) -> bool {
        match self {
            Self::Any => true,
            Self::Exact(exact) => exact.eq_ignore_ascii_case(origin),
            Self::AnyPort(base) => origin
                .get(..base.len())
                .filter(|start| start.eq_ignore_ascii_case(base))
                .map(|_| &origin[base.len()..])
                .is_some_and(|rest| rest.is_empty() || rest.strip_prefix(':').is_some_and(is_port)),
        }
    }
}

fn is_port(text: &str) -> bool {
    !text.is_empty() && text.len() <= 5 && text.bytes().all(|byte| byte.is_ascii_digit())
}

/// The origins whose pages may call this server.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Origins(pub Vec<OriginPattern>);

impl Origins {
    /// Whether a page of `origin` may call.
    pub fn allow(&self, origin: &str) -> bool {
        self.0.iter().any(|pattern| pattern.matches(origin))
    }
}

impl Value for Origins {
    const OPTIONAL: bool = true;

    fn form() -> String {
        "origins such as https://app.example.com or http://localhost:* with commas".into()
    }

    fn parse(text: &str) -> Result<Self, String> {
        parts(text).map(origin).collect::<Result<_, _>>().map(Self)
    }
}

fn origin(part: &str) -> Result<OriginPattern, String> {
    let refuse = |why: &str| Err(format!("holds {part:?}, which {why}"));
    if part == "*" {
        return Ok(OriginPattern::Any);
    }
    let Some((scheme, host)) = part.split_once("://") else { return refuse("has no scheme") };
    if !matches!(scheme.to_ascii_lowercase().as_str(), "http" | "https") {
        return refuse("is not of HTTP");
    }
    let base = part.strip_suffix(":*");
    let host = base.map_or(host, |_| &host[..host.len() - 2]);
    if host.is_empty() || host.contains(['/', '*', '?', '#', '@', ' ']) {
        return refuse("is more or less than scheme, host and port");
    }
    Ok(match base {
        Some(base) => OriginPattern::AnyPort(base.to_owned()),
        None => OriginPattern::Exact(part.to_owned()),
    })
}

/// Endpoints that are loaded ahead of being asked for, by their TTL names.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct WarmList(pub Vec<String>);

impl Value for WarmList {
    const OPTIONAL: bool = true;

    fn form() -> String {
        "endpoints such as campaigns,dashboard_kpis (the names that have a TTL)".into()
    }

    fn parse(text: &str) -> Result<Self, String> {
        let known = |part: &str| {
            if ttl::is_known(part) {
                return Ok(part.to_owned());
            }
            let hint = nearest::best(part, ttl::names()).map(|name| format!(" (did you mean {name}?)"));
            Err(format!("holds {part:?}, which is no endpoint{}", hint.unwrap_or_default()))
        };
        parts(text).map(known).collect::<Result<_, _>>().map(Self)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_proxy_list_holds_networks_and_single_addresses() {
        let proxies = Proxies::parse("10.0.0.0/8, 192.168.1.7 ,fd00::/8").unwrap();
        for (address, inside) in [
            ("10.1.2.3", true),
            ("192.168.1.7", true),
            ("192.168.1.8", false),
            ("fd00::1", true),
            ("::1", false),
        ] {
            assert_eq!(proxies.contain(address.parse().unwrap()), inside, "{address}");
        }
        assert!(Proxies::parse("10.0.0.0/33").is_err());
        assert!(Proxies::parse("proxy.example").is_err());
    }

    #[test]
    fn a_star_for_the_port_matches_any_port_and_nothing_else() {
        let origins = Origins::parse("http://localhost:*,https://app.example.com").unwrap();
        for good in
            ["http://localhost", "http://localhost:3000", "HTTP://LOCALHOST:80", "https://app.example.com"]
        {
            assert!(origins.allow(good), "{good}");
        }
        for bad in [
            "https://localhost:3000",
            "http://localhost.evil.example",
            "http://localhost:3000.evil.example",
            "http://localhost:",
            "http://localhost:x",
            "https://app.example.com:444",
            "https://app.example.com.evil.example",
            "null",
            "",
            "http://é",
        ] {
            assert!(!origins.allow(bad), "{bad}");
        }
    }

    #[test]
    fn an_origin_with_a_path_or_a_wildcard_host_is_refused() {
        for bad in
            ["localhost:3000", "http://*.example.com", "https://a.example/path", "ftp://a", "http://:*"]
        {
            assert!(Origins::parse(bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn an_unknown_endpoint_to_warm_is_refused_with_the_nearest() {
        assert_eq!(WarmList::parse("campaigns, jobs").unwrap().0, ["campaigns", "jobs"]);
        let why = WarmList::parse("campaings").unwrap_err();
        assert!(why.contains("did you mean campaigns?"), "{why}");
    }
}
