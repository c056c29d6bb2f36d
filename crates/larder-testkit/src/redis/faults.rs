//! What can go wrong with a server that runs.

use super::RedisServer;
use crate::poll::Poll;
use std::time::Duration;

/// How long a replica may take to be in step, on a busy machine.
const IN_STEP: Duration = super::START;

impl RedisServer {
    /// Makes this server a replica of another one (`REPLICAOF`), and waits until it holds the other's data. Clients stay
    /// connected: reads and `PING` are answered, writes refused (`READONLY`).
    ///
    /// # Panics
    /// Where it is not in step within 30 s.
    pub fn demote(&self, to: &RedisServer) {
        if let Some((user, password)) = to.options.admin() {
            let user = if user == "default" { "" } else { user };
            self.set(&["CONFIG", "SET", "masteruser", user, "masterauth", password]);
        }
        if to.options.tls.is_some() {
            self.set(&["CONFIG", "SET", "tls-replication", "yes"]);
        }
        self.set(&["REPLICAOF", "127.0.0.1", &to.port().to_string()]);
        let poll = Poll::new(IN_STEP);
        while self.info("replication").get("master_link_status").is_none_or(|status| status != "up") {
            assert!(
                poll.again_blocking(),
                "the replica on port {} is not in step:\n{}",
                self.port,
                self.log()
            );
        }
    }

    /// Makes it a primary again, with the data that it has.
    pub fn promote(&self) {
        self.set(&["REPLICAOF", "NO", "ONE"]);
    }

    /// Subscribers that are more than so many bytes behind are disconnected (`client-output-buffer-limit`).
    pub fn limit_subscribers(&self, bytes: u64) {
        self.set(&["CONFIG", "SET", "client-output-buffer-limit", &format!("pubsub {bytes} 0 0")]);
    }

    /// Disconnects all clients of a type (`normal`, `pubsub`, `replica`); how many there were.
    #[track_caller]
    pub fn kill_clients(&self, kind: &str) -> i64 {
        let answer = self.command(&["CLIENT", "KILL", "TYPE", kind]);
        answer.int().unwrap_or_else(|| panic!("redis refuses: {}", answer.text()))
    }

    /// Answers no write for this long, or until [`unpause_clients`](Self::unpause_clients); reads are answered, scripts
    /// that may write are not (`CLIENT PAUSE … WRITE`).
    pub fn pause_writes(&self, at_most: Duration) {
        self.set(&["CLIENT", "PAUSE", &at_most.as_millis().to_string(), "WRITE"]);
    }

    /// Answers no command for this long, or until [`unpause_clients`](Self::unpause_clients).
    pub fn pause_clients(&self, at_most: Duration) {
        self.set(&["CLIENT", "PAUSE", &at_most.as_millis().to_string(), "ALL"]);
    }

    /// Ends a pause of clients.
    pub fn unpause_clients(&self) {
        self.set(&["CLIENT", "UNPAUSE"]);
    }

    /// From now on at most this many bytes of memory (0: no bound), and what goes when they are full
    /// (`volatile-lru`).
    pub fn limit_memory(&self, bytes: u64, policy: &str) {
        self.set(&["CONFIG", "SET", "maxmemory-policy", policy, "maxmemory", &bytes.to_string()]);
    }

    /// Leaves room for so many bytes more than are used now, and refuses what needs more.
    pub fn fill_up(&self, room: u64) {
        let used: u64 = self.info("memory")["used_memory"].parse().expect("used_memory is a number");
        self.limit_memory(used + room, "noeviction");
    }

    /// What an eviction does to a key: it is gone, replicas are told, nobody else is. False where it was not there.
    #[track_caller]
    pub fn evict(&self, key: impl AsRef<[u8]>) -> bool {
        self.command(&[b"UNLINK", key.as_ref()]).int() == Some(1)
    }

    /// Everything is gone at once, the process and its identity stay (`FLUSHALL`).
    pub fn flush(&self) {
        self.set(&["FLUSHALL"]);
    }

    /// Refuses writes while fewer than `replicas` have been heard of within `lag_seconds` (`min-replicas-to-write`).
    pub fn need_replicas(&self, replicas: u32, lag_seconds: u32) {
        let (replicas, lag) = (replicas.to_string(), lag_seconds.to_string());
        self.set(&["CONFIG", "SET", "min-replicas-to-write", &replicas, "min-replicas-max-lag", &lag]);
    }

    #[track_caller]
    fn set(&self, command: &[&str]) {
        let answer = self.command(command);
        assert!(!answer.is_error(), "redis refuses {}: {}", command[0], answer.text());
    }
}
