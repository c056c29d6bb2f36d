//! Redis URLs.

mod cluster;
mod hosts;
mod sentinels;

pub(super) use cluster::Seeds;
pub(super) use hosts::{Address, address, shown};
pub(super) use sentinels::Sentinels;

use std::{fmt, path::PathBuf};
use url::{Host, Url};

const DEFAULT_PORT: u16 = 6379;

/// What a URL says.
#[derive(Clone, PartialEq, Eq)]
pub(super) struct Target {
    pub(super) place: Place,
    pub(super) user: Option<String>,
    pub(super) password: Option<String>,
    pub(super) database: u32,
}

/// Where the server listens.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Place {
    Tcp {
        host: String,
        port: u16,
        tls: bool,
    },
    Unix(PathBuf),
    /// Wherever these say.
    Sentinels(Sentinels),
    /// Wherever these and the nodes that they name say, each bucket for itself.
    Cluster(Seeds),
}

impl Target {
    /// Reads a URL.
    ///
    /// # Errors
    /// All that is wrong with it. Nothing of what stands before the `@` is repeated.
    pub(super) fn parse(url: &str) -> Result<Self, Vec<String>> {
        let url = url.trim();
        let Some((scheme, rest)) = url.split_once("://") else {
            return Err(vec!["the Redis URL has no scheme: write redis://host:port/0".into()]);
        };
        match scheme {
            "redis" | "valkey" => tcp(url, false),
            "rediss" | "valkeys" => tcp(url, true),
            "unix" | "redis+unix" | "valkey+unix" => unix(rest),
            "redis+sentinel" | "valkey+sentinel" => sentinels::parse(rest, false),
            "rediss+sentinel" | "valkeys+sentinel" => sentinels::parse(rest, true),
            "redis+cluster" | "valkey+cluster" => cluster::parse(rest, false),
            "rediss+cluster" | "valkeys+cluster" => cluster::parse(rest, true),
            _ => {
                let shown = if scheme.chars().all(|c| c.is_ascii_alphanumeric() || c == '+') {
                    scheme
                } else {
                    "…"
                };
                Err(vec![format!(
                    "{shown}:// is no Redis scheme; known are redis://, rediss:// (TLS), unix://, redis+sentinel:// and \
                     redis+cluster://"
                )])
            }
        }
    }

    pub(super) fn tls(&self) -> bool {
        match &self.place {
            Place::Tcp { tls, .. }
            | Place::Sentinels(Sentinels { tls, .. })
            | Place::Cluster(Seeds { tls, .. }) => *tls,
            Place::Unix(_) => false,
        }
    }
}

fn tcp(url: &str, tls: bool) -> Result<Target, Vec<String>> {
    // Otherwise a part of the password would be taken for a path, and repeated in a message.
    let after_scheme = url.split_once("://").map_or("", |(_, rest)| rest);
    if after_scheme.find(['/', '?', '#']).is_some_and(|at| after_scheme[at..].contains('@')) {
        return Err(vec![
            "the Redis URL has an `@` after a `/`, `?` or `#`: in a password write %2F, %3F or %23 for them"
                .into(),
        ]);
    }
    let url = Url::parse(url).map_err(|error| vec![format!("the Redis URL is malformed: {error}")])?;
    let mut problems = Vec::new();
    let host = match url.host() {
        Some(Host::Domain(name)) if name.contains(',') => {
            problems.push(format!(
                "the Redis URL names several hosts ({name}); only redis+sentinel:// and redis+cluster:// \
                 take several"
            ));
            String::new()
        }
        Some(Host::Domain(name)) if !name.is_empty() => name.to_owned(),
        Some(Host::Ipv4(address)) => address.to_string(),
        Some(Host::Ipv6(address)) => address.to_string(),
        Some(Host::Domain(_)) | None => {
            problems.push("the Redis URL names no host".into());
            String::new()
        }
    };
    let port = url.port().unwrap_or(DEFAULT_PORT);
    if port == 0 {
        problems.push("the Redis URL names port 0".into());
    }
    let user = decoded("user", Some(url.username()), &mut problems);
    let password = decoded("password", url.password(), &mut problems);
    let database = database(url.path().trim_matches('/'), &mut problems);
    if user.is_some() && password.is_none() {
        problems.push(
            "the Redis URL names a user but no password; for a password alone write redis://:password@host"
                .into(),
        );
    }
    if let Some((name, _)) = url.query_pairs().next() {
        problems.push(format!("the Redis URL has a parameter that is not known: {name}"));
    }
    if url.fragment().is_some() {
        problems.push(
            "the Redis URL ends in `#…`, which means nothing here: certificates are always verified".into(),
        );
    }
    let place = Place::Tcp { host, port, tls };
    if problems.is_empty() { Ok(Target { place, user, password, database }) } else { Err(problems) }
}

fn unix(rest: &str) -> Result<Target, Vec<String>> {
    let mut problems = Vec::new();
    let (path, query) = rest.split_once('?').unwrap_or((rest, ""));
    let (mut user, mut password, mut number) = (None, None, 0);
    // `unix://user:password@/path`, as for the other schemes.
    let path = match path.split_once("@/") {
        Some((login, _)) => {
            let (name, secret) = login.split_once(':').unwrap_or((login, ""));
            user = decoded("user", Some(name), &mut problems);
            password = decoded("password", Some(secret), &mut problems);
            &path[login.len() + 1..]
        }
        None => path,
    };
    for (name, value) in url::form_urlencoded::parse(query.as_bytes()) {
        match &*name {
            "db" => number = database(&value, &mut problems),
            "user" | "username" => user = Some(value.into_owned()),
            "password" | "pass" => password = Some(value.into_owned()),
            _ => problems.push(format!("the Redis URL has a parameter that is not known: {name}")),
        }
    }
    if user.is_some() && password.is_none() {
        problems.push("the Redis URL names a user but no password".into());
    }
    let path = decoded("path", Some(path), &mut problems).unwrap_or_default();
    if !path.starts_with('/') {
        problems.push("the Redis URL names no absolute socket path: write unix:///run/redis.sock".into());
    }
    let place = Place::Unix(path.into());
    if problems.is_empty() { Ok(Target { place, user, password, database: number }) } else { Err(problems) }
}

fn database(text: &str, problems: &mut Vec<String>) -> u32 {
    if text.is_empty() {
        return 0;
    }
    text.parse().unwrap_or_else(|_| {
        problems.push(format!("`{text}` in the Redis URL is no database number (0, 1, 2 …)"));
        0
    })
}

/// Undoes percent-encoding; `None` for what is absent or empty.
fn decoded(what: &str, text: Option<&str>, problems: &mut Vec<String>) -> Option<String> {
    let text = text.filter(|text| !text.is_empty())?;
    let mut out = Vec::with_capacity(text.len());
    let mut bytes = text.bytes();
    while let Some(byte) = bytes.next() {
        if byte != b'%' {
            out.push(byte);
            continue;
        }
        let mut digit = || char::from(bytes.next()?).to_digit(16).and_then(|d| u8::try_from(d).ok());
        match (digit(), digit()) {
            (Some(high), Some(low)) => out.push(high << 4 | low),
            _ => {
                problems.push(format!(
                    "the {what} in the Redis URL holds a `%` that is not followed by two hex digits"
                ));
                return None;
            }
        }
    }
    String::from_utf8(out)
        .map_err(|_| problems.push(format!("the {what} in the Redis URL is not UTF-8 after decoding")))
        .ok()
}

/// For people: no user, no password. TLS is told of beside it, as in `redis://host:6379/0 (TLS)`.
impl fmt::Display for Target {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let database = self.database;
        match &self.place {
            Place::Tcp { host, port, .. } if host.contains(':') => {
                write!(f, "redis://[{host}]:{port}/{database}")
            }
            Place::Tcp { host, port, .. } => write!(f, "redis://{host}:{port}/{database}"),
            Place::Unix(path) if database == 0 => write!(f, "unix://{}", path.display()),
            Place::Unix(path) => write!(f, "unix://{}?db={database}", path.display()),
            Place::Sentinels(sentinels) => write!(f, "{sentinels}/{database}"),
            Place::Cluster(seeds) => write!(f, "{seeds}"),
        }
    }
}

impl fmt::Debug for Target {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(url: &str) -> Target {
        Target::parse(url).unwrap_or_else(|problems| panic!("{url}: {problems:?}"))
    }

    fn problem(url: &str) -> String {
        Target::parse(url).expect_err(url).join("\n")
    }

    #[test]
    fn every_part_of_a_url_is_read() {
        let target = parse("rediss://us%65r:p%40ss%3Aw%2Ford@cache.example.com:7000/12");
        let place = Place::Tcp { host: "cache.example.com".into(), port: 7000, tls: true };
        assert_eq!(target.place, place);
        assert_eq!(target.user.as_deref(), Some("user"));
        assert_eq!(target.password.as_deref(), Some("p@ss:w/ord"));
        assert_eq!(target.database, 12);
    }

    #[test]
    fn what_is_left_out_has_its_default() {
        let target = parse("redis://:secret@10.0.0.1");
        assert_eq!(target.place, Place::Tcp { host: "10.0.0.1".into(), port: 6379, tls: false });
        assert_eq!((target.user, target.password.as_deref(), target.database), (None, Some("secret"), 0));
    }

    #[test]
    fn unix_sockets_take_login_and_database() {
        let plain = parse("unix:///run/redis.sock");
        assert_eq!(plain.place, Place::Unix("/run/redis.sock".into()));
        let full = parse("redis+unix:///run/my%20redis.sock?db=3&user=app&password=p%26w");
        assert_eq!(full.place, Place::Unix("/run/my redis.sock".into()));
        assert_eq!(
            (full.user.as_deref(), full.password.as_deref(), full.database),
            (Some("app"), Some("p&w"), 3)
        );
        let login = parse("unix://app:pw@/run/redis.sock");
        assert_eq!((login.user.as_deref(), login.password.as_deref()), (Some("app"), Some("pw")));
        assert_eq!(login.place, Place::Unix("/run/redis.sock".into()));
    }

    #[test]
    fn people_see_neither_user_nor_password() {
        for (url, shown) in [
            ("redis://app:pw@host", "redis://host:6379/0"),
            ("rediss://:pw@[::1]:7000/2", "redis://[::1]:7000/2"),
            ("unix://app:pw@/run/r.sock?db=4", "unix:///run/r.sock?db=4"),
        ] {
            assert_eq!(parse(url).to_string(), shown);
            assert_eq!(format!("{:?}", parse(url)), shown);
        }
    }

    #[test]
    fn several_hosts_are_of_sentinels_or_of_a_cluster() {
        assert!(
            problem("redis://h1,h2").contains("only redis+sentinel:// and redis+cluster:// take several")
        );
    }

    #[test]
    fn each_mistake_in_a_url_has_its_sentence() {
        for (url, part) in [
            ("localhost:6379", "no scheme"),
            ("http://localhost", "no Redis scheme"),
            ("redis://", "no host"),
            ("redis:///0", "no host"),
            ("redis://host/zero", "no database number"),
            ("redis://host/-1", "no database number"),
            ("redis://host:99999", "malformed"),
            ("redis://app@host", "no password"),
            ("redis://:%zz@host", "two hex digits"),
            ("redis://:%ff@host", "not UTF-8"),
            ("redis://:pa/ss@host/0", "%2F"),
            ("redis://:pa?ss@host", "%3F"),
            ("redis://host?protocol=3", "protocol"),
            ("rediss://host/#insecure", "always verified"),
            ("unix://run/redis.sock", "no absolute socket path"),
            ("unix:///run/redis.sock?x=1", "not known: x"),
        ] {
            assert!(problem(url).contains(part), "{url}: {}", problem(url));
        }
    }
}
