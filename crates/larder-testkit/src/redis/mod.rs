//! A real `redis-server` of one's own.

mod cluster;
mod faults;
mod network;
mod options;
mod resp;
mod sentinel;
mod stats;

pub use cluster::{ClusterOptions, RedisCluster};
pub use options::RedisOptions;
pub use resp::{Connection, Reply};
pub use sentinel::{Member, RedisSentinel, SentinelOptions};

use crate::poll::Poll;
use crate::process::{Process, log_tail, missing};
use crate::{dirs, ports};
use nix::sys::signal::Signal;
use std::io;
use std::path::PathBuf;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;
use tempfile::TempDir;

/// How long a server may take to answer after its start, on a busy machine.
const START: Duration = Duration::from_secs(30);
/// A port can be taken between our look and the server's: so often another one is tried.
const ATTEMPTS: usize = 10;

/// A Redis server on a free loopback port, in a directory of its own. All operations take `&self`, so that a test can kill or pause it while
/// requests run. Dropping it ends the process and removes the directory.
///
/// Nothing is persisted unless [`RedisOptions::appendonly`] is set: a server that is killed and restarted is empty.
#[derive(Debug)]
pub struct RedisServer {
    options: RedisOptions,
    port: u16,
    /// The port of the cluster's own traffic; 0 without.
    bus_port: u16,
    paused: AtomicBool,
    // Before `dir`: the process ends before its directory goes.
    process: Mutex<Option<Process>>,
    dir: TempDir,
}

/// The data of a server at one moment, made by [`RedisServer::snapshot`].
#[derive(Debug)]
pub struct Snapshot(TempDir);

impl RedisServer {
    /// A server with the defaults of Redis, without persistence, on TCP.
    ///
    /// # Panics
    /// Where `redis-server` is missing or refuses to start.
    #[must_use]
    pub fn start() -> Self {
        Self::builder().start()
    }

    /// Another kind of server: [`RedisOptions`].
    pub fn builder() -> RedisOptions {
        RedisOptions::default()
    }

    fn with(options: RedisOptions) -> Self {
        let dir = dirs::temporary("redis");
        std::fs::create_dir(dir.path().join("data")).expect("the directory is new");
        if let Some(acl) = options.acl_file() {
            std::fs::write(dir.path().join("users.acl"), acl).expect("the directory is ours");
        }
        if let Some(file) = &options.file {
            std::fs::write(dir.path().join("redis.conf"), file).expect("the directory is ours");
        }
        let mut server = Self {
            port: 0,
            bus_port: 0,
            paused: AtomicBool::new(false),
            options,
            process: Mutex::new(None),
            dir,
        };
        for _ in 0..ATTEMPTS {
            server.port = if server.options.unix_only { 0 } else { ports::free() };
            server.bus_port = if server.options.cluster { ports::free() } else { 0 };
            match server.launch() {
                Ok(process) => {
                    *server.slot() = Some(process);
                    return server;
                }
                Err(LaunchError::AddressInUse) => {}
                Err(LaunchError::Other(why)) => panic!("redis-server did not start: {why}"),
            }
        }
        panic!("redis-server found no free port in {ATTEMPTS} attempts");
    }

    /// The TCP port; 0 for a server on a Unix socket only.
    #[must_use]
    pub fn port(&self) -> u16 {
        self.port
    }

    /// The Unix socket, which every server has.
    #[must_use]
    pub fn socket(&self) -> PathBuf {
        self.dir.path().join("redis.sock")
    }

    /// Where clients connect, with the password if there is one and no user: `redis://127.0.0.1:6379/0`, with TLS `rediss://localhost:…/0`.
    #[must_use]
    pub fn url(&self) -> String {
        self.url_of("", self.options.password.as_deref().unwrap_or_default())
    }

    /// [`url`](Self::url) for another user or password; an empty user is the default one. Both must be safe in a URL.
    #[must_use]
    pub fn url_of(&self, user: &str, password: &str) -> String {
        if self.options.unix_only {
            let query = [("user", user), ("pass", password)].map(|(name, value)| match value {
                "" => String::new(),
                value => format!("&{name}={value}"),
            });
            return format!("unix://{}?db=0{}{}", self.socket().display(), query[0], query[1]);
        }
        let host = if self.options.tls.is_some() { "localhost" } else { "127.0.0.1" };
        self.url_at(&format!("{host}:{}", self.port), user, password)
    }

    /// [`url_of`](Self::url_of) by another way than the server's own address: `host:port` of a proxy, or another name of this host.
    #[must_use]
    pub fn url_at(&self, address: &str, user: &str, password: &str) -> String {
        let scheme = if self.options.tls.is_some() { "rediss" } else { "redis" };
        let sign_in = if password.is_empty() { String::new() } else { format!("{user}:{password}@") };
        format!("{scheme}://{sign_in}{address}/0")
    }

    /// Sends one command over the Unix socket and returns the answer, errors of Redis included.
    ///
    /// # Panics
    /// Where the server is down, or paused (after 5 s). [`try_command`](Self::try_command) says so instead.
    #[track_caller]
    pub fn command<A: AsRef<[u8]>>(&self, arguments: &[A]) -> Reply {
        self.try_command(arguments)
            .unwrap_or_else(|e| panic!("redis on port {} did not answer: {e}", self.port))
    }

    /// [`command`](Self::command), for a server that may be down.
    ///
    /// # Errors
    /// When there is no connection or no answer within 5 s.
    pub fn try_command<A: AsRef<[u8]>>(&self, arguments: &[A]) -> io::Result<Reply> {
        self.connect()?.call(arguments)
    }

    /// A connection of one's own over the Unix socket, signed in as the administrator: for questions whose answers have to
    /// come from one process.
    ///
    /// # Errors
    /// When there is none.
    pub fn connect(&self) -> io::Result<Connection> {
        let mut connection = Connection::open(&self.socket())?;
        if let Some((user, password)) = self.options.admin() {
            connection.call(&["AUTH", user, password])?;
        }
        Ok(connection)
    }

    /// SIGKILL: connections break at once, nothing is written. Returns when the process is gone.
    pub fn kill(&self) {
        if let Some(process) = self.slot().take() {
            process.kill();
        }
        self.paused.store(false, Ordering::SeqCst);
    }

    /// SIGSTOP: connections stay open, new ones are accepted by the kernel, and nothing is answered.
    pub fn pause(&self) {
        self.signal(Signal::SIGSTOP);
        self.paused.store(true, Ordering::SeqCst);
    }

    /// SIGCONT: goes on after [`pause`](Self::pause), with all its data.
    pub fn resume(&self) {
        self.signal(Signal::SIGCONT);
        self.paused.store(false, Ordering::SeqCst);
    }

    /// Whether it runs: neither killed nor paused by this kit, nor ended by itself.
    #[must_use]
    pub fn is_up(&self) -> bool {
        let running = self.slot().as_mut().is_some_and(|process| process.exited().is_none());
        running && !self.paused.load(Ordering::SeqCst)
    }

    /// Whether this kit has [paused](Self::pause) it.
    #[must_use]
    pub fn is_paused(&self) -> bool {
        self.paused.load(Ordering::SeqCst)
    }

    /// Ends the server if it runs, and starts it on the same port with what it had persisted: everything with
    /// [`RedisOptions::appendonly`], nothing without.
    pub fn restart(&self) {
        self.kill();
        let poll = Poll::new(START);
        let process = loop {
            match self.launch() {
                Ok(process) => break process,
                Err(LaunchError::AddressInUse) if poll.again_blocking() => {}
                Err(LaunchError::AddressInUse) => panic!("somebody else took port {} of redis", self.port),
                Err(LaunchError::Other(why)) => panic!("redis-server did not start again: {why}"),
            }
        };
        *self.slot() = Some(process);
    }

    /// [`restart`](Self::restart) without any data.
    pub fn restart_empty(&self) {
        self.kill();
        self.wipe();
        self.restart();
    }

    /// [`restart`](Self::restart) with all the data of this moment, persistence or not. The server must be answering.
    pub fn restart_keeping_data(&self) {
        let now = self.snapshot();
        self.restore_snapshot(&now);
    }

    /// Removes what is on the disk: the next [`restart`](Self::restart) comes up empty. A running server keeps what it has in memory.
    pub fn wipe(&self) {
        dirs::empty(&self.data()).unwrap_or_else(|e| panic!("cannot empty the directory of redis: {e}"));
    }

    /// Saves the data of this moment.
    #[must_use]
    pub fn snapshot(&self) -> Snapshot {
        let saved = self.command(&["SAVE"]);
        assert!(!saved.is_error(), "redis cannot save: {}", saved.text());
        let copy = dirs::temporary("redis-snapshot");
        dirs::copy(&self.data(), copy.path())
            .unwrap_or_else(|e| panic!("cannot copy the data of redis: {e}"));
        self.forget_dump();
        Snapshot(copy)
    }

    /// Ends the server if it runs, and starts it on the same port with the data of `snapshot`: a restore from a backup.
    pub fn restore_snapshot(&self, snapshot: &Snapshot) {
        self.kill();
        self.wipe();
        dirs::copy(snapshot.0.path(), &self.data())
            .unwrap_or_else(|e| panic!("cannot copy the data of redis: {e}"));
        self.restart();
        self.forget_dump();
    }

    /// What the server has logged.
    #[must_use]
    pub fn log(&self) -> String {
        std::fs::read_to_string(self.dir.path().join("redis.log")).unwrap_or_default()
    }

    /// A dump that stayed would come back at a later restart, although persistence is off.
    fn forget_dump(&self) {
        let _ = std::fs::remove_file(self.data().join("dump.rdb"));
    }

    fn data(&self) -> PathBuf {
        self.dir.path().join("data")
    }

    fn slot(&self) -> MutexGuard<'_, Option<Process>> {
        self.process.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn signal(&self, signal: Signal) {
        self.slot().as_mut().unwrap_or_else(|| panic!("redis on port {} is down", self.port)).signal(signal);
    }

    fn launch(&self) -> Result<Process, LaunchError> {
        let program = program();
        let log = self.dir.path().join("redis.log");
        let _ = std::fs::remove_file(&log);
        let mut process = Process::start(&program, &log, Signal::SIGKILL, |command| {
            if self.options.file.is_some() {
                command.arg(self.dir.path().join("redis.conf"));
            }
            command.args(self.options.command_line(self.port)).arg("--dir").arg(self.data());
            if self.options.cluster {
                // Not among the data: a node that is wiped or restored is still the same node.
                command.args(["--cluster-enabled", "yes", "--cluster-port", &self.bus_port.to_string()]);
                command.arg("--cluster-config-file").arg(self.dir.path().join("nodes.conf"));
            }
            if self.options.sentinel {
                command.arg("--sentinel");
            }
            command.arg("--unixsocket").arg(self.socket());
            if !self.options.acl.is_empty() {
                command.arg("--aclfile").arg(self.dir.path().join("users.acl"));
            }
        })
        .map_err(|e| LaunchError::Other(e.to_string()))?;
        let poll = Poll::new(START);
        // The socket is in our directory: it is our server that answers. While it loads its data it answers -LOADING.
        while !self.try_command(&["PING"]).is_ok_and(|reply| reply.text() == "PONG") {
            if process.exited().is_some() {
                let said = log_tail(&log);
                let taken = said.contains("Address already in use");
                return Err(if taken { LaunchError::AddressInUse } else { LaunchError::Other(said) });
            }
            if !poll.again_blocking() {
                return Err(LaunchError::Other(format!("no answer within {START:?}\n{}", log_tail(&log))));
            }
        }
        Ok(process)
    }
}

enum LaunchError {
    AddressInUse,
    Other(String),
}

/// `LARDER_TESTKIT_REDIS`, or what is installed.
fn program() -> PathBuf {
    if let Some(chosen) = std::env::var_os("LARDER_TESTKIT_REDIS").filter(|chosen| !chosen.is_empty()) {
        return chosen.into();
    }
    let installed = ["redis-server", "valkey-server"].into_iter().find_map(dirs::in_path);
    installed.unwrap_or_else(|| missing("redis-server", "redis-server"))
}
