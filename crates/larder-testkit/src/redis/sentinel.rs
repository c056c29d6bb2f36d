//! A primary with replicas, watched over by Sentinels.

use super::network::Network;
use super::stats::online;
use super::{RedisOptions, RedisServer, Reply, START};
use crate::TcpProxy;
use crate::poll::Poll;
use std::time::Duration;

/// How long the Sentinels may take to agree on something, on a busy machine.
const AGREE: Duration = START;

/// The name under which the Sentinels know the primary.
const NAME: &str = "main";

/// How a [`RedisSentinel`] is to be.
#[derive(Clone, Debug)]
#[must_use = "call start()"]
pub struct SentinelOptions {
    server: RedisOptions,
    sentinel: RedisOptions,
    servers: usize,
    sentinels: usize,
    down_after: Duration,
}

impl SentinelOptions {
    /// How each data server runs: passwords, access lists, directives. Default: as [`RedisServer::start`].
    pub fn server(mut self, server: RedisOptions) -> Self {
        self.server = server;
        self
    }

    /// How each Sentinel runs: its own password or access list. Default: as [`RedisServer::start`].
    pub fn sentinel(mut self, sentinel: RedisOptions) -> Self {
        self.sentinel = sentinel;
        self
    }

    /// After so long without an answer a server counts as down. Default 1 s, which a busy machine keeps; a failover takes
    /// about a second more.
    pub fn down_after(mut self, down_after: Duration) -> Self {
        self.down_after = down_after;
        self
    }

    /// Starts the servers and waits until all know each other: 1 to 2 seconds as a rule.
    ///
    /// # Panics
    /// Where `redis-server` is missing, or they do not find each other within 30 s.
    #[must_use]
    pub fn start(self) -> RedisSentinel {
        form(self)
    }
}

/// One primary, two replicas and three Sentinels (of which two make a majority) on free loopback ports. Server 0 is the
/// primary at first.
///
/// All are announced by the ports of proxies: [`isolate`](Self::isolate) parts some from the others, [`proxy`](Self::proxy)
/// troubles the clients of one server. All operations take `&self` and block. Dropping it ends all processes.
#[derive(Debug)]
pub struct RedisSentinel {
    // Before `network`: the servers end before the ways between them.
    servers: Vec<RedisServer>,
    sentinels: Vec<RedisServer>,
    network: Network,
}

/// One of the set-up, for [`RedisSentinel::isolate`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Member {
    /// The data server of this index.
    Server(usize),
    /// The Sentinel of this index.
    Sentinel(usize),
}

impl RedisSentinel {
    /// One primary, two replicas, three Sentinels.
    ///
    /// # Panics
    /// As [`SentinelOptions::start`].
    #[must_use]
    pub fn start() -> Self {
        Self::builder().start()
    }

    /// Another kind of set-up.
    pub fn builder() -> SentinelOptions {
        SentinelOptions {
            server: RedisOptions::default(),
            sentinel: RedisOptions::default(),
            servers: 3,
            sentinels: 3,
            down_after: Duration::from_secs(1),
        }
    }

    /// The data servers, to ask, kill, pause and restart. A server keeps its role over a restart, as with the configuration
    /// file that Sentinel rewrites.
    #[must_use]
    pub fn servers(&self) -> &[RedisServer] {
        &self.servers
    }

    /// The Sentinels, to ask, kill, pause and restart.
    #[must_use]
    pub fn sentinels(&self) -> &[RedisServer] {
        &self.sentinels
    }

    /// The name of the primary among the Sentinels: `main`.
    #[must_use]
    pub fn name(&self) -> &'static str {
        NAME
    }

    /// `redis+sentinel://127.0.0.1:…,127.0.0.1:…,127.0.0.1:…/main/0` with all Sentinels, without user and password.
    #[must_use]
    pub fn url(&self) -> String {
        let all: Vec<usize> = (0..self.sentinels.len()).collect();
        self.url_by("", &all)
    }

    /// [`url`](Self::url) with `sign_in` (`user:password@`, `:password@`) for the data servers, by these Sentinels only.
    #[must_use]
    pub fn url_by(&self, sign_in: &str, sentinels: &[usize]) -> String {
        let hosts = self.network.hosts(sentinels.iter().map(|sentinel| self.servers.len() + sentinel));
        let scheme = if self.servers[0].options.tls.is_some() { "rediss" } else { "redis" };
        format!("{scheme}+sentinel://{sign_in}{hosts}/{NAME}/0")
    }

    /// The port under which a data server is announced: its proxy's.
    #[must_use]
    pub fn port(&self, server: usize) -> u16 {
        self.network.port(server, 0)
    }

    /// What stands between a data server and its clients. Its replicas and the Sentinels come this way too.
    #[must_use]
    pub fn proxy(&self, server: usize) -> &TcpProxy {
        self.network.proxy(server, 0)
    }

    /// What stands between a Sentinel and its clients.
    #[must_use]
    pub fn sentinel_proxy(&self, sentinel: usize) -> &TcpProxy {
        self.network.proxy(self.servers.len() + sentinel, 0)
    }

    /// The primary, as all Sentinels tell that run and are not isolated; `None` while they disagree.
    #[must_use]
    pub fn primary(&self) -> Option<usize> {
        let mut told = self.asked().map(|sentinel| self.told_by(sentinel));
        let first = told.next()??;
        told.all(|other| other == Some(first)).then_some(first)
    }

    /// Replaces the primary although it is well (`SENTINEL FAILOVER`), waits until that is done and the old one follows,
    /// and returns the new one. Sentinel disconnects the clients of the old one.
    ///
    /// # Panics
    /// Where nothing came of it within 30 s.
    pub fn failover(&self) -> usize {
        let poll = Poll::new(AGREE);
        let old = loop {
            if let Some(old) = self.primary() {
                break old;
            }
            assert!(poll.again_blocking(), "the sentinels do not agree on a primary");
        };
        let by = self.asked().next().expect("a sentinel runs");
        loop {
            let answer = self.sentinels[by].command(&["SENTINEL", "FAILOVER", NAME]);
            // INPROG and NOGOODSLAVE pass.
            if !answer.is_error() {
                break;
            }
            assert!(poll.again_blocking(), "no failover: {}", answer.text());
        }
        let new = self.await_failover(old);
        self.await_settled();
        new
    }

    /// Waits until the Sentinels have put another server in the place of `old`, which was killed, paused or isolated, and
    /// that server is a primary.
    ///
    /// # Panics
    /// Where they do not within 30 s.
    #[must_use]
    pub fn await_failover(&self, old: usize) -> usize {
        let poll = Poll::new(AGREE);
        loop {
            match self.primary().filter(|new| *new != old && role(&self.servers[*new]) == "master") {
                Some(new) => return new,
                None => assert!(
                    poll.again_blocking(),
                    "nobody took the place of server {old}:\n{}",
                    self.describe()
                ),
            }
        }
    }

    /// Waits until all servers and Sentinels that run and are reached know each other, and the others follow the primary.
    ///
    /// # Panics
    /// Where that is not so within 30 s.
    pub fn await_settled(&self) {
        let poll = Poll::new(AGREE);
        while !self.is_settled() {
            assert!(poll.again_blocking(), "the servers and sentinels do not agree:\n{}", self.describe());
        }
    }

    /// Parts these from all others, until [`heal`](Self::heal); clients still reach both sides, by their own choice of
    /// Sentinel. A primary on the smaller side is replaced on the larger one.
    ///
    /// # Panics
    /// Elsewhere than on Linux.
    pub fn isolate(&self, members: &[Member]) {
        let index = |member: &Member| match member {
            Member::Server(server) => *server,
            Member::Sentinel(sentinel) => self.servers.len() + sentinel,
        };
        self.network.part(&members.iter().map(index).collect::<Vec<_>>());
    }

    /// Ends the isolation.
    pub fn heal(&self) {
        self.network.heal();
    }

    /// The Sentinels that can be asked and belong to the larger side.
    fn asked(&self) -> impl Iterator<Item = usize> {
        let reached = |sentinel: &usize| {
            self.sentinels[*sentinel].is_up() && !self.network.is_away(self.servers.len() + sentinel)
        };
        (0..self.sentinels.len()).filter(reached)
    }

    fn told_by(&self, sentinel: usize) -> Option<usize> {
        let ask = ["SENTINEL", "GET-MASTER-ADDR-BY-NAME", NAME];
        let answer = self.sentinels[sentinel].try_command(&ask).ok()?;
        let port = answer.items().get(1)?.text().parse().ok()?;
        self.network.member(port, 0)
    }

    fn is_settled(&self) -> bool {
        let reached = |server: &usize| self.servers[*server].is_up() && !self.network.is_away(*server);
        let up: Vec<usize> = (0..self.servers.len()).filter(reached).collect();
        let asked = self.asked().count();
        let knows_all = |sentinel: usize| {
            let known = self.master_fields(sentinel);
            let number = |name: &str| known.iter().find(|(field, _)| field == name)?.1.parse::<usize>().ok();
            number("num-other-sentinels") >= Some(asked - 1)
                && number("num-slaves") >= Some(up.len() - 1)
                && known.iter().any(|(name, value)| name == "flags" && value == "master")
        };
        let Some(primary) = self.primary() else { return false };
        let follows = |server: &usize| *server == primary || self.follows(*server, primary);
        let feeds_all = online(&self.servers[primary]) == up.len() - 1;
        role(&self.servers[primary]) == "master"
            && feeds_all
            && up.iter().all(follows)
            && self.asked().all(knows_all)
    }

    fn follows(&self, server: usize, primary: usize) -> bool {
        let Ok(replication) = self.servers[server].try_command(&["INFO", "replication"]) else {
            return false;
        };
        let has = |line: &str| replication.text().lines().any(|said| said == line);
        has("master_link_status:up") && has(&format!("master_port:{}", self.port(primary)))
    }

    fn master_fields(&self, sentinel: usize) -> Vec<(String, String)> {
        let answer = self.sentinels[sentinel].try_command(&["SENTINEL", "MASTER", NAME]);
        let fields = answer.map(|answer| answer.items().iter().map(Reply::text).collect::<Vec<_>>());
        let fields = fields.unwrap_or_default();
        fields.chunks_exact(2).map(|pair| (pair[0].clone(), pair[1].clone())).collect()
    }

    fn describe(&self) -> String {
        let sentinels =
            (0..self.sentinels.len()).map(|sentinel| format!("{:?}", self.master_fields(sentinel)));
        let servers = self.servers.iter().map(|server| {
            server
                .try_command(&["INFO", "replication"])
                .map_or_else(|e| e.to_string(), |answer| answer.text())
        });
        sentinels.chain(servers).collect::<Vec<_>>().join("\n")
    }
}

/// What a server says that it is: `master`, `slave`; empty where it does not answer.
fn role(server: &RedisServer) -> String {
    let answer = server.try_command(&["ROLE"]);
    answer.ok().and_then(|answer| Some(answer.items().first()?.text())).unwrap_or_default()
}

fn form(options: SentinelOptions) -> RedisSentinel {
    let network = Network::start(options.servers + options.sentinels, 1);
    let servers = all_at_once(options.servers, |index| {
        let mut server = options.server.clone().replicated(network.port(index, 0), Network::source(index));
        // Sentinel has the servers write their roles down.
        server.file = Some(String::new());
        server
    });
    for (index, server) in servers.iter().enumerate() {
        network.connect(index, 0, server.port());
    }
    let primary_port = network.port(0, 0).to_string();
    for replica in &servers[1..] {
        told(replica, &["REPLICAOF", "127.0.0.1", &primary_port]);
        told(replica, &["CONFIG", "REWRITE"]);
    }
    // Before the Sentinels look: they ask the primary for its replicas once, and then after 10 s.
    let poll = Poll::new(AGREE);
    while servers[0].info("replication")["connected_slaves"] != (servers.len() - 1).to_string() {
        assert!(poll.again_blocking(), "the replicas do not find the primary:\n{}", servers[1].log());
    }
    let sentinels = all_at_once(options.sentinels, |index| {
        let member = options.servers + index;
        let mut sentinel = options.sentinel.clone();
        sentinel.file = Some(configuration(&options, network.port(member, 0), &primary_port));
        sentinel.sentinel = true;
        match Network::source(member) {
            Some(source) => sentinel.arg("bind-source-addr", &source.to_string()),
            None => sentinel,
        }
    });
    for (index, sentinel) in sentinels.iter().enumerate() {
        network.connect(options.servers + index, 0, sentinel.port());
        // They look around every 10 s, present themselves every 2 s, and ask for a sign of life once in `down_after`: too
        // rarely for tests. Five signs of life must take longer than the second after which they look at replicas of a
        // primary that is down, or they take none of them for good.
        told(
            sentinel,
            &[
                "SENTINEL",
                "DEBUG",
                "PING-PERIOD",
                "300",
                "INFO-PERIOD",
                "300",
                "PUBLISH-PERIOD",
                "200",
                "TILT-PERIOD",
                "1000",
            ],
        );
    }
    let all = RedisSentinel { servers, sentinels, network };
    all.await_settled();
    all
}

/// The Sentinel's own directives, which it keeps up to date itself.
fn configuration(options: &SentinelOptions, port: u16, primary: &str) -> String {
    let quorum = options.sentinels / 2 + 1;
    let down_after = options.down_after.as_millis();
    let mut lines = vec![
        "sentinel announce-ip 127.0.0.1".to_owned(),
        format!("sentinel announce-port {port}"),
        format!("sentinel monitor {NAME} 127.0.0.1 {primary} {quorum}"),
        format!("sentinel down-after-milliseconds {NAME} {down_after}"),
        format!("sentinel failover-timeout {NAME} 3000"),
        format!("sentinel parallel-syncs {NAME} {}", options.servers),
    ];
    if let Some((user, password)) = options.server.admin() {
        lines.push(format!("sentinel auth-pass {NAME} {password}"));
        if user != "default" {
            lines.push(format!("sentinel auth-user {NAME} {user}"));
        }
    }
    if let Some((user, password)) = options.sentinel.admin() {
        lines.push(format!("sentinel sentinel-pass {password}"));
        if user != "default" {
            lines.push(format!("sentinel sentinel-user {user}"));
        }
    }
    if options.server.tls.is_some() {
        lines.push("tls-replication yes".to_owned());
    }
    lines.join("\n") + "\n"
}

fn all_at_once(count: usize, options: impl Fn(usize) -> RedisOptions) -> Vec<RedisServer> {
    std::thread::scope(|scope| {
        let starting: Vec<_> = (0..count)
            .map(|index| {
                let options = options(index);
                scope.spawn(move || options.start())
            })
            .collect();
        starting.into_iter().map(|thread| thread.join().expect("the server has said why")).collect()
    })
}

#[track_caller]
fn told(server: &RedisServer, command: &[&str]) {
    let answer = server.command(command);
    assert!(!answer.is_error(), "redis refuses {}: {}", command.join(" "), answer.text());
}
