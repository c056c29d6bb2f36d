//! A Redis Cluster of one's own.

mod form;
mod slots;
mod view;

use super::network::Network;
use super::stats::online;
use super::{RedisOptions, RedisServer, START};
use crate::TcpProxy;
use crate::poll::Poll;
use std::time::Duration;
use view::Seen;

/// How long a cluster may take to agree on something, on a busy machine.
const AGREE: Duration = START;

/// How a [`RedisCluster`] is to be.
#[derive(Clone, Debug)]
#[must_use = "call start()"]
pub struct ClusterOptions {
    node: RedisOptions,
    primaries: usize,
    replicas: usize,
    node_timeout: Duration,
}

impl ClusterOptions {
    /// How each node runs: passwords, access lists, directives. Default: as [`RedisServer::start`].
    pub fn node(mut self, node: RedisOptions) -> Self {
        self.node = node;
        self
    }

    /// So many primaries (3 to 10), each with so many replicas (0 to 2). Default 3 and 1.
    pub fn size(mut self, primaries: usize, replicas: usize) -> Self {
        assert!(
            (3..=10).contains(&primaries) && replicas <= 2,
            "a cluster has 3 to 10 primaries and 0 to 2 replicas"
        );
        (self.primaries, self.replicas) = (primaries, replicas);
        self
    }

    /// After so long without an answer a node counts as failed (`cluster-node-timeout`). Default 1.5 s, which a busy
    /// machine keeps; a failover takes about twice as long.
    pub fn node_timeout(mut self, timeout: Duration) -> Self {
        self.node_timeout = timeout;
        self
    }

    /// Starts the nodes, joins them, and waits until all of them say that the cluster is complete: 3 seconds as a rule.
    ///
    /// # Panics
    /// Where `redis-server` is missing, or the nodes do not agree within 30 s.
    #[must_use]
    pub fn start(self) -> RedisCluster {
        form::form(self)
    }
}

/// A cluster of primaries with replicas on free loopback ports, joined without `redis-cli`. Node `i` of the first
/// three is the first primary of a *shard*, node `i + 3` its replica, with the default size.
///
/// Nodes are announced by the ports of proxies, which so stand between the nodes, and between nodes and clients:
/// [`isolate`](Self::isolate) parts nodes from the others, [`proxy`](Self::proxy) troubles the clients of one. All
/// operations take `&self` and block. Dropping it ends all processes.
#[derive(Debug)]
pub struct RedisCluster {
    // Before `network`: the nodes end before the ways between them.
    nodes: Vec<RedisServer>,
    /// Each node's name in the cluster.
    ids: Vec<String>,
    primaries: usize,
    network: Network,
}

/// The two ways into a node.
const CLIENTS: usize = 0;
const BUS: usize = 1;

impl RedisCluster {
    /// Three primaries with a replica each.
    ///
    /// # Panics
    /// As [`ClusterOptions::start`].
    #[must_use]
    pub fn start() -> Self {
        Self::builder().start()
    }

    /// Another kind of cluster.
    pub fn builder() -> ClusterOptions {
        ClusterOptions {
            node: RedisOptions::default(),
            primaries: 3,
            replicas: 1,
            node_timeout: Duration::from_millis(1_500),
        }
    }

    /// The nodes, to ask, kill, pause and restart. A node that is restarted is the same member, with its data or without.
    #[must_use]
    pub fn nodes(&self) -> &[RedisServer] {
        &self.nodes
    }

    /// `redis+cluster://127.0.0.1:…,127.0.0.1:…` with all nodes, as announced, without user and password.
    #[must_use]
    pub fn url(&self) -> String {
        format!("redis+cluster://{}", self.network.hosts(0..self.nodes.len()))
    }

    /// The port under which a node is announced (`MOVED`, `CLUSTER SHARDS`): its proxy's.
    #[must_use]
    pub fn port(&self, node: usize) -> u16 {
        self.network.port(node, CLIENTS)
    }

    /// What stands between a node and its clients. Its replicas come this way too.
    #[must_use]
    pub fn proxy(&self, node: usize) -> &TcpProxy {
        self.network.proxy(node, CLIENTS)
    }

    /// The primary of a slot now: the highest claim among the nodes that run and are not isolated.
    ///
    /// # Panics
    /// Where none of them knows one.
    #[must_use]
    pub fn primary_of(&self, slot: u16) -> usize {
        self.find_primary_of(slot).unwrap_or_else(|| panic!("nobody has slot {slot}"))
    }

    /// [`primary_of`](Self::primary_of), while nodes may be down: `None` where none that runs knows one.
    #[must_use]
    pub fn find_primary_of(&self, slot: u16) -> Option<usize> {
        let seen = self.views().into_iter().flatten().flatten();
        let claims = seen.filter(|seen| seen.primary && seen.has(slot));
        self.network.member(claims.max_by_key(|seen| seen.epoch)?.port, CLIENTS)
    }

    /// The other nodes of a node's shard.
    pub fn peers(&self, node: usize) -> impl Iterator<Item = usize> {
        let primaries = self.primaries;
        (0..self.nodes.len()).filter(move |other| *other != node && other % primaries == node % primaries)
    }

    /// Makes a replica the primary of its shard, in agreement with the old one (`CLUSTER FAILOVER`), and waits until
    /// all nodes know.
    ///
    /// # Panics
    /// Where it is no replica, or nothing came of it within 30 s.
    pub fn failover(&self, replica: usize) {
        let poll = Poll::new(AGREE);
        loop {
            let answer = self.nodes[replica].command(&["CLUSTER", "FAILOVER"]);
            // An attempt that finds the primary busy ends by itself: then it is made again.
            let round = Poll::new(Duration::from_secs(6));
            while round.again_blocking() {
                if self.all_agree(|view| self.leads(view, replica)) {
                    return;
                }
            }
            assert!(poll.again_blocking(), "no failover to node {replica}: {}", answer.text());
        }
    }

    /// Waits until another node of the shard has taken the place of `old`, which was killed, paused or isolated.
    ///
    /// # Panics
    /// Where nobody does within 30 s.
    #[must_use]
    pub fn await_takeover(&self, old: usize) -> usize {
        let poll = Poll::new(AGREE);
        loop {
            let heir = self.peers(old).find(|peer| self.all_agree(|view| self.leads(view, *peer)));
            match heir {
                Some(heir) => return heir,
                None => assert!(poll.again_blocking(), "nobody took the place of node {old}"),
            }
        }
    }

    /// Waits until all nodes run, are reached, and agree that the cluster is complete.
    ///
    /// # Panics
    /// Where they do not within 30 s.
    pub fn await_complete(&self) {
        let poll = Poll::new(AGREE);
        while !self.is_complete() {
            assert!(poll.again_blocking(), "the cluster is not complete:\n{}", self.describe());
        }
    }

    /// Parts these nodes from all others, until [`heal`](Self::heal); clients still reach both sides. After the node
    /// time-out the smaller side refuses requests, and primaries of it are replaced.
    ///
    /// # Panics
    /// Elsewhere than on Linux.
    pub fn isolate(&self, nodes: &[usize]) {
        self.network.part(nodes);
    }

    /// Ends the isolation.
    pub fn heal(&self) {
        self.network.heal();
    }

    /// What the nodes believe that can be asked and belong to the larger side.
    fn views(&self) -> Vec<Option<Vec<Seen>>> {
        let asked =
            (0..self.nodes.len()).filter(|node| self.nodes[*node].is_up() && !self.network.is_away(*node));
        asked.map(|node| self.view(node)).collect()
    }

    fn view(&self, node: usize) -> Option<Vec<Seen>> {
        view::parse(&self.nodes[node].try_command(&["CLUSTER", "NODES"]).ok()?.text())
    }

    fn all_agree(&self, holds: impl Fn(&[Seen]) -> bool) -> bool {
        let views = self.views();
        !views.is_empty() && views.iter().all(|view| view.as_deref().is_some_and(&holds))
    }

    /// Whether `node` is the primary with the slots of its shard, in this view.
    fn leads(&self, view: &[Seen], node: usize) -> bool {
        let seen = |other: usize| view.iter().find(|seen| seen.id == self.ids[other]);
        let leads = |seen: &Seen| seen.primary && !seen.slots.is_empty() && !seen.doubtful;
        seen(node).is_some_and(leads)
            && self.peers(node).all(|peer| seen(peer).is_none_or(|seen| seen.slots.is_empty()))
    }

    fn is_complete(&self) -> bool {
        let all_asked = self.views().len() == self.nodes.len();
        let known = |view: &[Seen]| {
            let primaries = view.iter().filter(|seen| seen.primary).count();
            let followed =
                |seen: &Seen| seen.follows.as_ref().is_none_or(|id| view.iter().any(|seen| seen.id == *id));
            view.len() == self.nodes.len()
                && primaries == self.primaries
                && view.iter().all(|seen| !seen.doubtful && self.ids.contains(&seen.id) && followed(seen))
        };
        all_asked
            && self.all_agree(known)
            && self.nodes.iter().all(is_ready)
            && self.nodes.iter().map(online).sum::<usize>() == self.nodes.len() - self.primaries
    }

    fn describe(&self) -> String {
        let told = |node: &RedisServer| {
            let ask = |words: &[&str]| node.try_command(words).map_or_else(|e| e.to_string(), |r| r.text());
            format!("{}{}", ask(&["CLUSTER", "INFO"]), ask(&["CLUSTER", "NODES"]))
        };
        self.nodes.iter().map(told).collect::<Vec<_>>().join("\n")
    }
}

/// Whether a node serves requests, and as a replica holds its primary's data.
fn is_ready(node: &RedisServer) -> bool {
    let Ok(state) = node.try_command(&["CLUSTER", "INFO"]) else { return false };
    let Ok(replication) = node.try_command(&["INFO", "replication"]) else { return false };
    let replication = replication.text();
    let in_step = replication.contains("role:master") || replication.contains("master_link_status:up");
    state.text().contains("cluster_state:ok") && in_step
}
