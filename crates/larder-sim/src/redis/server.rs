//! One server process: identity, data, clock, scripts, subscribers.

use super::commands;
use super::data::Data;
use super::lua::{Edit, Scripts};
use super::reply::Reply;
use super::request::Command;
use parking_lot::Mutex;
use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use tokio::time::Instant;

/// Names a connection.
pub type Client = u64;

/// Who a server is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Identity {
    /// Of the process.
    pub run_id: String,
    /// Of the history.
    pub replid: String,
    /// Of the history that it continues, or zeros.
    pub replid2: String,
}

/// A server's time: in simulated microseconds, as far as simulated time has steps that small.
#[derive(Clone, Debug)]
pub struct Time {
    start: Instant,
    /// What is added to the time since the start.
    pub offset_us: i64,
    last: u64,
}

impl Time {
    /// A usual clock, which has run since this moment.
    pub fn since(start: Instant) -> Self {
        Self { start, offset_us: 1_700_000_000_000_000, last: 0 }
    }

    /// The clock of another process on the same machine.
    #[must_use]
    pub fn of_another(&self) -> Self {
        Self { last: 0, ..self.clone() }
    }

    fn now_us(&self) -> u64 {
        let since = i64::try_from(self.start.elapsed().as_micros()).expect("less than 292,000 years");
        u64::try_from(since + self.offset_us).expect("after 1970")
    }
}

/// Everything that commands read and change.
#[derive(Debug)]
pub struct State {
    /// What it holds.
    pub data: Data,
    /// Who it is.
    pub identity: Identity,
    /// Its clock.
    pub time: Time,
    /// Whether it is a replica, which takes no writes.
    pub replica: bool,
    /// Whether it lacks the replicas without which it takes no writes.
    pub lacks_replicas: bool,
    /// Whether its memory is full.
    pub full: bool,
    /// Whether it is part of a Cluster.
    pub cluster: bool,
    channels: BTreeMap<Vec<u8>, BTreeSet<Client>>,
    /// What is to be sent to subscribers.
    published: Vec<(Client, Vec<u8>)>,
}

impl State {
    pub(super) fn now_us(&mut self) -> u64 {
        // Simulated time stands still while commands run; a real clock does not.
        let now = self.time.now_us();
        let ms_began = now - now % 1000;
        self.time.last = if self.time.last >= ms_began && self.time.last < ms_began + 999 {
            self.time.last + 1
        } else {
            now
        };
        self.time.last
    }

    /// For expiry.
    pub fn now_ms(&self) -> u64 {
        self.time.now_us() / 1000
    }

    /// Why a command that writes, or that grows, is refused.
    pub(super) fn refuses(&self, writes: bool, grows: bool) -> Option<Reply> {
        let error = if writes && self.replica {
            "READONLY You can't write against a read only replica."
        } else if writes && self.lacks_replicas {
            "NOREPLICAS Not enough good replicas to write."
        } else if grows && self.full {
            "OOM command not allowed when used memory > 'maxmemory'."
        } else {
            return None;
        };
        Some(Reply::Error(error.to_owned()))
    }

    /// Ends all subscriptions to such channels, as when they go to another server; what is to be said to whom.
    pub fn unsubscribe(&mut self, chosen: impl Fn(&[u8]) -> bool) -> Vec<(Client, Vec<u8>)> {
        let gone: Vec<Vec<u8>> = self.channels.keys().filter(|name| chosen(name)).cloned().collect();
        let mut told = Vec::new();
        for channel in gone {
            let subscribers = self.channels.remove(&channel).unwrap_or_default();
            let push = vec![Reply::bulk("sunsubscribe"), Reply::bulk(channel), Reply::Int(0)];
            let mut bytes = Vec::new();
            Reply::Push(push).write(&mut bytes);
            told.extend(subscribers.into_iter().map(|client| (client, bytes.clone())));
        }
        told
    }

    /// What is to be said to whom subscribes to a channel that is not part of a Cluster's data.
    pub fn announce(&self, channel: &[u8], message: &[u8]) -> Vec<(Client, Vec<u8>)> {
        let push = Reply::Push(vec![Reply::bulk("message"), Reply::bulk(channel), Reply::bulk(message)]);
        let mut bytes = Vec::new();
        push.write(&mut bytes);
        let subscribers = self.channels.get(channel).into_iter().flatten();
        subscribers.map(|client| (*client, bytes.clone())).collect()
    }

    pub(super) fn publish(&mut self, channel: &[u8], message: &[u8]) -> usize {
        let Some(subscribers) = self.channels.get(channel) else { return 0 };
        let push = Reply::Push(vec![Reply::bulk("smessage"), Reply::bulk(channel), Reply::bulk(message)]);
        let mut bytes = Vec::new();
        push.write(&mut bytes);
        self.published.extend(subscribers.iter().map(|client| (*client, bytes.clone())));
        subscribers.len()
    }
}

/// One server process.
pub struct Server {
    /// What commands read and change.
    pub state: Arc<Mutex<State>>,
    scripts: Scripts,
}

impl Server {
    /// A process that has just started with this data. `edit` is applied to every script that is loaded.
    pub fn start(identity: Identity, data: Data, time: Time, edit: Option<Edit>) -> Self {
        let state = State {
            data,
            identity,
            time,
            replica: false,
            lacks_replicas: false,
            full: false,
            cluster: false,
            channels: BTreeMap::new(),
            published: Vec::new(),
        };
        let state = Arc::new(Mutex::new(state));
        Self { scripts: Scripts::new(&state, edit), state }
    }

    /// Runs a command of a client's. Takes from the second what is to be sent before the answer.
    pub fn run(&self, client: Client, command: &Command) -> (Reply, Vec<(Client, Vec<u8>)>) {
        let reply = self.answer(client, command);
        (reply, std::mem::take(&mut self.state.lock().published))
    }

    fn answer(&self, client: Client, command: &Command) -> Reply {
        let word = |at: usize| {
            String::from_utf8_lossy(command.get(at).map_or(&[], |word| word)).to_ascii_uppercase()
        };
        match word(0).as_str() {
            "HELLO" => {
                let field = |name: &str, value: &str| (Reply::bulk(name), Reply::bulk(value));
                Reply::Map(vec![
                    field("server", "redis"),
                    field("version", "7.0.15"),
                    (Reply::bulk("proto"), Reply::Int(3)),
                    field("mode", "standalone"),
                    field("role", "master"),
                ])
            }
            "CLIENT" | "SELECT" | "CONFIG" => Reply::ok(),
            "SSUBSCRIBE" | "SUBSCRIBE" => {
                let mut state = self.state.lock();
                state.channels.entry(command[1].clone()).or_default().insert(client);
                let kind = word(0).to_ascii_lowercase();
                Reply::Push(vec![Reply::bulk(kind), Reply::bulk(command[1].clone()), Reply::Int(1)])
            }
            "SCRIPT" if word(1) == "LOAD" => self.scripts.load(&command[2]),
            "EVALSHA" => self.scripts.run(&self.state, command),
            _ => commands::run(&mut self.state.lock(), command, false),
        }
    }

    /// A client's connection has ended.
    pub fn leave(&self, client: Client) {
        let mut state = self.state.lock();
        state.channels.retain(|_, subscribers| {
            subscribers.remove(&client);
            !subscribers.is_empty()
        });
    }
}
