//! The soak: nodes that are processes, servers that are real, faults all the time; and the checker of the simulation, which
//! holds every read against what was promised before it.
//!
//! Nodes load from the coordinator, which keeps every row's version: a store that is linearizable and outside of all of
//! them. They tell it of each read and each invalidation, with times of the one clock that all processes of a machine
//! share (`CLOCK_BOOTTIME`), so staleness is decided exactly.

mod desk;
mod fleet;
mod judge;
mod line;
mod node;
mod probe;
mod rows;
mod scene;
mod servers;
mod wire;

pub(crate) use node::parse_mutant;
pub use node::{NodeArgs, run as run_node};
pub use servers::Topology;

use crate::chance::Chance;
use crate::simulation::Counts;
use desk::Desk;
use fleet::{Fleet, Settings};
use judge::Judge;
use larder::simulation::Mutant;
use rows::{MAX_NODES, Rows};
use scene::Scene;
use servers::Servers;
use std::net::Ipv4Addr;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::{Duration, Instant};
use tokio::net::TcpListener;
use wire::Order;

/// How long after the last fault everything is to be at rest: a connection that nobody answers is given up after 2 s,
/// attempts are up to 5 s apart, loads take up to 3 s, leases of keys 4 s; and the machine may be busy.
const REST: Duration = Duration::from_secs(30);
/// How often somebody looks into Redis.
const PROBE: Duration = Duration::from_millis(50);
/// How often the coordinator looks around.
const LOOK: Duration = Duration::from_millis(100);

/// What is asked of a soak.
#[derive(Clone, Debug)]
pub struct Soak {
    /// How Redis is set up.
    pub topology: Topology,
    /// How long there are faults.
    pub lasts: Duration,
    /// What faults and calls follow from. (Processes run as they run: a soak can't be replayed.)
    pub seed: u64,
    /// How many nodes there are at a time: 1 to 8.
    pub nodes: usize,
    /// Reads a second of each node. It writes once in 40 reads.
    pub rate: u32,
    /// Nothing goes wrong.
    pub calm: bool,
    /// It ends after so many violations.
    pub patience: usize,
    /// Primaries take writes without their replicas, which docs/guarantees.md advises against.
    pub unguarded: bool,
    /// A rule of the engine that is switched off in all nodes.
    pub switch_off: Option<Mutant>,
    /// The program whose command `soak-node` is a node: this one's executable.
    pub program: PathBuf,
}

impl Soak {
    /// A minute on one server.
    pub fn new(program: impl Into<PathBuf>) -> Self {
        Self {
            topology: Topology::Single,
            lasts: Duration::from_secs(60),
            seed: 0,
            nodes: 4,
            rate: 800,
            calm: false,
            patience: 20,
            unguarded: false,
            switch_off: None,
            program: program.into(),
        }
    }
}

/// What a soak came to.
#[derive(Clone, Debug)]
pub struct Verdict {
    /// How much happened.
    pub counts: Counts,
    /// What must not be, each with what happened around it.
    pub broken: Vec<String>,
    /// How many nodes there ever were.
    pub nodes: usize,
    /// How long it took everything to come to rest after the last fault.
    pub rest: Option<Duration>,
}

/// Runs a soak. `progress` is called now and then, with the time gone and reads, invalidations, faults and violations so far.
///
/// # Panics
/// If servers or nodes cannot be started, or there are to be more than 8 nodes.
pub fn soak(what: &Soak, progress: impl Fn(Duration, [u64; 4])) -> Verdict {
    assert!((1..=MAX_NODES).contains(&what.nodes), "1 to {MAX_NODES} nodes, not {}", what.nodes);
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build();
    runtime.expect("a runtime can be made").block_on(run(what, progress))
}

async fn run(what: &Soak, progress: impl Fn(Duration, [u64; 4])) -> Verdict {
    let servers: Arc<dyn Servers> = servers::start(what.topology, what.nodes, !what.unguarded).await.into();
    let (lease, outage_memory_ttl) = (servers.lease(), servers.lease() * 2);
    let judge = Arc::new(Judge::new(Rows::new().0.len(), lease, outage_memory_ttl));
    let desk = Desk::new(Arc::clone(&judge), Chance::new(what.seed));
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await.expect("there is a free port");
    let coordinator = listener.local_addr().expect("it is bound");
    tokio::spawn(Arc::clone(&desk).open(listener));
    let Soak { program, rate, seed, switch_off, .. } = what.clone();
    let settings = Settings { program, coordinator, lease, outage_memory_ttl, rate, seed, switch_off };
    let fleet = Arc::new(Fleet::start(settings, Arc::clone(&servers), Arc::clone(&desk), what.nodes));
    let scene = Scene::new(Arc::clone(&judge), tokio::runtime::Handle::current());
    let began = Instant::now();
    let mut threads = if what.calm { Vec::new() } else { faults(what.seed, &scene, &fleet, &servers) };
    threads.push(probes(what.seed, &scene, &servers));
    while began.elapsed() < what.lasts && judge.violations() < what.patience {
        tokio::time::sleep(LOOK).await;
        judge.settle(false);
        let [reads, told, faults] = judge.so_far();
        progress(began.elapsed(), [reads, told, faults, judge.violations() as u64]);
    }
    scene.end();
    for thread in threads {
        while !thread.is_finished() {
            tokio::time::sleep(LOOK).await;
            judge.settle(false);
        }
        if let Err(panic) = thread.join() {
            let why = panic.downcast_ref::<String>().map_or("it panicked", String::as_str);
            judge.broke(format!("the harness: {why}"));
        }
    }
    let rest = rest(&judge, &desk, &fleet, &servers).await;
    let ended = (Arc::clone(&fleet), Arc::clone(&scene));
    let ending = tokio::task::spawn_blocking(move || ended.0.end(&ended.1));
    ending.await.expect("nodes can be ended");
    judge.add("network", "messages of Redis lost", servers.lost_pushes() as u64);
    judge.settle(true);
    fleet.panics().into_iter().for_each(|panic| judge.broke(panic));
    let (counts, broken) = judge.verdict();
    Verdict { counts, broken, nodes: fleet.count(), rest }
}

/// Everything that goes wrong, each kind on a thread of its own, so that it also goes wrong at once.
fn faults(
    seed: u64,
    scene: &Arc<Scene>,
    fleet: &Arc<Fleet>,
    servers: &Arc<dyn Servers>,
) -> Vec<std::thread::JoinHandle<()>> {
    type Strike = Box<dyn Fn(&Chance, &Scene) + Send>;
    let (nodes, network) = (Arc::clone(fleet), Arc::clone(servers));
    let stores = Arc::clone(servers);
    let strikes: [Strike; 3] = [
        Box::new(move |chance, scene| nodes.strike(chance, scene)),
        Box::new(move |chance, scene| stores.strike(chance, scene)),
        Box::new(move |chance, scene| network.strike_network(chance, scene)),
    ];
    let begin = |(number, strike): (usize, Strike)| {
        let (scene, chance) =
            (Arc::clone(scene), Chance::new(seed.wrapping_mul(3).wrapping_add(number as u64)));
        std::thread::spawn(move || {
            while !scene.wait(Duration::from_millis(chance.pick(&[100, 500, 1500, 3000, 6000]))) {
                strike(&chance, &scene);
            }
        })
    };
    strikes.into_iter().enumerate().map(begin).collect()
}

/// I4: somebody looks into Redis all the time.
fn probes(seed: u64, scene: &Arc<Scene>, servers: &Arc<dyn Servers>) -> std::thread::JoinHandle<()> {
    let (scene, servers, chance) = (Arc::clone(scene), Arc::clone(servers), Chance::new(!seed));
    std::thread::spawn(move || {
        let rows = Rows::new();
        while !scene.wait(PROBE) {
            probe::look(&*servers, &rows, &chance, &scene.judge);
        }
    })
}

/// I12 and I13: everything is mended and nobody calls; every node relies on Redis again, and nothing is left behind. Then
/// each reads everything once, and somebody who was not there.
async fn rest(judge: &Judge, desk: &Desk, fleet: &Fleet, servers: &Arc<dyn Servers>) -> Option<Duration> {
    let began = Instant::now();
    for node in fleet.ids() {
        desk.order(node, Order::Stop).await;
    }
    let mut left = Vec::new();
    let mut rest = None;
    while rest.is_none() && began.elapsed() < REST {
        tokio::time::sleep(LOOK).await;
        left = unrest(judge, fleet, servers, began).await;
        rest = left.is_empty().then(|| began.elapsed());
    }
    if rest.is_none() {
        judge.broke(format!("I12, I13: {REST:?} after everything was mended: {left:?}"));
    }
    fleet.newcomer();
    let mut asked = Vec::new();
    let checking = Instant::now();
    while asked.len() < fleet.ids().len() || !asked.iter().all(|node| desk.has_checked(*node)) {
        if checking.elapsed() > REST {
            judge.broke(format!("I13: not all of nodes {:?} could read everything in {REST:?}", fleet.ids()));
            break;
        }
        for node in fleet.ids() {
            if !asked.contains(&node) && desk.order(node, Order::Check).await {
                asked.push(node);
            }
        }
        tokio::time::sleep(LOOK).await;
    }
    rest
}

async fn unrest(judge: &Judge, fleet: &Fleet, servers: &Arc<dyn Servers>, began: Instant) -> Vec<String> {
    let mut left = Vec::new();
    let since = judge::now() - u64::try_from(began.elapsed().as_micros()).expect("some seconds");
    let mut names = Vec::new();
    for node in fleet.ids() {
        match judge.standing(node) {
            Some(state) if state.at > since && state.good && state.left == [0; 5] => names.push(state.name),
            state => left.push(format!("node {node}: {state:?}")),
        }
    }
    if left.is_empty() {
        let servers = Arc::clone(servers);
        let holders = tokio::task::spawn_blocking(move || servers.holders());
        let holders = holders.await.expect("servers answer");
        let held = holders.into_iter().filter(|holder| names.contains(holder));
        left.extend(held.map(|holder| format!("a lease of node {holder}")));
    }
    left
}
