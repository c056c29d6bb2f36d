//! `redis+sentinel://user:password@host:port,host:port/name/0`: Sentinels, and the name under which they know the primary.

use super::hosts::{self, Address, Kind, Parts, shown};
use super::{Place, Target, database, decoded};
use std::fmt;

const DEFAULT_PORT: u16 = 26_379;

const SENTINEL: Kind = Kind { name: "Sentinel", port: DEFAULT_PORT };

/// Who is asked for the primary.
#[derive(Clone, PartialEq, Eq)]
pub(in crate::store::redis) struct Sentinels {
    /// Never empty, and no two are equal.
    pub(in crate::store::redis) hosts: Vec<Address>,
    /// The primary's name.
    pub(in crate::store::redis) name: String,
    /// For Sentinels and data servers alike.
    pub(in crate::store::redis) tls: bool,
    pub(in crate::store::redis) user: Option<String>,
    pub(in crate::store::redis) password: Option<String>,
}

pub(super) fn parse(rest: &str, tls: bool) -> Result<Target, Vec<String>> {
    let mut problems = Vec::new();
    let scheme = if tls { "rediss+sentinel" } else { "redis+sentinel" };
    let Parts { user, password, hosts, path, query } = hosts::parts(rest, SENTINEL, scheme, &mut problems)?;
    let (name, number) = path.split_once('/').unwrap_or((path, ""));
    let name = decoded("primary's name", Some(name), &mut problems).unwrap_or_else(|| {
        problems.push(
            "the Redis URL does not say under which name the Sentinels know the primary: \
             redis+sentinel://host:26379/NAME"
                .into(),
        );
        String::new()
    });
    let number = database(number.trim_end_matches('/'), &mut problems);
    let (mut sentinel_user, mut sentinel_password) = (None, None);
    for pair in query.split('&').filter(|pair| !pair.is_empty()) {
        let (key, value) = pair.split_once('=').unwrap_or((pair, ""));
        match key {
            "sentinel_user" => sentinel_user = decoded(key, Some(value), &mut problems),
            "sentinel_password" => sentinel_password = decoded(key, Some(value), &mut problems),
            _ => problems.push(format!(
                "the Redis URL has a parameter that is not known: {key}; with Sentinels, sentinel_user and \
                 sentinel_password are"
            )),
        }
    }
    if sentinel_user.is_some() && sentinel_password.is_none() {
        problems.push("the Redis URL names a sentinel_user but no sentinel_password".into());
    }
    let sentinels = Sentinels { hosts, name, tls, user: sentinel_user, password: sentinel_password };
    let target = Target { place: Place::Sentinels(sentinels), user, password, database: number };
    if problems.is_empty() { Ok(target) } else { Err(problems) }
}

/// Without passwords.
impl fmt::Display for Sentinels {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let hosts: Vec<String> = self.hosts.iter().map(shown).collect();
        write!(f, "redis+sentinel://{}/{}", hosts.join(","), self.name)
    }
}

impl fmt::Debug for Sentinels {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parsed(url: &str) -> (Target, Sentinels) {
        let target = Target::parse(url).unwrap_or_else(|problems| panic!("{url}: {problems:?}"));
        let Place::Sentinels(sentinels) = target.place.clone() else { panic!("{url}: {target}") };
        (target, sentinels)
    }

    #[test]
    fn every_part_of_a_url_is_read() {
        let (target, sentinels) = parsed(
            "rediss+sentinel://app:p%40ss@s1:7000,s2,[::1]:7001/my-cache/3?sentinel_user=w&sentinel_password=p%26w",
        );
        assert_eq!((target.user.as_deref(), target.password.as_deref()), (Some("app"), Some("p@ss")));
        assert_eq!((target.database, target.tls()), (3, true));
        let hosts = [("s1", 7000), ("s2", DEFAULT_PORT), ("::1", 7001)];
        assert_eq!(sentinels.hosts, hosts.map(|(host, port)| (host.to_owned(), port)));
        assert_eq!(sentinels.name, "my-cache");
        assert_eq!((sentinels.user.as_deref(), sentinels.password.as_deref()), (Some("w"), Some("p&w")));
    }

    #[test]
    fn what_is_left_out_has_its_default() {
        let (target, sentinels) = parsed("redis+sentinel://h1,h2/main");
        assert_eq!((&target.user, &target.password, target.database, target.tls()), (&None, &None, 0, false));
        assert_eq!((sentinels.user, sentinels.password), (None, None));
        assert_eq!(sentinels.hosts.len(), 2);
    }

    #[test]
    fn people_see_no_password() {
        let (target, _) = parsed("redis+sentinel://a:pw@h1,h2:7/main/2?sentinel_password=other");
        assert_eq!(target.to_string(), "redis+sentinel://h1:26379,h2:7/main/2");
        assert_eq!(format!("{target:?}"), target.to_string());
    }

    #[test]
    fn each_mistake_has_its_sentence_and_repeats_no_password() {
        for (url, part) in [
            ("redis+sentinel://h1,h2", "under which name"),
            ("redis+sentinel://h1,h2/", "under which name"),
            ("redis+sentinel:///main", "without a host"),
            ("redis+sentinel://h1,,h2/main", "without a host"),
            ("redis+sentinel://h1:0/main", "no valid port for the Sentinel h1"),
            ("redis+sentinel://h1:x/main", "no valid port"),
            ("redis+sentinel://h1,h1:26379/main", "twice"),
            ("redis+sentinel://h1/main/x", "no database number"),
            ("redis+sentinel://app@h1/main", "no password"),
            ("redis+sentinel://h1/main?sentinel_user=w", "no sentinel_password"),
            ("redis+sentinel://h1/main?password=s3cret", "not known: password"),
            ("redis+sentinel://:s3/cret@h1/main", "%2F"),
            ("redis+sentinel://:s3?cret@h1/main", "%3F"),
        ] {
            let problems = Target::parse(url).expect_err(url).join("\n");
            assert!(problems.contains(part), "{url}: {problems}");
            assert!(!problems.contains("cret"), "{url}: {problems}");
        }
        let many: Vec<String> = (0..=hosts::MAX_HOSTS).map(|n| format!("h{n}")).collect();
        let url = format!("redis+sentinel://{}/main", many.join(","));
        assert!(Target::parse(&url).unwrap_err().join("\n").contains("at most 16"));
    }
}
