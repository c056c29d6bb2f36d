//! Where things are: addresses and URLs.

use std::fmt;

use url::Url;

use super::{Secrecy, Value};

/// `url` as it may be shown: with `***` for the password, and, where it is none that can be read, for everything that could
/// hold one.
pub fn without_password(url: &str) -> String {
    let shown = without_login(url);
    // Unix sockets and Sentinels take passwords as parameters.
    let Some((front, query)) = shown.split_once('?') else { return shown };
    let parameter = |pair: &str| match pair.split_once('=') {
        Some((name, _)) if name.contains("pass") => format!("{name}=***"),
        _ => pair.to_owned(),
    };
    let query: Vec<String> = query.split('&').map(parameter).collect();
    format!("{front}?{}", query.join("&"))
}

fn without_login(url: &str) -> String {
    let Some((scheme, rest)) = url.split_once("://") else { return url.to_owned() };
    let authority = &rest[..rest.find(['/', '?', '#']).unwrap_or(rest.len())];
    // An @ may stand unescaped in a password, so the last one ends it, wherever it is.
    let end = authority.rfind('@').or_else(|| rest.rfind('@'));
    let Some(end) = end else { return url.to_owned() };
    match rest[..end].split_once(':') {
        Some((user, _)) => format!("{scheme}://{user}:***{}", &rest[end..]),
        None => url.to_owned(),
    }
}

/// An address to listen on: `host:port`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Listen(pub String);

impl Value for Listen {
    fn form() -> String {
        "an address with a port, such as 127.0.0.1:8000 or [::]:8000".into()
    }

    fn parse(text: &str) -> Result<Self, String> {
        let (host, port) = text.rsplit_once(':').ok_or("has no port")?;
        port.parse::<u16>().map_err(|_| "has no port from 0 to 65535".to_owned())?;
        let bare_v6 = host.contains(':') && !(host.starts_with('[') && host.ends_with(']'));
        if host.is_empty() || bare_v6 || host.contains(['/', '@', ' ']) {
            return Err("is no address".into());
        }
        Ok(Self(text.to_owned()))
    }
}

macro_rules! url_value {
    ($(#[$doc:meta])+ $name:ident, $form:literal, $check:expr) => {
        $(#[$doc])+
        #[derive(Clone, PartialEq, Eq)]
        pub struct $name(pub String);

        impl fmt::Debug for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str(&without_password(&self.0))
            }
        }

        impl Value for $name {
            const SECRECY: Secrecy = Secrecy::Url;

            fn form() -> String {
                $form.into()
            }

            fn parse(text: &str) -> Result<Self, String> {
                $check(text).map(|()| Self(text.to_owned()))
            }
        }
    };
}

url_value! {
    /// Where the rows are.
    DatabaseUrl, "sqlite://FILE or postgres://USER:PASSWORD@HOST:PORT/DATABASE", database
}
url_value! {
    /// Where the shared tier is.
    RedisUrl,
    "redis://HOST:PORT/0, rediss://… (TLS), unix:///PATH, redis+sentinel://HOST,HOST/MASTER or redis+cluster://HOST,HOST",
    redis
}
url_value! {
    /// Where another HTTP server is.
    HttpUrl, "http://HOST or https://HOST", http
}

fn database(text: &str) -> Result<(), String> {
    if let Some(file) = text.strip_prefix("sqlite:") {
        let named = !file.trim_start_matches('/').is_empty();
        return if named { Ok(()) } else { Err("names no file".into()) };
    }
    let url = Url::parse(text).map_err(|error| format!("is no URL ({error})"))?;
    match url.scheme() {
        "postgres" | "postgresql" => Ok(()),
        other => Err(format!("has the unknown scheme {other}")),
    }
}

fn redis(text: &str) -> Result<(), String> {
    let (scheme, rest) = text.split_once("://").ok_or("is no URL")?;
    let known = [
        "redis",
        "rediss",
        "unix",
        "redis+unix",
        "redis+sentinel",
        "rediss+sentinel",
        "redis+cluster",
        "rediss+cluster",
        "valkey",
        "valkeys",
        "valkey+unix",
        "valkey+sentinel",
        "valkeys+sentinel",
        "valkey+cluster",
        "valkeys+cluster",
    ];
    if !known.contains(&scheme) {
        return Err(format!("has the unknown scheme {scheme}"));
    }
    if rest.is_empty() {
        return Err("names no server".into());
    }
    if matches!(scheme, "redis" | "rediss" | "valkey" | "valkeys") {
        Url::parse(text).map_err(|error| format!("is no URL ({error})"))?;
    }
    Ok(())
}

fn http(text: &str) -> Result<(), String> {
    let url = Url::parse(text).map_err(|error| format!("is no URL ({error})"))?;
    if matches!(url.scheme(), "http" | "https") && url.has_host() {
        Ok(())
    } else {
        Err("is not of HTTP".into())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn passwords_of_urls_are_hidden_however_they_are_written() {
        for (url, shown) in [
            ("redis://host:6379/0", "redis://host:6379/0"),
            ("redis://user:pass@host:6379/0", "redis://user:***@host:6379/0"),
            ("redis://:pass@host", "redis://:***@host"),
            ("redis://user:p@ss@host", "redis://user:***@host"),
            ("redis://user:p/ss@host", "redis://user:***@host"),
            ("postgres://larder@host/db", "postgres://larder@host/db"),
            ("sqlite://larder.db", "sqlite://larder.db"),
            ("unix:///run/r.sock?db=1&password=p%26w", "unix:///run/r.sock?db=1&password=***"),
            (
                "redis+sentinel://u:p@h1,h2/main/0?sentinel_user=w&sentinel_password=pw",
                "redis+sentinel://u:***@h1,h2/main/0?sentinel_user=w&sentinel_password=***",
            ),
            ("nonsense", "nonsense"),
        ] {
            assert_eq!(without_password(url), shown);
        }
    }

    #[test]
    fn an_address_has_a_host_and_a_port() {
        for good in ["127.0.0.1:8000", "0.0.0.0:0", "localhost:80", "[::1]:8000"] {
            assert!(Listen::parse(good).is_ok(), "{good}");
        }
        for bad in ["8000", ":8000", "host", "host:99999", "::1:8000", "http://host:80", ""] {
            assert!(Listen::parse(bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn database_urls_are_of_sqlite_or_postgres() {
        for good in ["sqlite://larder.db", "sqlite::memory:", "sqlite:///tmp/x.db", "postgres://u:p@h:5432/d"]
        {
            assert!(DatabaseUrl::parse(good).is_ok(), "{good}");
        }
        for bad in ["", "larder.db", "mysql://h/d", "sqlite://", "sqlite:"] {
            assert!(DatabaseUrl::parse(bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn redis_urls_are_of_the_known_schemes() {
        for good in [
            "redis://localhost",
            "rediss://u:p@h:6380/1",
            "unix:///run/redis.sock",
            "valkeys://h:6380/1",
            "redis+sentinel://a:1,b:2/main",
            "rediss+sentinel://:pw@a,b/main/1?sentinel_password=pw",
            "redis+cluster://a,b",
            "rediss+cluster://u:p@a:1,b:2",
        ] {
            assert!(RedisUrl::parse(good).is_ok(), "{good}");
        }
        for bad in ["", "localhost:6379", "http://localhost", "redis://", "redis://host:port"] {
            assert!(RedisUrl::parse(bad).is_err(), "{bad}");
        }
    }
}
