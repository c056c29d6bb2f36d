//! `redis+cluster://user:password@host:port,host:port`: some nodes of a Redis Cluster, which tell of the others.

use super::hosts::{self, Address, Kind, Parts, shown};
use super::{Place, Target, database};
use std::fmt;

const NODE: Kind = Kind { name: "node", port: super::DEFAULT_PORT };

/// Who is asked first how the Cluster stands.
#[derive(Clone, PartialEq, Eq)]
pub(in crate::store::redis) struct Seeds {
    /// Never empty, and no two are equal.
    pub(in crate::store::redis) hosts: Vec<Address>,
    /// For all nodes alike.
    pub(in crate::store::redis) tls: bool,
}

pub(super) fn parse(rest: &str, tls: bool) -> Result<Target, Vec<String>> {
    let mut problems = Vec::new();
    let scheme = if tls { "rediss+cluster" } else { "redis+cluster" };
    let Parts { user, password, hosts, path, query } = hosts::parts(rest, NODE, scheme, &mut problems)?;
    let number = database(path.trim_end_matches('/'), &mut problems);
    if number != 0 {
        problems.push(format!("the Redis URL names database {number}: a Cluster has database 0 only"));
    }
    for pair in query.split('&').filter(|pair| !pair.is_empty()) {
        let (key, _) = pair.split_once('=').unwrap_or((pair, ""));
        problems.push(format!("the Redis URL has a parameter that is not known: {key}"));
    }
    let place = Place::Cluster(Seeds { hosts, tls });
    if problems.is_empty() { Ok(Target { place, user, password, database: 0 }) } else { Err(problems) }
}

impl fmt::Display for Seeds {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let hosts: Vec<String> = self.hosts.iter().map(shown).collect();
        write!(f, "redis+cluster://{}", hosts.join(","))
    }
}

impl fmt::Debug for Seeds {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parsed(url: &str) -> (Target, Seeds) {
        let target = Target::parse(url).unwrap_or_else(|problems| panic!("{url}: {problems:?}"));
        let Place::Cluster(seeds) = target.place.clone() else { panic!("{url}: {target}") };
        (target, seeds)
    }

    #[test]
    fn every_part_of_a_url_is_read() {
        let (target, seeds) = parsed("rediss+cluster://app:p%40ss@h1:7000,h2,[::1]:7001/0");
        assert_eq!((target.user.as_deref(), target.password.as_deref()), (Some("app"), Some("p@ss")));
        assert_eq!((target.database, target.tls()), (0, true));
        let hosts = [("h1", 7000), ("h2", 6379), ("::1", 7001)];
        assert_eq!(seeds.hosts, hosts.map(|(host, port)| (host.to_owned(), port)));
        let (target, seeds) = parsed("valkey+cluster://h1");
        assert_eq!((&target.user, target.tls(), seeds.hosts.len()), (&None, false, 1));
    }

    #[test]
    fn people_see_no_password() {
        let (target, _) = parsed("redis+cluster://a:pw@h1,h2:7");
        assert_eq!(target.to_string(), "redis+cluster://h1:6379,h2:7");
        assert_eq!(format!("{target:?}"), target.to_string());
    }

    #[test]
    fn each_mistake_has_its_sentence_and_repeats_no_password() {
        for (url, part) in [
            ("redis+cluster://", "without a host"),
            ("redis+cluster://h1,,h2", "without a host"),
            ("redis+cluster://h1:x", "no valid port for the node h1"),
            ("redis+cluster://h1,h1:6379", "twice"),
            ("redis+cluster://h1/2", "names database 2: a Cluster has database 0 only"),
            ("redis+cluster://h1/x", "no database number"),
            ("redis+cluster://app@h1", "no password"),
            ("redis+cluster://h1?password=s3cret", "not known: password"),
            ("redis+cluster://:s3/cret@h1", "%2F"),
        ] {
            let problems = Target::parse(url).expect_err(url).join("\n");
            assert!(problems.contains(part), "{url}: {problems}");
            assert!(!problems.contains("cret"), "{url}: {problems}");
        }
    }
}
