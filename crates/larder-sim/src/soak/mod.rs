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
mod rounds;
mod rows;
mod scene;
mod servers;
mod torment;
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
use std::any::Any;
use std::net::Ipv4Addr;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::PathBuf;
use std::sync::Arc;
use std::time::{Duration, Instant};
use tokio::net::TcpListener;
use tokio::runtime::Handle;
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
    /// What troubles and calls follow from: which, in what order, how long. (Processes run as they run, so what comes of it
    /// is another matter.)
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
    /// The last troubles that did not take place, and why: servers that did not do what they were told to do.
    pub missed: Vec<String>,
    /// How many nodes there ever were.
    pub nodes: usize,
    /// How long it took everything to come to rest after the last fault.
    pub rest: Option<Duration>,
}

/// Runs a soak. `progress` is called now and then, with the time gone and reads, invalidations, faults and violations so far.
///
/// # Panics
/// If servers or nodes cannot be started at its beginning, or there are to be more than 8 nodes. From then on it always comes
/// to a verdict.
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
    let scene = Scene::new(Arc::clone(&judge), Handle::current());
    let began = Instant::now();
    let mut threads =
        if what.calm { Vec::new() } else { torment::begin(what.seed, &scene, &fleet, &servers) };
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
            judge.broke(format!("the harness: {}", said(&*panic)));
        }
    }
    let left = aside(&servers, |servers| servers.mend(&Handle::current())).await;
    let left = left.unwrap_or_else(|why| vec![format!("servers can't be mended: {why}")]);
    left.into_iter().for_each(|left| judge.broke(format!("the harness: when all troubles were over {left}")));
    let rest = rest(&judge, &desk, &fleet, &servers).await;
    if let Err(why) = aside(&fleet, move |fleet| fleet.end(&scene)).await {
        judge.broke(format!("the harness: nodes can't be ended: {why}"));
    }
    judge.add("network", "messages of Redis lost", servers.lost_pushes() as u64);
    judge.settle(true);
    fleet.panics().into_iter().for_each(|panic| judge.broke(panic));
    let (counts, broken) = judge.verdict();
    Verdict { counts, broken, missed: judge.missed(), nodes: fleet.count(), rest }
}

/// Does what blocks, and may panic as what is [`caught`].
async fn aside<S: Send + Sync + ?Sized + 'static, T: Send + 'static>(
    whose: &Arc<S>,
    what: impl FnOnce(&S) -> T + Send + 'static,
) -> Result<T, String> {
    let whose = Arc::clone(whose);
    let done = tokio::task::spawn_blocking(move || what(&whose)).await;
    done.map_err(|ended| ended.try_into_panic().map_or_else(|ended| ended.to_string(), |panic| said(&*panic)))
}

/// Does what panics where servers do not as they are told: the kit does, since tests want it so. A soak goes on and tells.
fn caught<T>(what: impl FnOnce() -> T) -> Result<T, String> {
    // Locks are parking_lot's, and nothing is left half-done that `Servers::mend` does not put right.
    catch_unwind(AssertUnwindSafe(what)).map_err(|panic| said(&*panic))
}

/// What somebody said who panicked.
fn said(panic: &(dyn Any + Send)) -> String {
    let said = panic.downcast_ref::<String>().map(String::as_str);
    said.or_else(|| panic.downcast_ref::<&str>().copied()).unwrap_or("it panicked").to_owned()
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
    if let Err(why) = caught(|| fleet.newcomer()) {
        judge.broke(format!("the harness: nobody comes: {why}"));
    }
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
        match aside(servers, |servers| servers.holders()).await.flatten() {
            Ok(holders) => {
                let held = holders.into_iter().filter(|holder| names.contains(holder));
                left.extend(held.map(|holder| format!("a lease of node {holder}")));
            }
            Err(why) => left.push(why),
        }
    }
    left
}
