//! A real PostgreSQL of one's own, with a fresh database for each test.

mod install;
mod statements;
mod template;

use crate::poll::Poll;
use crate::process::{Process, log_tail};
use crate::{dirs, ports};
use install::Install;
use nix::sys::signal::Signal;
use std::path::PathBuf;
use std::process::{Command, Stdio};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};
use std::time::Duration;
use tempfile::TempDir;

const START: Duration = Duration::from_secs(60);
const ATTEMPTS: usize = 10;

/// What makes it fast and small: a test's database need not survive a power cut (it does survive SIGKILL). Every statement goes to the log before it is run.
const SETTINGS: &[&str] = &[
    "fsync=off",
    "full_page_writes=off",
    "wal_level=minimal",
    "max_wal_senders=0",
    "max_connections=200",
    "shared_buffers=32MB",
    "listen_addresses=127.0.0.1",
    "log_statement=all",
    "log_line_prefix=~larder~%d~",
];

/// A PostgreSQL server on a free loopback port and a Unix socket, in a directory of its own; the superuser is `postgres`, without a password.
/// All operations take `&self`. Dropping it ends the process and removes the directory.
///
/// `initdb` runs once for a target directory and PostgreSQL version; each server gets a copy of what it made.
#[derive(Debug)]
pub struct PostgresServer {
    install: Install,
    port: u16,
    databases: AtomicUsize,
    // Before `dir`: the process ends before its directory goes.
    process: Mutex<Option<Process>>,
    dir: TempDir,
}

impl PostgresServer {
    /// A server for this caller alone.
    ///
    /// # Panics
    /// Where PostgreSQL is missing or refuses to start.
    #[must_use]
    pub fn start() -> Self {
        let install = Install::find();
        let dir = dirs::temporary("postgres");
        install.own(dir.path());
        template::data_directory(&install, &dir.path().join("data"));
        let mut server =
            Self { install, port: 0, databases: AtomicUsize::new(0), process: Mutex::new(None), dir };
        for _ in 0..ATTEMPTS {
            server.port = ports::free();
            if let Some(process) = server.launch() {
                *server.slot() = Some(process);
                return server;
            }
        }
        panic!("PostgreSQL found no free port in {ATTEMPTS} attempts");
    }

    /// The server that all tests of this process share, which ends when the last of them lets go of it. Do not pause or kill this one.
    #[must_use]
    pub fn shared() -> Arc<Self> {
        static SHARED: Mutex<Weak<PostgresServer>> = Mutex::new(Weak::new());
        let mut shared = SHARED.lock().unwrap_or_else(PoisonError::into_inner);
        shared.upgrade().unwrap_or_else(|| {
            let server = Arc::new(Self::start());
            *shared = Arc::downgrade(&server);
            server
        })
    }

    /// Creates an empty database and returns its URL. It lives as long as the server.
    #[must_use]
    pub fn fresh_database(&self) -> String {
        let name = format!("test_{}", self.databases.fetch_add(1, Ordering::Relaxed));
        self.execute(&self.url("postgres"), &format!("CREATE DATABASE {name}"));
        self.url(&name)
    }

    /// The URL of a database over TCP.
    #[must_use]
    pub fn url(&self, database: &str) -> String {
        format!("postgres://postgres@127.0.0.1:{}/{database}", self.port)
    }

    /// The TCP port.
    #[must_use]
    pub fn port(&self) -> u16 {
        self.port
    }

    /// The directory of the Unix socket.
    #[must_use]
    pub fn socket_directory(&self) -> PathBuf {
        self.dir.path().to_owned()
    }

    /// Runs SQL in the database of a URL by `psql` and returns the rows, columns separated by `|`.
    ///
    /// # Panics
    /// When a statement fails.
    #[track_caller]
    pub fn execute(&self, url: &str, sql: &str) -> String {
        let mut command = Command::new(self.install.program("psql"));
        command.args(["-X", "-A", "-t", "-q", "-v", "ON_ERROR_STOP=1", "-d", url, "-c", sql]);
        let output = command.stdin(Stdio::null()).output().unwrap_or_else(|e| panic!("cannot run psql: {e}"));
        assert!(output.status.success(), "{sql}: {}", String::from_utf8_lossy(&output.stderr));
        String::from_utf8_lossy(&output.stdout).trim_end().to_owned()
    }

    /// SIGKILL for the server and its sessions: every connection breaks, as in a crash. Returns when the server is gone.
    pub fn kill(&self) {
        let Some(process) = self.slot().take() else { return };
        // The parent first: it would take the death of a session for a crash and start over.
        let sessions = process.children();
        process.kill();
        sessions.iter().for_each(|session| session.signal(Signal::SIGKILL));
    }

    /// Starts again on the same port, with all its data, after [`kill`](Self::kill) or while it runs.
    pub fn restart(&self) {
        self.kill();
        let poll = Poll::new(START);
        let process = loop {
            match self.launch() {
                Some(process) => break process,
                None => assert!(poll.again_blocking(), "somebody else took port {} of PostgreSQL", self.port),
            }
        };
        *self.slot() = Some(process);
    }

    /// SIGSTOP for the server and its sessions: connections stay open and nothing is answered.
    pub fn pause(&self) {
        self.signal_all(Signal::SIGSTOP);
    }

    /// Goes on after [`pause`](Self::pause).
    pub fn resume(&self) {
        self.signal_all(Signal::SIGCONT);
    }

    /// What the server has logged.
    #[must_use]
    pub fn log(&self) -> String {
        String::from_utf8_lossy(&std::fs::read(self.log_file()).unwrap_or_default()).into_owned()
    }

    fn log_file(&self) -> PathBuf {
        self.dir.path().join("postgres.log")
    }

    fn slot(&self) -> MutexGuard<'_, Option<Process>> {
        self.process.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn signal_all(&self, signal: Signal) {
        let mut slot = self.slot();
        let process = slot.as_mut().unwrap_or_else(|| panic!("PostgreSQL on port {} is down", self.port));
        process.signal(signal);
        // One process serves each session; stopping the parent alone would leave them answering.
        process.children().iter().for_each(|session| session.signal(signal));
    }

    /// `None` where somebody else has the port, or killed sessions are not quite gone.
    fn launch(&self) -> Option<Process> {
        let data = self.dir.path().join("data");
        let log_before = std::fs::metadata(self.log_file()).map_or(0, |m| m.len());
        let mut process =
            Process::start(&self.install.program("postgres"), &self.log_file(), Signal::SIGQUIT, |command| {
                command.arg("-D").arg(&data).args(["-p", &self.port.to_string(), "-k"]).arg(self.dir.path());
                for setting in SETTINGS {
                    command.args(["-c", setting]);
                }
                command.current_dir(self.dir.path());
                self.install.run_as_user(command);
            })
            .unwrap_or_else(|e| panic!("cannot start postgres: {e}"));
        let poll = Poll::new(START);
        let pid = process.id().to_string();
        // The last line of this file is what `pg_ctl -w` waits for; its first one tells it from the file of a killed server.
        let ready = || {
            std::fs::read_to_string(data.join("postmaster.pid")).is_ok_and(|file| {
                file.lines().next() == Some(&pid)
                    && file.lines().last().is_some_and(|line| line.trim() == "ready")
            })
        };
        while !ready() {
            if process.exited().is_some() {
                let log = self.log();
                let said = log.get(usize::try_from(log_before).unwrap_or(0)..).unwrap_or(&log);
                let passing = said.contains("Address already in use") || said.contains("is still in use");
                assert!(passing, "PostgreSQL did not start: {}", log_tail(&self.log_file()));
                return None;
            }
            assert!(poll.again_blocking(), "PostgreSQL is not ready: {}", log_tail(&self.log_file()));
        }
        Some(process)
    }
}
