//! The network between nodes and the server, and the server's fate.

mod cluster;
mod connection;
mod direct;
mod failover;
mod socket;
mod topology;
mod weather;

pub use direct::{appends, invalidates, of_an_entry, of_the_state, reads_a_log, reads_stamps, recovers};
pub use topology::Topology;
pub use weather::Weather;

use crate::chance::Chance;
use crate::executor::Executor;
use crate::redis::{Client, Data, Edit, Identity, Reply, Server, Time};
use crate::trace::Trace;
use connection::Connection;
use parking_lot::Mutex;
use socket::Socket;
use std::collections::{BTreeMap, BTreeSet};
use std::io;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;
use tokio::sync::watch;
use tokio::time::Instant;

/// A server process and whether it runs.
struct Process {
    server: Server,
    /// In whose place it runs.
    seat: usize,
    /// Takes in commands and does not run them.
    stalled: AtomicBool,
    ended: AtomicBool,
}

/// The place of a server.
struct Seat {
    /// Who takes new connections.
    current: Arc<Process>,
    /// Whether new connections are refused.
    down: bool,
}

struct Inner {
    seats: Vec<Seat>,
    /// Where the primaries are.
    primaries: Vec<usize>,
    /// Where another server may take the place of one of them.
    spare: Option<usize>,
    /// Where Sentinels are, and which server each calls the primary.
    sentinels: BTreeMap<usize, usize>,
    /// In a Cluster: which server has which part of the data, by hash tag.
    slots: BTreeMap<Vec<u8>, usize>,
    /// Which of them are on their way, and to which server.
    moving: BTreeMap<Vec<u8>, usize>,
    connections: BTreeMap<Client, Arc<Connection>>,
    last: Client,
    /// Nodes from which nothing arrives, and to which nothing gets.
    deaf: BTreeSet<usize>,
    mute: BTreeSet<usize>,
    commands: u64,
    /// Where a command is held up.
    hold: Option<direct::Hold>,
    /// What is kept back of pushes to nodes.
    kept: BTreeMap<usize, Vec<(Client, Vec<u8>)>>,
    /// How many of the next pushes a node misses.
    misses: BTreeMap<usize, u32>,
}

/// The network and its servers, one of which is meant where one is. Clones share them.
#[derive(Clone)]
pub struct Network(Arc<Shared>, usize);

struct Shared {
    inner: Mutex<Inner>,
    weather: Mutex<Weather>,
    executor: Executor,
    chance: Chance,
    trace: Trace,
    edit: Option<Edit>,
    /// Told when something that was held up may go on.
    changed: watch::Sender<()>,
}

impl Network {
    /// With empty servers. `edit` changes the scripts that are loaded.
    pub fn new(
        topology: Topology,
        executor: Executor,
        chance: Chance,
        trace: Trace,
        edit: Option<Edit>,
    ) -> Self {
        let time = Time::since(Instant::now());
        let seat = |seat| {
            let server = Server::start(identity(&chance), Data::default(), time.clone(), edit.clone());
            Seat { current: Arc::new(Process::new(server, seat)), down: false }
        };
        let (primaries, spare, sentinels) = topology.seats();
        let seats = primaries.len() + usize::from(spare.is_some()) + sentinels.len();
        let inner = Inner {
            seats: (0..seats).map(seat).collect(),
            primaries,
            spare,
            sentinels,
            slots: BTreeMap::new(),
            moving: BTreeMap::new(),
            connections: BTreeMap::new(),
            last: 0,
            deaf: BTreeSet::new(),
            mute: BTreeSet::new(),
            commands: 0,
            hold: None,
            kept: BTreeMap::new(),
            misses: BTreeMap::new(),
        };
        let weather = Mutex::new(Weather::calm());
        let (inner, changed) = (Mutex::new(inner), watch::channel(()).0);
        let network = Self(Arc::new(Shared { inner, weather, executor, chance, trace, edit, changed }), 0);
        if let Some(spare) = spare {
            network.at(spare).with_server(|state| state.replica = true);
        }
        network
    }

    /// The same, where another server is meant.
    #[must_use]
    pub fn at(&self, server: usize) -> Self {
        Self(Arc::clone(&self.0), server)
    }

    /// Which server is meant.
    pub fn number(&self) -> usize {
        self.1
    }

    /// How many servers there are, replicas included.
    pub fn servers(&self) -> usize {
        let inner = self.0.inner.lock();
        inner.seats.len() - inner.sentinels.len()
    }

    /// The primaries among them.
    pub fn primaries(&self) -> Vec<usize> {
        self.0.inner.lock().primaries.clone()
    }

    /// Other weather from now on.
    pub fn set_weather(&self, weather: Weather) {
        *self.0.weather.lock() = weather;
    }

    /// The weather.
    pub fn weather(&self) -> Weather {
        *self.0.weather.lock()
    }

    pub(crate) fn executor(&self) -> &Executor {
        &self.0.executor
    }

    /// How many commands have been run.
    pub fn commands(&self) -> u64 {
        self.0.inner.lock().commands
    }

    /// A connection of this node's to the server.
    pub(crate) async fn dial(&self, node: usize, host: &str) -> io::Result<Socket> {
        self.weather().travel(&self.0.chance).await;
        self.until(|inner| !inner.mute.contains(&node) && !inner.deaf.contains(&node)).await;
        let connection = {
            let mut inner = self.0.inner.lock();
            let seat = &inner.seats[topology::seat_of(host)];
            if seat.down {
                return Err(io::ErrorKind::ConnectionRefused.into());
            }
            let process = Arc::clone(&seat.current);
            inner.last += 1;
            let connection = Arc::new(Connection::new(inner.last, node, process));
            inner.connections.insert(connection.id, Arc::clone(&connection));
            connection
        };
        self.0.executor.detach(connection::serve(self.clone(), Arc::clone(&connection)));
        self.0.executor.detach(connection::deliver(self.clone(), Arc::clone(&connection)));
        Ok(Socket::new(connection, self.clone()))
    }

    /// Waits until something is so.
    async fn until(&self, so: impl Fn(&Inner) -> bool) {
        let mut changed = self.0.changed.subscribe();
        while !so(&self.0.inner.lock()) {
            let _ = changed.changed().await;
        }
    }

    fn change(&self, change: impl FnOnce(&mut Inner)) {
        change(&mut self.0.inner.lock());
        self.0.changed.send_replace(());
    }

    /// Cuts a node off: what it sends does not arrive, what is sent to it does not, or both.
    pub fn cut(&self, node: usize, outward: bool, inward: bool) {
        self.change(|inner| {
            if outward {
                inner.mute.insert(node);
            }
            if inward {
                inner.deaf.insert(node);
            }
        });
    }

    /// Joins a node to the network again. What was held up arrives now.
    pub fn join(&self, node: usize) {
        self.change(|inner| {
            inner.mute.remove(&node);
            inner.deaf.remove(&node);
        });
    }

    /// Whether a node is cut off, in one direction at least.
    pub fn is_cut(&self, node: usize) -> bool {
        let inner = self.0.inner.lock();
        inner.mute.contains(&node) || inner.deaf.contains(&node)
    }

    /// Breaks the connections of a node, or of all.
    pub fn disconnect(&self, node: Option<usize>) {
        self.close(|connection| node.is_none_or(|node| connection.node == node));
    }

    fn close(&self, chosen: impl Fn(&Connection) -> bool) {
        let closed: Vec<_> = {
            let mut inner = self.0.inner.lock();
            let ids: Vec<_> =
                inner.connections.values().filter(|one| chosen(one)).map(|one| one.id).collect();
            ids.iter().filter_map(|id| inner.connections.remove(id)).collect()
        };
        closed.iter().for_each(|connection| connection.close());
    }

    /// The server goes away with all connections, and keeps its data; or takes connections again.
    pub fn set_down(&self, down: bool) {
        self.change(|inner| inner.seats[self.1].down = down);
        if down {
            self.close(|connection| connection.process.seat == self.1);
        }
    }

    /// Whether the server is away.
    pub fn is_down(&self) -> bool {
        self.0.inner.lock().seats[self.1].down
    }

    /// The process is stopped, or goes on: it takes in what arrives, and runs it then.
    pub fn set_stalled(&self, stalled: bool) {
        self.change(|inner| inner.seats[self.1].current.stalled.store(stalled, Ordering::SeqCst));
    }

    /// Does something with the state of the server that takes connections.
    pub fn with_server<R>(&self, work: impl FnOnce(&mut crate::redis::State) -> R) -> R {
        let current = Arc::clone(&self.0.inner.lock().seats[self.1].current);
        let mut state = current.server.state.lock();
        work(&mut state)
    }

    /// The process ends, and another takes its place with this data.
    pub fn restart(&self, data: Data) {
        let identity = identity(&self.0.chance);
        self.replace(identity, data);
        self.close(|connection| connection.process.seat == self.1);
    }

    /// A replica with this data takes over. The old primary becomes a replica, and keeps its connections.
    pub fn promote(&self, data: Data) {
        let identity = Identity {
            replid2: self.with_server(|state| {
                state.replica = true;
                state.identity.replid.clone()
            }),
            ..identity(&self.0.chance)
        };
        self.replace(identity, data);
    }

    /// A replica with this data takes over, and the server takes its place back: the same process with the same
    /// connections, which has that data and goes on with a history of its own.
    pub fn ping_pong(&self, data: Data) {
        let replid = hex(&self.0.chance);
        self.with_server(|state| {
            state.identity.replid2 = std::mem::replace(&mut state.identity.replid, replid);
            state.data = data;
        });
    }

    /// The server gets another replication id, as when its first replica comes.
    pub fn first_replica(&self) {
        let replid = hex(&self.0.chance);
        self.with_server(|state| state.identity.replid = replid);
    }

    /// Who connects from now on gets to another process; connections that are there stay. How to lead back.
    pub fn lead_to(&self, identity: Identity, data: Data) -> impl FnOnce() + use<> {
        let time = self.with_server(|state| state.time.of_another());
        let server = Server::start(identity, data, time, self.0.edit.clone());
        let (network, seat) = (self.clone(), self.1);
        let mut before = None;
        self.change(|inner| {
            let other = Arc::new(Process::new(server, seat));
            before = Some(std::mem::replace(&mut inner.seats[seat].current, other));
        });
        move || network.change(|inner| inner.seats[seat].current = before.expect("there was one"))
    }

    /// Breaks those connections of a node that it has made last: so many.
    pub fn disconnect_last(&self, node: usize, count: usize) {
        let all: Vec<Client> = {
            let inner = self.0.inner.lock();
            inner.connections.values().filter(|one| one.node == node).map(|one| one.id).collect()
        };
        let last = all[all.len() - count..].to_vec();
        self.close(|connection| last.contains(&connection.id));
    }

    fn replace(&self, identity: Identity, data: Data) {
        let (time, cluster) = self.with_server(|state| (state.time.of_another(), state.cluster));
        let server = Server::start(identity, data, time, self.0.edit.clone());
        server.state.lock().cluster = cluster;
        self.change(|inner| {
            let seat = &mut inner.seats[self.1];
            if !seat.current.server.state.lock().replica {
                seat.current.ended.store(true, Ordering::SeqCst);
            }
            seat.current = Arc::new(Process::new(server, self.1));
        });
    }

    fn forget(&self, connection: &Connection) {
        connection.process.server.leave(connection.id);
        self.0.inner.lock().connections.remove(&connection.id);
    }

    /// Runs a command that came over a connection; its answer. What it published is on its way when this returns.
    fn run(&self, connection: &Connection, command: &crate::redis::Command) -> Reply {
        let said = self.sentinel_says(connection, command).or_else(|| self.redirects(connection, command));
        let (reply, published) = match said {
            Some(reply) => (reply, Vec::new()),
            None => connection.process.server.run(connection.id, command),
        };
        self.0.inner.lock().commands += 1;
        let words: Vec<_> = command.iter().take(2).map(|word| String::from_utf8_lossy(word)).collect();
        self.0.trace.note(format_args!(
            "n{} #{} {} -> {}",
            connection.node,
            connection.id,
            words.join(" "),
            Short(&reply)
        ));
        self.publish(published);
        reply
    }

    /// Sends pushes to those who are still there.
    fn publish(&self, published: Vec<(Client, Vec<u8>)>) {
        for (client, bytes) in published {
            let subscriber = self.0.inner.lock().connections.get(&client).cloned();
            if let Some(subscriber) = subscriber
                && !self.misses(subscriber.node)
            {
                if let Some(kept) = self.0.inner.lock().kept.get_mut(&subscriber.node) {
                    kept.push((client, bytes));
                    continue;
                }
                self.send(&subscriber, bytes);
            }
        }
    }

    /// Whether a node misses this push.
    fn misses(&self, node: usize) -> bool {
        let mut inner = self.0.inner.lock();
        let left = inner.misses.get_mut(&node).filter(|left| **left > 0);
        left.map(|left| *left -= 1).is_some()
    }

    fn send(&self, connection: &Connection, bytes: Vec<u8>) {
        let delay = self.weather().delay(&self.0.chance);
        let held = self.0.inner.lock().deaf.contains(&connection.node);
        connection.send(bytes, delay, held);
    }
}

impl Process {
    fn new(server: Server, seat: usize) -> Self {
        Self { server, seat, stalled: AtomicBool::new(false), ended: AtomicBool::new(false) }
    }
}

fn hex(chance: &Chance) -> String {
    let digits = format!("{:016x}{:016x}{:016x}", chance.number(), chance.number(), chance.number());
    digits[..40].to_owned()
}

fn identity(chance: &Chance) -> Identity {
    Identity { run_id: hex(chance), replid: hex(chance), replid2: "0".repeat(40) }
}

/// An answer in few words.
struct Short<'a>(&'a Reply);

impl std::fmt::Display for Short<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self.0 {
            Reply::Bulk(bytes) if bytes.len() > 40 => write!(f, "{} bytes", bytes.len()),
            Reply::Bulk(bytes) => write!(f, "{}", String::from_utf8_lossy(bytes)),
            Reply::Array(items) => {
                f.write_str("[")?;
                for item in items.iter().take(8) {
                    write!(f, "{} ", Short(item))?;
                }
                f.write_str("]")
            }
            Reply::Text(_) => f.write_str("text"),
            Reply::Double(number) => write!(f, "{number}"),
            other => write!(f, "{other:?}"),
        }
    }
}

/// Lets others run, for a moment without length.
async fn yields(times: u64) {
    for _ in 0..times {
        tokio::task::yield_now().await;
    }
}

async fn pass(delay: Duration) {
    if !delay.is_zero() {
        tokio::time::sleep(delay).await;
    }
}
