//! The nodes: processes that are stopped, killed and replaced.

use super::desk::Desk;
use super::scene::Scene;
use super::servers::Servers;
use super::wire::Order;
use crate::chance::Chance;
use larder::simulation::Mutant;
use larder_testkit::Program;
use parking_lot::Mutex;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;
use tempfile::TempDir;

/// Within which a node that is told to go is to be gone: loads and invalidations under way have their time-outs.
const GOODBYE: Duration = Duration::from_secs(20);

/// What all nodes have in common.
#[derive(Clone, Debug)]
pub(super) struct Settings {
    /// The program whose command `soak-node` is a node.
    pub(super) program: PathBuf,
    pub(super) coordinator: SocketAddr,
    pub(super) lease: Duration,
    pub(super) outage_memory_ttl: Duration,
    /// Reads a second of each.
    pub(super) rate: u32,
    pub(super) seed: u64,
    pub(super) switch_off: Option<Mutant>,
}

/// What happens to nodes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Mishap {
    Stopped,
    Killed,
    ShutDown,
}

impl Mishap {
    /// A round of them.
    pub(super) const ROUND: [Self; 10] = {
        let (stopped, killed) = (Self::Stopped, Self::Killed);
        [stopped, stopped, stopped, stopped, stopped, stopped, killed, killed, killed, Self::ShutDown]
    };

    /// As the report calls it.
    pub(super) fn as_str(self) -> &'static str {
        match self {
            Self::Stopped => "node stopped",
            Self::Killed => "node killed",
            Self::ShutDown => "node shut down and replaced",
        }
    }
}

/// A node that runs.
struct Node {
    id: usize,
    program: Program,
}

/// All nodes, each in its place.
pub(super) struct Fleet {
    settings: Settings,
    servers: Arc<dyn Servers>,
    desk: Arc<Desk>,
    places: Vec<Mutex<Node>>,
    ids: AtomicUsize,
    logs: TempDir,
}

impl Fleet {
    /// So many nodes.
    pub(super) fn start(
        settings: Settings,
        servers: Arc<dyn Servers>,
        desk: Arc<Desk>,
        places: usize,
    ) -> Self {
        let logs = TempDir::with_prefix("larder-soak-").expect("there is room for logs");
        let mut fleet = Self { settings, servers, desk, places: Vec::new(), ids: AtomicUsize::new(0), logs };
        fleet.places = (0..places).map(|place| Mutex::new(fleet.node(place, fleet.settings.rate))).collect();
        fleet
    }

    fn node(&self, place: usize, rate: u32) -> Node {
        let id = self.ids.fetch_add(1, Ordering::SeqCst);
        let ms = |time: Duration| time.as_millis().to_string();
        let Settings { program, coordinator, lease, outage_memory_ttl, seed, switch_off, .. } =
            &self.settings;
        let program = Program::start(program, &self.log(id), |command| {
            command.args(["soak-node", "--coordinator", &coordinator.to_string(), "--node", &id.to_string()]);
            command.args(["--place", &place.to_string()]);
            command.args(["--redis", &self.servers.url(place), "--lease", &ms(*lease)]);
            command.args(["--outage-memory-ttl", &ms(*outage_memory_ttl), "--rate", &rate.to_string()]);
            command.args(["--seed", &seed.wrapping_add(1000 + id as u64).to_string()]);
            if let Some(rule) = switch_off {
                command.args(["--switch-off", &format!("{rule:?}")]);
            }
        });
        Node { id, program }
    }

    fn log(&self, id: usize) -> PathBuf {
        self.logs.path().join(format!("node-{id}.log"))
    }

    /// Those who are there now.
    pub(super) fn ids(&self) -> Vec<usize> {
        self.places.iter().map(|place| place.lock().id).collect()
    }

    /// How many there ever were.
    pub(super) fn count(&self) -> usize {
        self.ids.load(Ordering::SeqCst)
    }

    /// Something happens to a node.
    pub(super) fn strike(&self, what: Mishap, chance: &Chance, scene: &Scene) {
        let place = chance.index(self.places.len());
        let mut node = self.places[place].lock();
        let of = format!("n{}", node.id);
        match what {
            Mishap::Stopped => {
                let lasts = chance.pick(&[20, 300, 900, 1300, 2600, 4000]);
                let _fault = scene.fault(what.as_str(), format_args!("{of}, {lasts} ms"));
                node.program.pause();
                scene.last(lasts);
                node.program.resume();
            }
            Mishap::Killed => {
                let lasts = chance.pick(&[0, 300, 1500, 3000]);
                let _fault = scene.fault(what.as_str(), format_args!("{of}, replaced after {lasts} ms"));
                node.program.kill();
                scene.last(lasts);
                *node = self.node(place, self.settings.rate);
            }
            Mishap::ShutDown => {
                let _fault = scene.fault(what.as_str(), &of);
                self.dismiss(&node, scene);
                *node = self.node(place, self.settings.rate);
            }
        }
    }

    /// A node goes in peace.
    fn dismiss(&self, node: &Node, scene: &Scene) {
        if scene.runtime.block_on(self.desk.order(node.id, Order::Bye))
            && node.program.wait(GOODBYE).is_none()
        {
            scene.judge.broke(format!("I12: node {} does not end within {GOODBYE:?} when told to", node.id));
        }
        node.program.kill();
    }

    /// Somebody who was not there comes in the first place, and calls nobody.
    pub(super) fn newcomer(&self) {
        let mut node = self.places[0].lock();
        node.program.kill();
        *node = self.node(0, 0);
    }

    /// All go in peace.
    pub(super) fn end(&self, scene: &Scene) {
        for place in &self.places {
            self.dismiss(&place.lock(), scene);
        }
    }

    /// What nodes have said on their way down.
    pub(super) fn panics(&self) -> Vec<String> {
        let panicked = |id: usize| {
            let log = String::from_utf8_lossy(&std::fs::read(self.log(id)).ok()?).into_owned();
            log.contains("panicked at").then(|| format!("node {id} panicked: {log}"))
        };
        (0..self.count()).filter_map(panicked).collect()
    }
}
