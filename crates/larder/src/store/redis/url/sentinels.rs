//! `redis+sentinel://user:password@host:port,host:port/name/0`: Sentinels, and the name under which they know the primary.

use super::{Place, Target, database, decoded};
use std::fmt;

const DEFAULT_PORT: u16 = 26_379;

/// Most Sentinels that may be named. Three or five are usual.
const MAX_SENTINELS: usize = 16;

/// Who is asked for the primary.
#[derive(Clone, PartialEq, Eq)]
pub(in crate::store::redis) struct Sentinels {
    /// Never empty, and no two are equal.
    pub(in crate::store::redis) hosts: Vec<(String, u16)>,
    /// The primary's name.
    pub(in crate::store::redis) name: String,
    /// For Sentinels and data servers alike.
    pub(in crate::store::redis) tls: bool,
    pub(in crate::store::redis) user: Option<String>,
    pub(in crate::store::redis) password: Option<String>,
}

/// Host and port, as people write them.
pub(in crate::store::redis) fn shown((host, port): &(String, u16)) -> String {
    if host.contains(':') { format!("[{host}]:{port}") } else { format!("{host}:{port}") }
}

pub(super) fn parse(rest: &str, tls: bool) -> Result<Target, Vec<String>> {
    let mut problems = Vec::new();
    let (rest, query) = rest.split_once('?').unwrap_or((rest, ""));
    let (authority, path) = rest.split_once('/').unwrap_or((rest, ""));
    if path.contains('@') || query.contains('@') || authority.contains('#') {
        // Nothing of it may be repeated: it could be a password.
        return Err(vec![
            "the Redis URL has an `@` or `#` where none may be: in a password write %40, %2F, %3F or %23"
                .into(),
        ]);
    }
    let (login, hosts) = authority.rsplit_once('@').map_or(("", authority), |(login, hosts)| (login, hosts));
    let (user, password) = login.split_once(':').unwrap_or((login, ""));
    let user = decoded("user", Some(user), &mut problems);
    let password = decoded("password", Some(password), &mut problems);
    let hosts = all_hosts(hosts, &mut problems);
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
    if user.is_some() && password.is_none() {
        problems.push(
            "the Redis URL names a user but no password; for a password alone write \
             redis+sentinel://:password@host"
                .into(),
        );
    }
    if sentinel_user.is_some() && sentinel_password.is_none() {
        problems.push("the Redis URL names a sentinel_user but no sentinel_password".into());
    }
    let sentinels = Sentinels { hosts, name, tls, user: sentinel_user, password: sentinel_password };
    let target = Target { place: Place::Sentinels(sentinels), user, password, database: number };
    if problems.is_empty() { Ok(target) } else { Err(problems) }
}

fn all_hosts(text: &str, problems: &mut Vec<String>) -> Vec<(String, u16)> {
    let mut hosts: Vec<(String, u16)> = Vec::new();
    for one in text.split(',') {
        match host(one) {
            Ok(found) if hosts.contains(&found) => {
                problems.push(format!("the Redis URL names the Sentinel {} twice", shown(&found)));
            }
            Ok(found) => hosts.push(found),
            Err(problem) => problems.push(problem),
        }
    }
    if hosts.len() > MAX_SENTINELS {
        problems
            .push(format!("the Redis URL names {} Sentinels, at most {MAX_SENTINELS} may be", hosts.len()));
    }
    hosts
}

fn host(text: &str) -> Result<(String, u16), String> {
    // `[::1]:26379`, `host:26379`, or without the port.
    let (host, port) = match text.strip_prefix('[').and_then(|rest| rest.split_once(']')) {
        Some((host, port)) => (host, port.strip_prefix(':')),
        None => text.split_once(':').map_or((text, None), |(host, port)| (host, Some(port))),
    };
    let sane = |c: char| c.is_ascii_alphanumeric() || "-._:".contains(c);
    if host.is_empty() || !host.chars().all(sane) {
        return Err(
            "the Redis URL has a Sentinel without a host, or a host that is none: write host:port,host:port"
                .into(),
        );
    }
    let port = match port {
        None => Some(DEFAULT_PORT),
        Some(port) => port.parse().ok().filter(|port| *port != 0),
    };
    match port {
        Some(port) => Ok((host.to_owned(), port)),
        None => Err(format!("the Redis URL has no valid port for the Sentinel {host}")),
    }
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
        let many: Vec<String> = (0..=MAX_SENTINELS).map(|n| format!("h{n}")).collect();
        let url = format!("redis+sentinel://{}/main", many.join(","));
        assert!(Target::parse(&url).unwrap_err().join("\n").contains("at most 16"));
    }
}
