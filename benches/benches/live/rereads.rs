//! Whoever reads again on an event gets the new value, from whichever node: also while nodes, Redis and connections fail.
//!
//! Clients on three nodes hear of every change over WebSockets. On every event each of them reads the row again over HTTP, from every
//! node. What comes must not be older than the newest version that *any* client has heard of when the reading began.

use std::net::SocketAddr;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use larder_testkit::{Fault, RedisServer, TcpProxy};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::sync::mpsc;

use super::client::{Crowd, Tally};
use super::origin::{ROWS, Rows};
use super::server::Server;

const NODES: usize = 3;
const CLIENTS: usize = 12;
/// Rows that each of two nodes writes a second.
const RATE: u64 = 50;
/// Unless the command line names another number.
const AT_LEAST: u64 = 120_000;
/// An answer that takes longer does not come.
const PATIENCE: Duration = Duration::from_secs(20);

/// What was read on events.
pub(crate) struct Rereads {
    /// The newest version of each row that anybody has heard of.
    heard: [AtomicU64; ROWS],
    nodes: [Mutex<SocketAddr>; NODES],
    asked: AtomicU64,
    fresh: AtomicU64,
    stale: AtomicU64,
    /// The node was dead, or its answer an error.
    unanswered: AtomicU64,
    readers: Mutex<Vec<[mpsc::UnboundedSender<usize>; NODES]>>,
}

impl Rereads {
    fn new(nodes: [SocketAddr; NODES]) -> Arc<Self> {
        let this = Arc::new(Self {
            heard: Default::default(),
            nodes: nodes.map(Mutex::new),
            asked: AtomicU64::default(),
            fresh: AtomicU64::default(),
            stale: AtomicU64::default(),
            unanswered: AtomicU64::default(),
            readers: Mutex::default(),
        });
        let all = (0..CLIENTS).map(|_| std::array::from_fn(|node| Self::reader(&this, node))).collect();
        *this.readers.lock().expect("nobody panics with it") = all;
        this
    }

    /// A client has heard of this version of a row: it reads it again, from all nodes.
    pub(crate) fn heard(&self, client: usize, row: usize, version: u64) {
        self.heard[row].fetch_max(version, Ordering::SeqCst);
        let readers = self.readers.lock().expect("nobody panics with it");
        for reader in &readers[client % CLIENTS] {
            self.asked.fetch_add(1, Ordering::SeqCst);
            reader.send(row).expect("it reads until the end");
        }
    }

    /// One client's connection to one node.
    fn reader(this: &Arc<Self>, node: usize) -> mpsc::UnboundedSender<usize> {
        let (ask, mut asked) = mpsc::unbounded_channel::<usize>();
        let this = Arc::clone(this);
        tokio::spawn(async move {
            let mut stream = None;
            while let Some(row) = asked.recv().await {
                let least = this.heard[row].load(Ordering::SeqCst);
                let read = tokio::time::timeout(PATIENCE, this.read(&mut stream, node, row)).await;
                let count = match read {
                    Ok(Some(version)) if version >= least => &this.fresh,
                    Ok(Some(version)) => {
                        if this.stale.load(Ordering::Relaxed) < 10 {
                            eprintln!(
                                "node {node} said that row {row} has version {version} after {least} was heard of"
                            );
                        }
                        &this.stale
                    }
                    _ => {
                        stream = None;
                        &this.unanswered
                    }
                };
                count.fetch_add(1, Ordering::SeqCst);
            }
        });
        ask
    }

    /// The row's version as this node has it.
    async fn read(&self, stream: &mut Option<TcpStream>, node: usize, row: usize) -> Option<u64> {
        if stream.is_none() {
            let address = *self.nodes[node].lock().expect("nobody panics with it");
            let connected = TcpStream::connect(address).await.ok()?;
            connected.set_nodelay(true).ok()?;
            *stream = Some(connected);
        }
        let tcp = stream.as_mut()?;
        let request = format!("GET /row/{row} HTTP/1.1\r\nHost: bench\r\n\r\n");
        tcp.write_all(request.as_bytes()).await.ok()?;
        let mut answer = Vec::with_capacity(256);
        loop {
            let text = std::str::from_utf8(&answer).ok()?;
            if let Some((head, body)) = text.split_once("\r\n\r\n") {
                let length = head.split("content-length: ").nth(1)?.split("\r\n").next()?;
                if body.len() >= length.parse().ok()? {
                    return body.parse().ok();
                }
            }
            if tcp.read_buf(&mut answer).await.ok()? == 0 {
                return None;
            }
        }
    }

    fn done(&self) -> u64 {
        [&self.fresh, &self.stale, &self.unanswered].iter().map(|count| count.load(Ordering::SeqCst)).sum()
    }

    fn answered(&self) -> u64 {
        self.fresh.load(Ordering::SeqCst) + self.stale.load(Ordering::SeqCst)
    }
}

/// Three nodes, what they stand on, and who listens.
struct Scene {
    redis: RedisServer,
    /// Between the third node and Redis.
    proxy: TcpProxy,
    rows: Arc<Rows>,
    origin: SocketAddr,
    servers: Vec<Server>,
    rereads: Arc<Rereads>,
    tally: Arc<Tally>,
    _crowd: Crowd,
}

impl Scene {
    async fn start(unsafely: bool) -> Self {
        let redis = RedisServer::builder().appendonly().start();
        let proxy = TcpProxy::start(format!("127.0.0.1:{}", redis.port())).await;
        let rows: Arc<Rows> = Arc::default();
        let origin = rows.serve().await;
        let mut servers = Vec::new();
        for url in [redis.url(), redis.url(), format!("redis://{}/0", proxy.address())] {
            servers.push(Self::node(&url, origin).await);
        }
        let addresses: Vec<SocketAddr> = servers.iter().map(|server| server.address).collect();
        let rereads = Rereads::new(addresses.clone().try_into().expect("there are three"));
        let tally = Arc::new(Tally::hearing(CLIENTS as u64, Arc::clone(&rereads)));
        let crowd = Crowd::connect(&addresses, CLIENTS as u64, &tally).await;
        for server in &mut servers[..2] {
            server.write_on(RATE, unsafely).await;
        }
        Self { redis, proxy, rows, origin, servers, rereads, tally, _crowd: crowd }
    }

    async fn node(redis: &str, origin: SocketAddr) -> Server {
        Server::start(&[&format!("redis={redis}"), &format!("origin={origin}")]).await
    }

    fn say(&self, what: &str) {
        let rereads = &self.rereads;
        println!(
            "rereads: {what}: {} events delivered, {} re-reads answered so far, {} of them stale",
            self.tally.events(),
            rereads.answered(),
            rereads.stale.load(Ordering::SeqCst)
        );
    }

    /// Everything that can go wrong, one after the other.
    async fn round(&mut self, number: u64) {
        let rest = || pause(1500);
        // Around the lease of 1 s, by which a node may serve what it has.
        self.proxy.set(Fault::Stall).await;
        pause(400 + 450 * (number % 5)).await;
        self.proxy.heal().await;
        rest().await;
        self.say("the third node's connections to Redis were stalled");

        self.servers[2].signal("STOP");
        pause(600 + 500 * (number % 4)).await;
        self.servers[2].signal("CONT");
        rest().await;
        self.say("the third node stood still (SIGSTOP)");

        for _ in 0..3 {
            self.redis.kill_clients("pubsub");
            pause(300).await;
        }
        rest().await;
        self.say("CLIENT KILL TYPE pubsub, three times");

        self.redis.kill();
        pause(800).await;
        if number.is_multiple_of(2) {
            self.redis.restart_empty()
        } else {
            self.redis.restart()
        }
        rest().await;
        pause(2000).await;
        self.say(if number.is_multiple_of(2) {
            "Redis was killed and restarted empty"
        } else {
            "Redis was killed and restarted with its data"
        });

        self.servers.remove(1).kill().await;
        pause(700).await;
        let mut fresh = Self::node(&self.redis.url(), self.origin).await;
        fresh.write_on(RATE, false).await;
        *self.rereads.nodes[1].lock().expect("nobody panics with it") = fresh.address;
        self.servers.insert(1, fresh);
        rest().await;
        self.say("the second node was killed and replaced");
    }

    /// Ends the writers and waits for what is under way; whether all counts agree.
    async fn end(mut self) -> bool {
        let mut logged = 0;
        for server in &mut self.servers[..2] {
            logged += server.publish_off().await;
        }
        let begun = Instant::now();
        let mut last = (0, Instant::now());
        // Nothing has come for a while, and everything was answered.
        while last.1.elapsed() < Duration::from_secs(3) && begun.elapsed() < Duration::from_secs(60) {
            pause(50).await;
            let now = self.tally.events();
            if now != last.0 || self.rereads.done() < self.rereads.asked.load(Ordering::SeqCst) {
                last = (now, Instant::now());
            }
        }
        self.tally.stop();
        let rereads = &self.rereads;
        let count = |count: &AtomicU64| count.load(Ordering::SeqCst);
        let events = self.tally.events();
        println!(
            "rereads: {events} events delivered to {CLIENTS} clients ({} resets, {} gaps or duplicates; {logged} logged by the writers \
             that lived to the end)",
            self.tally.resets(),
            self.tally.faults()
        );
        println!(
            "rereads: x {NODES} nodes = {} re-reads: {} new, {} STALE, {} without an answer (a node was dead); the origin was read {} times",
            count(&rereads.asked),
            count(&rereads.fresh),
            count(&rereads.stale),
            count(&rereads.unanswered),
            self.rows.reads()
        );
        let agree = count(&rereads.asked) == events * NODES as u64 && rereads.done() == count(&rereads.asked);
        if !agree {
            println!("rereads: the counts do NOT agree");
        }
        agree && self.tally.faults() == 0
    }
}

async fn pause(ms: u64) {
    tokio::time::sleep(Duration::from_millis(ms)).await;
}

/// What would be seen if events did not wait for acknowledgements: so it is known that this looks.
async fn control() -> bool {
    let scene = Scene::start(true).await;
    for _ in 0..3 {
        pause(1000).await;
        scene.proxy.set(Fault::Stall).await;
        pause(700).await;
        scene.proxy.heal().await;
    }
    scene.say("CONTROL, events that do not wait for acknowledgements");
    scene.rereads.stale.load(Ordering::SeqCst) > 0
}

/// At least so many re-reads, and every fault at least twice.
pub(crate) async fn run(at_least: Option<u64>) -> bool {
    if !control().await {
        println!("rereads: the control saw nothing stale, so this proves nothing");
        return false;
    }
    println!("rereads: the stale ones above are what must not happen from here on");
    let mut scene = Scene::start(false).await;
    pause(2000).await;
    scene.say("quiet");
    let at_least = at_least.unwrap_or(AT_LEAST);
    let mut rounds = 0;
    while rounds < 2 || scene.rereads.answered() < at_least {
        scene.round(rounds).await;
        rounds += 1;
    }
    let rereads = Arc::clone(&scene.rereads);
    let agree = scene.end().await;
    let stale = rereads.stale.load(Ordering::SeqCst);
    println!(
        "rereads: {rounds} rounds of 5 faults; {} re-reads answered, {stale} stale: {}",
        rereads.answered(),
        if agree && stale == 0 { "as it must be" } else { "WRONG" }
    );
    agree && stale == 0 && rereads.answered() >= at_least
}
