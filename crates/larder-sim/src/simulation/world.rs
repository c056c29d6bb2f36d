//! Everything that one simulation consists of.

use super::history::{History, Standing};
use super::report::Counts;
use super::universe::Universe;
use super::{Options, probe};
use crate::chance::Chance;
use crate::executor::Executor;
use crate::network::Network;
use crate::node::{Host, Limits, Node, Settings};
use crate::trace::Trace;
use larder::Stamp;
use parking_lot::Mutex;
use std::collections::VecDeque;
use std::fmt::Arguments;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use tokio::task::JoinSet;

/// A stamp, and what was written before it.
type Stamped = (Stamp, Vec<(usize, u64)>);

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
    /// Since when the server is away.
    pub down_since_ms: AtomicU64,
    /// Until when acknowledgements may have been waited for from too few: a known limit, where the server's clock leaps
    /// by more than a lease and registrations end with it.
    pub leapt_until_ms: AtomicU64,
}

/// A node with its callers.
pub(super) struct Place {
    /// The node.
    pub node: Node,
    /// Calls under way.
    pub callers: JoinSet<()>,
    /// When what happens to it ends.
    pub until_ms: u64,
}

impl World {
    /// An empty world.
    pub(super) fn new(seed: u64, options: Options) -> Arc<Self> {
        let (chance, trace) = (Chance::new(seed), Trace::new(options.keep_trace));
        let executor = Executor::new(chance.clone());
        tokio::spawn(executor.clone().run());
        let network = Network::new(executor, chance.clone(), trace.clone(), options.edit.clone());
        let universe = Universe::new();
        // Small bounds half of the time: the map is pruned, the floor rises, what is undelivered collapses.
        let limits = if chance.below(2) == 0 {
            Limits { mirror_scopes: 6, state: 16, undelivered: 4 }
        } else {
            Limits { mirror_scopes: 100_000, state: 200_000, undelivered: 10_000 }
        };
        let fault_rate = chance.pick(&[10, 30, 100]);
        let settings = Settings {
            lease: options.lease,
            outage_memory_ttl: options.outage_memory_ttl,
            data_connections: 1 + chance.index(2),
        };
        let history = History::new(universe.0.len(), settings.lease, settings.outage_memory_ttl);
        Arc::new(Self {
            options,
            chance,
            network,
            trace,
            universe,
            history,
            stamps: Mutex::default(),
            broken: Mutex::default(),
            counts: Mutex::default(),
            limits,
            fault_rate,
            settings,
            nodes: AtomicU64::new(0),
            down_since_ms: AtomicU64::new(u64::MAX),
            leapt_until_ms: AtomicU64::new(0),
        })
    }

    /// Another node, which connects by itself.
    pub(super) async fn node(&self) -> Place {
        let id = usize::try_from(self.nodes.fetch_add(1, Ordering::SeqCst)).expect("not so many");
        let mutant = self.options.mutant;
        let host = Host::new(id, self.chance.clone(), self.network.clone(), mutant, self.limits);
        let node = Node::start(host, self.settings).await;
        self.note(format_args!("n{id} is {}", node.inside().node));
        Place { node, callers: JoinSet::new(), until_ms: 0 }
    }

    /// A coherence lease.
    pub(super) fn lease_ms(&self) -> u64 {
        u64::try_from(self.options.lease.as_millis()).expect("a lease is short")
    }

    /// How a node stands now.
    pub(super) fn standing(&self, node: &Node) -> Standing {
        let (good, server_up) = (node.inside().good, !self.network.is_down());
        Standing { node: node.host.id, good, server_up }
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
    pub(super) fn stamped(&self, stamp: Stamp, rows: Vec<(usize, u64)>) {
        let mut stamps = self.stamps.lock();
        stamps.push_back((stamp, rows));
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
        for (row, _) in self.universe.0.iter().enumerate() {
            let needed = self.history.stored(row);
            if let Some(version) = probe::valid(&self.network, &self.universe.0[row])
                && version < needed.version
            {
                self.broke(format!(
                    "row {row}: Redis serves version {version}, not {} ({})",
                    needed.version, needed.why
                ));
            }
        }
    }
}
