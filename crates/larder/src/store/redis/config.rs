//! Where Redis is and how to speak to it.

use super::url::Target;
use rustls::pki_types::{CertificateDer, PrivateKeyDer, pem::PemObject};
use std::{fmt, fs, path::Path, path::PathBuf, time::Duration};

/// The eviction policies that Redis knows.
const POLICIES: [&str; 8] = [
    "noeviction",
    "volatile-lru",
    "volatile-lfu",
    "volatile-random",
    "volatile-ttl",
    "allkeys-lru",
    "allkeys-lfu",
    "allkeys-random",
];

/// Most connections that may be asked for: beyond this, one server has other troubles.
const MAX_POOL: usize = 1_000;

/// Where Redis is and how to speak to it. The defaults are those of `larder serve`.
#[derive(Clone, PartialEq, Eq)]
pub struct RedisConfig {
    /// `redis://`, `rediss://` (TLS; the certificate is always verified) or `unix://`, with user, password and database
    /// number: `rediss://user:password@host:6379/0`, `unix:///run/redis.sock?db=0&user=u&password=p`.
    ///
    /// `redis+sentinel://` (`rediss+sentinel://` with TLS to all) names Sentinels, whose default port is 26379, and what
    /// they call the primary: `redis+sentinel://user:password@s1,s2,s3:26380/main/0`. User and password are those of the
    /// data servers; Sentinels that want some get them from `?sentinel_user=u&sentinel_password=p`.
    ///
    /// `redis+cluster://` (`rediss+cluster://` with TLS) names some nodes of a Redis Cluster, which name the others:
    /// `redis+cluster://user:password@h1,h2:7001`. There is no database but 0.
    pub url: String,
    /// For making one connection, TLS handshake included. Default 2 s.
    pub connect_timeout: Duration,
    /// For commands that no request waits for. Default 2 s.
    pub command_timeout: Duration,
    /// The Redis budget of one request, retry included. Default 200 ms.
    pub read_timeout: Duration,
    /// Upper bound on connections to the server, in a Cluster to each primary; 2 to 1,000. Default 10.
    pub pool_size: usize,
    /// How many of them carry data; one more carries coherence. One pipelined connection is nearly always best: raise
    /// it where measured to help. Less than `pool_size`. Default 1.
    pub data_connections: usize,
    /// How often idle data connections are checked. Default 30 s.
    pub health_interval: Duration,
    /// Files for TLS.
    pub tls: TlsFiles,
    /// Where set, the server's `maxmemory` in bytes; applied at every connect together with the policy. A server that
    /// refuses is told of in the link's advice.
    pub maxmemory: Option<u64>,
    /// The server's `maxmemory-policy`, applied where [`maxmemory`](Self::maxmemory) is set. Default `volatile-lru`.
    pub maxmemory_policy: String,
}

/// PEM files for TLS.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct TlsFiles {
    /// Authorities that may have issued the server's certificate, in place of the system's.
    pub ca: Option<PathBuf>,
    /// The client's certificate, and what chains it to its authority.
    pub cert: Option<PathBuf>,
    /// The key of the client's certificate.
    pub key: Option<PathBuf>,
}

impl RedisConfig {
    /// Redis at this URL, with the defaults for everything else.
    #[must_use]
    pub fn new(url: impl Into<String>) -> Self {
        Self {
            url: url.into(),
            connect_timeout: Duration::from_secs(2),
            command_timeout: Duration::from_secs(2),
            read_timeout: Duration::from_millis(200),
            pool_size: 10,
            data_connections: 1,
            health_interval: Duration::from_secs(30),
            tls: TlsFiles::default(),
            maxmemory: None,
            maxmemory_policy: "volatile-lru".into(),
        }
    }

    /// Checks everything that can be checked without connecting. Reads the PEM files.
    ///
    /// # Errors
    /// Every problem, each a sentence for the person who configured it, without the password.
    pub fn validate(&self) -> Result<(), Vec<String>> {
        self.resolve().map(drop)
    }

    /// The address as people may see it: `redis://host:port/0`, without user and password.
    pub fn url_for_people(&self) -> String {
        match Target::parse(&self.url) {
            Ok(target) => target.to_string(),
            Err(_) => "an address that is not understood".into(),
        }
    }

    /// The checked form.
    pub(super) fn resolve(&self) -> Result<Resolved, Vec<String>> {
        let mut problems = self.problems_with_numbers();
        let target = Target::parse(&self.url).map_err(|more| problems.extend(more)).ok();
        let tls = match target.as_ref().map(Target::tls) {
            Some(true) => self.tls.read(&mut problems),
            // What the URL's scheme contradicts is refused, not ignored.
            Some(false) => {
                for (what, file) in self.tls.named() {
                    problems.push(format!(
                        "a TLS {what} is configured ({}), but the URL asks for no TLS: write rediss://",
                        file.display()
                    ));
                }
                TlsMaterial::default()
            }
            None => TlsMaterial::default(),
        };
        match target {
            Some(target) if problems.is_empty() => Ok(Resolved { target, tls }),
            _ => Err(problems),
        }
    }

    fn problems_with_numbers(&self) -> Vec<String> {
        let mut problems = Vec::new();
        for (name, value) in [
            ("connect time-out", self.connect_timeout),
            ("command time-out", self.command_timeout),
            ("read time-out", self.read_timeout),
            ("health interval", self.health_interval),
        ] {
            if value.is_zero() {
                problems.push(format!("the Redis {name} must be longer than 0"));
            }
        }
        if !(2..=MAX_POOL).contains(&self.pool_size) {
            let pool = self.pool_size;
            problems.push(format!(
                "the Redis pool size must be 2 to {MAX_POOL} (one for coherence, the rest for data), not {pool}"
            ));
        } else if !(1..self.pool_size).contains(&self.data_connections) {
            let (data, pool) = (self.data_connections, self.pool_size);
            problems.push(format!(
                "{data} data connections do not fit in a Redis pool of {pool} with one for coherence"
            ));
        }
        if !POLICIES.contains(&self.maxmemory_policy.as_str()) {
            let (policy, known) = (&self.maxmemory_policy, POLICIES.join(", "));
            problems.push(format!("`{policy}` is no Redis eviction policy; known are {known}"));
        }
        problems
    }
}

impl fmt::Debug for RedisConfig {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("RedisConfig")
            .field("url", &self.url_for_people())
            .field("connect_timeout", &self.connect_timeout)
            .field("command_timeout", &self.command_timeout)
            .field("read_timeout", &self.read_timeout)
            .field("pool_size", &self.pool_size)
            .field("data_connections", &self.data_connections)
            .field("health_interval", &self.health_interval)
            .field("tls", &self.tls)
            .field("maxmemory", &self.maxmemory)
            .field("maxmemory_policy", &self.maxmemory_policy)
            .finish()
    }
}

/// A configuration that was found to be sound.
#[derive(Debug)]
pub(super) struct Resolved {
    pub(super) target: Target,
    pub(super) tls: TlsMaterial,
}

/// What the TLS files hold.
#[derive(Debug, Default)]
pub(super) struct TlsMaterial {
    /// Own authorities; `None` = the system's.
    pub(super) ca: Option<Vec<CertificateDer<'static>>>,
    /// Client certificate chain and key.
    pub(super) client: Option<(Vec<CertificateDer<'static>>, PrivateKeyDer<'static>)>,
}

impl TlsFiles {
    fn named(&self) -> impl Iterator<Item = (&'static str, &Path)> {
        let all = [("CA", &self.ca), ("certificate", &self.cert), ("key", &self.key)];
        all.into_iter().filter_map(|(what, file)| Some((what, file.as_deref()?)))
    }

    fn read(&self, problems: &mut Vec<String>) -> TlsMaterial {
        let ca = self.ca.as_deref().and_then(|file| certificates("CA", file, problems));
        let client = match (&self.cert, &self.key) {
            (None, None) => None,
            (Some(cert), Some(key)) => {
                let (chain, key) = (certificates("certificate", cert, problems), private_key(key, problems));
                chain.zip(key)
            }
            (Some(_), None) => {
                problems.push("a TLS certificate is configured without its key".into());
                None
            }
            (None, Some(_)) => {
                problems.push("a TLS key is configured without its certificate".into());
                None
            }
        };
        TlsMaterial { ca, client }
    }
}

fn contents(what: &str, file: &Path, problems: &mut Vec<String>) -> Option<Vec<u8>> {
    let name = file.display();
    fs::read(file)
        .map_err(|error| problems.push(format!("the TLS {what} file {name} can't be read: {error}")))
        .ok()
}

fn certificates(what: &str, file: &Path, problems: &mut Vec<String>) -> Option<Vec<CertificateDer<'static>>> {
    let pem = contents(what, file, problems)?;
    let name = file.display();
    match CertificateDer::pem_slice_iter(&pem).collect::<Result<Vec<_>, _>>() {
        Ok(found) if !found.is_empty() => Some(found),
        Ok(_) => {
            problems.push(format!("the TLS {what} file {name} holds no PEM certificate"));
            None
        }
        Err(error) => {
            problems.push(format!("the TLS {what} file {name} is no valid PEM: {error}"));
            None
        }
    }
}

fn private_key(file: &Path, problems: &mut Vec<String>) -> Option<PrivateKeyDer<'static>> {
    let pem = contents("key", file, problems)?;
    let name = file.display();
    PrivateKeyDer::from_pem_slice(&pem)
        .map_err(|_| problems.push(format!("the TLS key file {name} holds no PEM private key")))
        .ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn problems(change: impl FnOnce(&mut RedisConfig)) -> String {
        let mut config = RedisConfig::new("redis://localhost");
        change(&mut config);
        config.validate().expect_err("something is wrong with it").join("\n")
    }

    #[test]
    fn the_defaults_are_sound() {
        assert_eq!(RedisConfig::new("redis://localhost:6379/0").validate(), Ok(()));
    }

    #[test]
    fn every_problem_is_named_at_once() {
        let all = problems(|config| {
            config.url = "http://host/x".into();
            config.read_timeout = Duration::ZERO;
            config.pool_size = 1;
            config.maxmemory_policy = "lru".into();
        });
        assert_eq!(all.lines().count(), 4, "{all}");
        for part in ["http", "read time-out", "pool size", "`lru` is no Redis eviction policy"] {
            assert!(all.contains(part), "{part} in {all}");
        }
    }

    #[test]
    fn data_connections_leave_one_for_coherence() {
        let set = |data, pool| {
            let mut config = RedisConfig::new("redis://localhost");
            (config.data_connections, config.pool_size) = (data, pool);
            config.validate()
        };
        assert_eq!(set(1, 2), Ok(()));
        assert_eq!(set(9, 10), Ok(()));
        assert!(set(10, 10).is_err());
        assert!(set(0, 10).is_err());
    }

    #[test]
    fn tls_files_without_tls_are_refused() {
        let all = problems(|config| config.tls.ca = Some("/nowhere/ca.pem".into()));
        assert!(all.contains("write rediss://"), "{all}");
    }

    #[test]
    fn unreadable_and_useless_pem_files_are_named() {
        let dir = std::env::temp_dir().join(format!("larder-pem-{}", std::process::id()));
        fs::create_dir_all(&dir).unwrap();
        let empty = dir.join("empty.pem");
        fs::write(&empty, "nothing\n").unwrap();
        let all = problems(|config| {
            config.url = "rediss://localhost".into();
            config.tls = TlsFiles {
                ca: Some(dir.join("absent.pem")),
                cert: Some(empty.clone()),
                key: Some(empty.clone()),
            };
        });
        fs::remove_dir_all(&dir).unwrap();
        for part in ["absent.pem can't be read", "holds no PEM certificate", "holds no PEM private key"] {
            assert!(all.contains(part), "{part} in {all}");
        }
    }

    #[test]
    fn a_certificate_without_its_key_is_refused() {
        let all = problems(|config| {
            config.url = "rediss://localhost".into();
            config.tls.cert = Some("/nowhere/cert.pem".into());
        });
        assert!(all.contains("without its key"), "{all}");
    }

    #[test]
    fn the_password_is_in_neither_debug_output_nor_problems() {
        let mut config = RedisConfig::new("redis://app:s3cret@localhost:6379/x");
        let all = config.validate().unwrap_err().join("\n");
        assert!(!all.contains("s3cret") && !format!("{config:?}").contains("s3cret"), "{all}");
        config.url = "redis://app:s3cret@localhost:6379/2".into();
        assert_eq!(config.url_for_people(), "redis://localhost:6379/2");
        assert!(!format!("{config:?}").contains("s3cret"));
    }
}
