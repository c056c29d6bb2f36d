//! Which servers there are, and how nodes find them.

use super::Network;
use super::connection::Connection;
use crate::redis::{Command, Reply};
use std::collections::BTreeMap;

/// How servers stand to each other.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Topology {
    /// One server.
    Single,
    /// A primary, a replica, and three Sentinels who say which is which.
    Sentinel,
    /// So many primaries, and a replica that may take the place of any.
    Cluster(usize),
}

/// The name under which Sentinels know the primary.
const NAME: &str = "main";

/// The port of every server.
pub(super) const PORT: i64 = 6379;

/// Sentinels, by which most of them is meant.
const SENTINELS: usize = 3;

impl Topology {
    /// Where primaries are, where a replica is, and where Sentinels are.
    pub(super) fn seats(self) -> (Vec<usize>, Option<usize>, BTreeMap<usize, usize>) {
        match self {
            Self::Single => (vec![0], None, BTreeMap::new()),
            Self::Sentinel => (vec![0], Some(1), (2..2 + SENTINELS).map(|seat| (seat, 0)).collect()),
            Self::Cluster(primaries) => ((0..primaries).collect(), Some(primaries), BTreeMap::new()),
        }
    }

    /// Where nodes are told to look.
    pub fn url(self) -> String {
        let hosts = |seats: std::ops::Range<usize>| seats.map(host).collect::<Vec<_>>().join(",");
        match self {
            Self::Single => "redis://s0".to_owned(),
            Self::Sentinel => format!("redis+sentinel://{}/{NAME}", hosts(2..2 + SENTINELS)),
            Self::Cluster(primaries) => format!("redis+cluster://{}", hosts(0..primaries)),
        }
    }
}

/// Names the server of a seat.
pub(super) fn host(seat: usize) -> String {
    format!("s{seat}")
}

/// The seat of a host.
pub(super) fn seat_of(host: &str) -> usize {
    host.strip_prefix('s').and_then(|number| number.parse().ok()).unwrap_or(0)
}

impl Network {
    /// Sentinels, where there are some.
    pub fn sentinels(&self) -> Vec<usize> {
        self.0.inner.lock().sentinels.keys().copied().collect()
    }

    /// A Sentinel calls this server the primary from now on, and says so to those who listen.
    pub fn call_primary(&self, sentinel: usize, server: usize) {
        let mut before = server;
        self.change(|inner| before = inner.sentinels.insert(sentinel, server).unwrap_or(server));
        let words = format!("{NAME} {} {PORT} {} {PORT}", host(before), host(server));
        let told = self.at(sentinel).with_server(|state| state.announce(b"+switch-master", words.as_bytes()));
        self.publish(told);
    }

    /// What a Sentinel answers.
    pub(super) fn sentinel_says(&self, connection: &Connection, command: &Command) -> Option<Reply> {
        let named = *self.0.inner.lock().sentinels.get(&connection.process.seat)?;
        if !command[0].eq_ignore_ascii_case(b"SENTINEL") {
            return None;
        }
        let known = command.get(2).is_some_and(|name| name == NAME.as_bytes());
        let address = vec![Reply::bulk(host(named)), Reply::bulk(PORT.to_string())];
        Some(if known { Reply::Array(address) } else { Reply::Null })
    }
}
