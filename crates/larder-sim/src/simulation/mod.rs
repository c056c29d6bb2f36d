//! One simulation: nodes, callers, faults, all from one number; and what it broke.

mod callers;
mod faults;
pub mod history;
mod loads;
mod log_history;
mod logs;
mod probe;
mod quiet;
mod report;
mod universe;
mod world;

pub use report::Counts;

use crate::network::Topology;
use crate::redis::Edit;
use faults::Troubles;
use larder::simulation::Mutant;
use std::sync::Arc;
use std::time::Duration;
use world::World;

/// What is asked of a simulation.
#[derive(Clone)]
pub struct Options {
    /// How many steps it takes.
    pub steps: u64,
    /// How many nodes there are.
    pub nodes: usize,
    /// How servers stand to each other. `None`: the seed decides.
    pub topology: Option<Topology>,
    /// Whether anything goes wrong.
    pub faults: bool,
    /// Whether values are also set.
    pub sets: bool,
    /// Whether events are published and followed.
    pub logs: bool,
    /// The coherence lease.
    pub lease: Duration,
    /// How long a value loaded without Redis is kept.
    pub outage_memory_ttl: Duration,
    /// A rule of the engine that is switched off.
    pub mutant: Option<Mutant>,
    /// A change of the scripts.
    pub edit: Option<Edit>,
    /// Keep the lines of the trace.
    pub keep_trace: bool,
}

impl Default for Options {
    fn default() -> Self {
        Self {
            steps: 4000,
            nodes: 3,
            topology: None,
            faults: true,
            sets: true,
            logs: true,
            lease: Duration::from_secs(1),
            outage_memory_ttl: Duration::from_secs(2),
            mutant: None,
            edit: None,
            keep_trace: false,
        }
    }
}

/// What a simulation came to.
#[derive(Clone, Debug)]
pub struct Outcome {
    /// Its number.
    pub seed: u64,
    /// What it broke.
    pub broken: Vec<String>,
    /// How much happened.
    pub counts: Counts,
    /// Stands for everything that happened.
    pub hash: u64,
    /// Everything that happened, if it was kept.
    pub lines: Vec<String>,
}

/// Runs one simulation.
///
/// # Panics
/// If the engine does.
pub fn simulate(seed: u64, options: &Options) -> Outcome {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_time().start_paused(true).build();
    let runtime = runtime.expect("a runtime without drivers needs nothing");
    runtime.block_on(run(seed, options.clone()))
}

async fn run(seed: u64, options: Options) -> Outcome {
    let (steps, nodes) = (options.steps, options.nodes);
    let world = World::new(seed, options);
    let mut places = Vec::new();
    for _ in 0..nodes {
        places.push(world.node().await);
    }
    world.settle(&places[0].node);
    let mut troubles = Troubles::default();
    for _ in 0..steps {
        world.heal(&mut troubles, &mut places, false).await;
        world.season(&mut troubles, &mut places);
        world.look_around(&mut troubles, &places);
        let place = &mut places[world.chance.index(nodes)];
        let (node, caller) = (place.node.clone(), Arc::clone(&world));
        let host = Arc::clone(&node.host);
        match world.chance.below(100) {
            _ if host.is_dead() => {}
            0..55 => drop(place.callers.spawn(host.run(caller.read(node)))),
            55..62 => drop(place.callers.spawn(host.run(caller.write(node)))),
            62..65 => {
                // A caller who goes away.
                let gone = place.callers.spawn(host.run(caller.read(node)));
                yields(world.chance.below(8)).await;
                gone.abort();
            }
            _ => {}
        }
        if world.chance.below(20) == 0 {
            world.probe();
        }
        for place in &mut places {
            while place.callers.try_join_next().is_some() {}
        }
        match world.chance.below(10) {
            0..6 => yields(1 + world.chance.below(6)).await,
            _ => tokio::time::sleep(Duration::from_millis(world.chance.pick(&[1, 2, 5, 10, 25]))).await,
        }
        if !world.broken().is_empty() {
            break;
        }
    }
    if world.broken().is_empty() {
        world.rest(&mut troubles, &mut places).await;
    }
    let (broken, counts) = (world.broken(), world.counts());
    Outcome { seed, broken, counts, hash: world.trace.hash(), lines: world.trace.lines() }
}

async fn yields(times: u64) {
    for _ in 0..times {
        tokio::task::yield_now().await;
    }
}
