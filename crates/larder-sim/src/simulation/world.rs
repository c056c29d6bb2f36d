//! Everything that one simulation consists of.

use super::history::{Effect, History, Returned, Standing};
use super::loads::Loads;
use super::logs::{LOGS, Logs};
use super::report::Counts;
use super::universe::Universe;
use super::{Options, probe};
use crate::chance::Chance;
use crate::executor::Executor;
use crate::network::{Network, Topology};
use crate::node::{Host, Limits, Node, Settings};
use crate::trace::Trace;
use larder::Stamp;
use larder::simulation::CLUSTER_TAGS;
use parking_lot::Mutex;
use std::collections::VecDeque;
use std::fmt::Arguments;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, OnceLock};
use tokio::task::JoinSet;

/// A stamp, what was written before it, and what became of older values.
pub(super) type Stamped = (Stamp, Vec<(usize, u64)>, Effect);

/// Everything that one simulation consists of.
pub(super) struct World {
    /// What was asked for.
    pub options: Options,
    /// Decides everything.
    pub chance: Chance,
    /// The network and the server.
    pub network: Network,
    /// What happened.
    pub trace: Trace,
    /// The origin.
    pub universe: Universe,
    /// What was promised.
    pub history: History,
    /// Until when the origin is busy with those rows that are many, in milliseconds: they come one by one.
    pub(super) origin_busy_ms: AtomicU64,
    /// Who loads what.
    pub(super) loads: Loads,
    /// The tenants' event logs.
    pub(super) logs: Logs,
    /// Stamps that were given out, each with what was written before it.
    stamps: Mutex<VecDeque<Stamped>>,
    /// What broke.
    broken: Mutex<Vec<String>>,
    counts: Mutex<Counts>,
    limits: Limits,
    /// Faults in 10,000 steps.
    pub(super) fault_rate: u64,
    settings: Settings,
    nodes: AtomicU64,
    /// When each server went away, if it is away.
    pub(super) down_since_ms: Vec<AtomicU64>,
    /// When a server was demoted last: it goes on answering those who are connected to it.
    pub(super) demoted_ms: AtomicU64,
    /// When a primary was a replica in between last: what it has is older than it was, and its connections live on.
    pub(super) regressed_ms: AtomicU64,
    /// The hash tag of each row.
    tags: OnceLock<Vec<&'static str>>,
    /// Until when acknowledgements may have been waited for from too few: a known limit, where a server's clock leaps
    /// and registrations end sooner.
    pub(super) leapt_until_ms: AtomicU64,
    /// By how much servers' clocks went back, all in all: values live longer by that.
    pub(super) back_ms: AtomicU64,
}

/// A node with its callers.
pub(super) struct Place {
    /// The node.
    pub node: Node,
    /// Calls under way.
    pub callers: JoinSet<()>,
    /// Those who follow event logs for as long as it lives.
    _followers: JoinSet<()>,
    /// When what happens to it ends.
    pub until_ms: u64,
}

impl World {
    /// An empty world.
    pub(super) fn new(seed: u64, options: Options) -> Arc<Self> {
        let (chance, trace) = (Chance::new(seed), Trace::new(options.keep_trace));
        let executor = Executor::new(chance.clone());
        tokio::spawn(executor.clone().run());
        let topology = chance.pick(&[Topology::Single, Topology::Sentinel, Topology::Cluster(3)]);
        let topology = options.topology.unwrap_or(topology);
        let network = Network::new(topology, executor, chance.clone(), trace.clone(), options.edit.clone());
        let universe = Universe::new(&chance);
        if let Topology::Cluster(servers) = topology {
            let tags = CLUSTER_TAGS.iter().copied().take(Limits::USUAL.buckets);
            network.divide(tags.zip((0..servers).cycle()));
        }
        // Small bounds half of the time: the map is pruned, the floor rises, what is undelivered collapses, patterns are
        // forgotten.
        let (plain_after, tags_of_entries) = (chance.pick(&[0, 2, 64]), chance.pick(&[1, 32]));
        let limits = if chance.below(2) == 0 {
            Limits {
                mirror_scopes: chance.pick(&[2, 3, 6, 12]),
                state: chance.pick(&[8, 16, 32]),
                undelivered: chance.pick(&[1, 2, 4]),
                tenant_rules: chance.pick(&[1, 2, 4]),
                rules: chance.pick(&[1, 3, 6]),
                waiting_events: chance.pick(&[2, 4, 16]),
                event_history: chance.pick(&[3, 8, 40]),
                plain_after,
                tags_of_entries,
                ..Limits::USUAL
            }
        } else {
            Limits { plain_after, tags_of_entries, ..Limits::USUAL }
        };
        let fault_rate = chance.pick(&[20, 60, 150]);
        let settings = Settings {
            lease: options.lease,
            outage_memory_ttl: options.outage_memory_ttl,
            data_connections: 1 + chance.index(2),
            topology,
        };
        let history = History::new(universe.0.len(), settings.lease, settings.outage_memory_ttl);
        let down_since_ms = (0..network.servers()).map(|_| AtomicU64::new(u64::MAX)).collect();
        Arc::new(Self {
            options,
            chance,
            down_since_ms,
            network,
            trace,
            universe,
            history,
            origin_busy_ms: AtomicU64::new(0),
            loads: Loads::default(),
            logs: Logs::default(),
            stamps: Mutex::default(),
            broken: Mutex::default(),
            counts: Mutex::default(),
            limits,
            fault_rate,
            settings,
            nodes: AtomicU64::new(0),
            demoted_ms: AtomicU64::new(0),
            regressed_ms: AtomicU64::new(0),
            tags: OnceLock::new(),
            leapt_until_ms: AtomicU64::new(0),
            back_ms: AtomicU64::new(0),
        })
    }

    /// Another node, which connects by itself.
    pub(super) async fn node(self: &Arc<Self>) -> Place {
        let id = usize::try_from(self.nodes.fetch_add(1, Ordering::SeqCst)).expect("not so many");
        let mutant = self.options.mutant;
        let host = Host::new(id, self.chance.clone(), self.network.clone(), mutant, self.limits);
        let node = Node::start(host, self.settings).await;
        self.note(format_args!("n{id} is {}", node.inside().node));
        let mut followers = JoinSet::new();
        for tenant in LOGS {
            if self.options.logs && self.chance.below(3) > 0 {
                followers.spawn(node.host.run(Arc::clone(self).follow(node.clone(), tenant)));
            }
        }
        Place { node, callers: JoinSet::new(), _followers: followers, until_ms: 0 }
    }

    /// Learns where rows are, and divides what there is among the servers.
    pub(super) fn settle(&self, node: &Node) {
        let tags = self.universe.0.iter().map(|row| node.tag_of(row.tenant, &row.key)).collect();
        self.tags.set(tags).expect("it is done once");
    }

    /// The server that has a row.
    pub(super) fn server_of(&self, row: usize) -> Network {
        let tag = self.tags.get().expect("it was asked for at the start")[row];
        self.network.at(self.network.owner(tag))
    }

    /// How a node stands to a row now.
    pub(super) fn standing(&self, node: &Node, row: usize) -> Standing {
        let of = &self.universe.0[row];
        let good = node.is_good(of.tenant, &of.key);
        Standing { node: node.host.id, good, server_up: !self.server_of(row).is_down() }
    }

    /// Whether a server of the past may answer.
    pub(super) fn demoted_lately(&self) -> bool {
        let demoted = self.demoted_ms.load(Ordering::SeqCst);
        demoted > 0 && self.trace.now_ms() <= demoted + 2 * self.lease_ms()
    }

    /// Whether Redis may serve what it had lost: until the next heartbeat names it another server, so for a lease at most.
    pub(super) fn regressed_lately(&self) -> bool {
        let regressed = self.regressed_ms.load(Ordering::SeqCst);
        regressed > 0 && self.trace.now_ms() <= regressed + self.lease_ms()
    }

    /// Whether Redis has ever lost what it had told of while nobody noticed.
    pub(super) fn has_regressed(&self) -> bool {
        self.regressed_ms.load(Ordering::SeqCst) > 0
    }

    /// A coherence lease.
    pub(super) fn lease_ms(&self) -> u64 {
        u64::try_from(self.options.lease.as_millis()).expect("a lease is short")
    }

    /// How a deferred invalidation of a row counts: whether all nodes saw the outage.
    pub(super) fn deferred(&self, row: usize) -> Returned {
        let server = self.server_of(row);
        let down_since = self.down_since_ms[server.number()].load(Ordering::SeqCst);
        if server.is_down() && self.trace.now_ms() > down_since + self.lease_ms() + 2 {
            Returned::DeferredInOutage
        } else {
            Returned::Deferred
        }
    }

    /// Something happened.
    pub(super) fn note(&self, what: Arguments<'_>) {
        self.trace.note(what);
    }

    /// Counts something.
    pub(super) fn count(&self, group: &'static str, name: &'static str) {
        self.counts.lock().count(group, name);
    }

    /// All counts.
    pub(super) fn counts(&self) -> Counts {
        let mut counts = self.counts.lock().clone();
        counts.add("server", "commands", self.network.commands());
        counts
    }

    /// Something that must not be.
    pub(super) fn broke(&self, what: String) {
        self.note(format_args!("VIOLATION {what}"));
        self.broken.lock().push(what);
    }

    /// What broke so far.
    pub(super) fn broken(&self) -> Vec<String> {
        self.broken.lock().clone()
    }

    /// A stamp was given out.
    pub(super) fn stamped(&self, stamped: Stamped) {
        let mut stamps = self.stamps.lock();
        stamps.push_back(stamped);
        if stamps.len() > 10 {
            stamps.pop_front();
        }
    }

    /// One of the stamps that were given out lately, with what was written before it.
    pub(super) fn some_stamp(&self) -> Option<Stamped> {
        let stamps = self.stamps.lock();
        if stamps.is_empty() { None } else { stamps.get(self.chance.index(stamps.len())).cloned() }
    }

    /// Looks at what lies in Redis.
    pub(super) fn probe(&self) {
        for (row, of) in self.universe.0.iter().enumerate() {
            let needed = self.history.stored(row);
            let Some((version, fresh)) = probe::valid(&self.server_of(row), of) else { continue };
            let least = if fresh { &needed.fresh } else { &needed.at_all };
            if version < least.version {
                let (wanted, why) = (least.version, &least.why);
                self.broke(format!("row {row}: Redis serves version {version}, not {wanted} ({why})"));
            }
        }
    }
}
