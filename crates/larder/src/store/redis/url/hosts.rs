//! Lists of hosts: `h1,h2:7000,[::1]:7001`.

use super::decoded;

/// Host and port.
pub(in crate::store::redis) type Address = (String, u16);

/// Most hosts that may be named: beyond it, somebody has pasted something else.
pub(super) const MAX_HOSTS: usize = 16;

/// What hosts are called, and where they listen as a rule.
#[derive(Clone, Copy)]
pub(super) struct Kind {
    pub(super) name: &'static str,
    pub(super) port: u16,
}

/// Host and port, as people write them.
pub(in crate::store::redis) fn shown((host, port): &Address) -> String {
    if host.contains(':') { format!("[{host}]:{port}") } else { format!("{host}:{port}") }
}

/// Host and port, as servers announce them.
pub(in crate::store::redis) fn address(host: &str, port: u16) -> Address {
    (host.trim_matches(['[', ']']).to_owned(), port)
}

/// What stands after the scheme: log-in, hosts, path and query.
pub(super) struct Parts<'a> {
    pub(super) user: Option<String>,
    pub(super) password: Option<String>,
    /// Never empty, and no two are equal, unless there are problems.
    pub(super) hosts: Vec<Address>,
    pub(super) path: &'a str,
    pub(super) query: &'a str,
}

/// Reads all of them.
///
/// # Errors
/// Where it can't be told what is a password.
pub(super) fn parts<'a>(
    rest: &'a str,
    kind: Kind,
    scheme: &str,
    problems: &mut Vec<String>,
) -> Result<Parts<'a>, Vec<String>> {
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
    let user = decoded("user", Some(user), problems);
    let password = decoded("password", Some(password), problems);
    if user.is_some() && password.is_none() {
        problems.push(format!(
            "the Redis URL names a user but no password; for a password alone write {scheme}://:password@host"
        ));
    }
    Ok(Parts { user, password, hosts: all(hosts, kind, problems), path, query })
}

fn all(text: &str, kind: Kind, problems: &mut Vec<String>) -> Vec<Address> {
    let mut hosts: Vec<Address> = Vec::new();
    for one in text.split(',') {
        match host(one, kind) {
            Ok(found) if hosts.contains(&found) => {
                problems.push(format!("the Redis URL names the {} {} twice", kind.name, shown(&found)));
            }
            Ok(found) => hosts.push(found),
            Err(problem) => problems.push(problem),
        }
    }
    if hosts.len() > MAX_HOSTS {
        problems.push(format!(
            "the Redis URL names {} {}s, at most {MAX_HOSTS} may be",
            hosts.len(),
            kind.name
        ));
    }
    hosts
}

fn host(text: &str, Kind { name, port: default }: Kind) -> Result<Address, String> {
    // `[::1]:26379`, `host:26379`, or without the port.
    let (host, port) = match text.strip_prefix('[').and_then(|rest| rest.split_once(']')) {
        Some((host, port)) => (host, port.strip_prefix(':')),
        None => text.split_once(':').map_or((text, None), |(host, port)| (host, Some(port))),
    };
    let sane = |c: char| c.is_ascii_alphanumeric() || "-._:".contains(c);
    if host.is_empty() || !host.chars().all(sane) {
        return Err(format!(
            "the Redis URL has a {name} without a host, or a host that is none: write host:port,host:port"
        ));
    }
    let port = match port {
        None => Some(default),
        Some(port) => port.parse().ok().filter(|port| *port != 0),
    };
    match port {
        Some(port) => Ok((host.to_owned(), port)),
        None => Err(format!("the Redis URL has no valid port for the {name} {host}")),
    }
}
