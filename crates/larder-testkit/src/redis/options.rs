//! How a [`RedisServer`] is to run.

use super::RedisServer;
use crate::tls::TlsFiles;
use std::net::IpAddr;
use std::path::Path;

/// The user that the kit itself signs in as where access is limited.
pub(super) const ADMIN: (&str, &str) = ("larder-testkit", "larder-testkit");

/// What [`RedisServer::builder`] collects.
#[derive(Clone, Debug, Default)]
#[must_use = "call start()"]
pub struct RedisOptions {
    pub(super) unix_only: bool,
    pub(super) password: Option<String>,
    pub(super) acl: Vec<String>,
    pub(super) tls: Option<Tls>,
    pub(super) arguments: Vec<String>,
    /// Contents of a configuration file that the server may rewrite.
    pub(super) file: Option<String>,
    /// A Sentinel, not a data server.
    pub(super) sentinel: bool,
    /// A node of a cluster: it listens on a second port.
    pub(super) cluster: bool,
}

#[derive(Clone, Debug)]
pub(super) struct Tls {
    pub(super) ca: String,
    cert: String,
    key: String,
    /// Certificate and key that it shows to other servers.
    as_client: [String; 2],
    client_certificate: bool,
}

impl RedisOptions {
    /// No TCP port: [`url`](RedisServer::url) is a `unix://` one.
    pub fn unix_socket(mut self) -> Self {
        self.unix_only = true;
        self
    }

    /// The password of the default user (`requirepass`).
    pub fn password(mut self, password: impl Into<String>) -> Self {
        self.password = Some(password.into());
        self
    }

    /// A line of the ACL file: `user alice on >secret ~app:* +@all`. Without [`password`](Self::password) the default user is off.
    pub fn acl(mut self, line: impl Into<String>) -> Self {
        self.acl.push(line.into());
        self
    }

    /// TLS on the port, with the server certificate of `files`; clients need none.
    pub fn tls(self, files: &TlsFiles) -> Self {
        self.with_tls(files, false)
    }

    /// TLS on the port, for clients with a certificate of the same authority only.
    pub fn mutual_tls(self, files: &TlsFiles) -> Self {
        self.with_tls(files, true)
    }

    fn with_tls(mut self, files: &TlsFiles, client_certificate: bool) -> Self {
        let text = |path: &Path| path.display().to_string();
        self.tls = Some(Tls {
            ca: text(files.ca()),
            cert: text(files.cert()),
            key: text(files.key()),
            as_client: [text(files.client_cert()), text(files.client_key())],
            client_certificate,
        });
        self
    }

    /// At most this many bytes, and what goes when they are full: `volatile-lru`.
    pub fn maxmemory(self, bytes: u64, policy: &str) -> Self {
        self.arg("maxmemory", &bytes.to_string()).arg("maxmemory-policy", policy)
    }

    /// Keeps every write in an append-only file, so that a killed server comes back with its data.
    pub fn appendonly(self) -> Self {
        self.arg("appendonly", "yes").arg("auto-aof-rewrite-percentage", "0")
    }

    /// Allows the command `DEBUG` (`DEBUG SLEEP 0.2`, `DEBUG JMAP`), which Redis refuses otherwise.
    pub fn debug(self) -> Self {
        self.arg("enable-debug-command", "local")
    }

    /// Any other directive of `redis.conf`.
    pub fn arg(mut self, directive: &str, value: &str) -> Self {
        self.arguments.push(format!("--{directive}"));
        self.arguments.push(value.to_owned());
        self
    }

    /// Starts it and waits until it answers.
    ///
    /// # Panics
    /// Where `redis-server` is missing or refuses to start.
    #[must_use]
    pub fn start(self) -> RedisServer {
        RedisServer::with(self)
    }

    /// The user and password with which the kit signs in, if it has to.
    pub(super) fn admin(&self) -> Option<(&str, &str)> {
        match &self.password {
            _ if !self.acl.is_empty() => Some(ADMIN),
            Some(password) => Some(("default", password)),
            None => None,
        }
    }

    pub(super) fn acl_file(&self) -> Option<String> {
        if self.acl.is_empty() {
            return None;
        }
        let mut lines = self.acl.clone();
        lines.push(format!("user {} on >{} ~* &* +@all", ADMIN.0, ADMIN.1));
        lines.push(match &self.password {
            Some(password) => format!("user default on >{password} ~* &* +@all"),
            None => "user default off".to_owned(),
        });
        Some(lines.join("\n") + "\n")
    }

    /// What every server needs that is to have replicas or to be one: replication starts at once, leaves no file
    /// behind, and signs in. `announced` is the port under which others reach this server, and `source` the address from
    /// which it calls them.
    pub(super) fn replicated(mut self, announced: u16, source: Option<IpAddr>) -> Self {
        self = self.arg("repl-diskless-sync-delay", "0").arg("rdb-del-sync-files", "yes");
        // Something to be in step with, when nobody writes.
        self = self.arg("repl-ping-replica-period", "1");
        self =
            self.arg("replica-announce-ip", "127.0.0.1").arg("replica-announce-port", &announced.to_string());
        if let Some(source) = source {
            self = self.arg("bind-source-addr", &source.to_string());
        }
        if let Some((user, password)) =
            self.admin().map(|(user, password)| (user.to_owned(), password.to_owned()))
        {
            self = self.arg("masterauth", &password);
            if user != "default" {
                self = self.arg("masteruser", &user);
            }
        }
        if self.tls.is_some() {
            self = self.arg("tls-replication", "yes");
        }
        self
    }

    /// The command line, apart from what belongs to the directory.
    pub(super) fn command_line(&self, port: u16) -> Vec<String> {
        let port = port.to_string();
        let mut line: Vec<String> =
            // "Protected" would take all loopback addresses but one for strangers.
            ["--bind", "127.0.0.1 -::1", "--protected-mode", "no", "--save", "", "--port"].map(Into::into).into();
        if let Some(tls) = &self.tls {
            line.extend(["0", "--tls-port", &port, "--tls-ca-cert-file", &tls.ca].map(str::to_owned));
            line.extend(["--tls-cert-file", &tls.cert, "--tls-key-file", &tls.key].map(str::to_owned));
            let [cert, key] = &tls.as_client;
            line.extend(["--tls-client-cert-file", cert, "--tls-client-key-file", key].map(str::to_owned));
            line.extend(
                ["--tls-auth-clients", if tls.client_certificate { "yes" } else { "no" }].map(str::to_owned),
            );
        } else {
            line.push(port);
        }
        if let (Some(password), true) = (&self.password, self.acl.is_empty()) {
            line.extend(["--requirepass".to_owned(), password.clone()]);
        }
        line.extend(self.arguments.iter().cloned());
        line
    }
}
