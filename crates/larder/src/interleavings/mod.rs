//! Interleavings: the code as it is, run by shuttle, which decides at each step on a lock, an atomic or an await who goes on.
//! A part of all schedules is tried, half of them with few changes of who goes on (PCT, Burckhardt et al., ASPLOS 2010),
//! half at random; what breaks is printed as a schedule that `shuttle::replay` repeats.
//!
//! Not covered: orders of memory weaker than sequentially consistent ones (shuttle has only those), and steps within tokio and
//! `quick_cache`, whose calls are one step each. `LARDER_INTERLEAVINGS` says how many schedules a test tries (1,000), and
//! `LARDER_INTERLEAVINGS_SEED` which ones.

mod flights;
mod memory;
#[cfg(feature = "simulation")]
mod mutants;

use shuttle::scheduler::{PctScheduler, RandomScheduler, Scheduler};
use shuttle::{Config, FailurePersistence, MaxSteps, Runner};

/// Changes of who goes on in a schedule of few, beyond those that cannot be helped.
const CHANGES: usize = 4;

fn setting(name: &str, usual: u64) -> u64 {
    let set = std::env::var(name).ok();
    set.map_or(usual, |set| set.parse().unwrap_or_else(|_| panic!("{name} is a number, not {set:?}")))
}

/// Runs a scenario under the schedules of this test.
fn explore(scenario: fn()) {
    let schedules = setting("LARDER_INTERLEAVINGS", 1000);
    let seed = setting("LARDER_INTERLEAVINGS_SEED", 1);
    let schedules = usize::try_from(schedules).expect("fewer than 2^64");
    run(scenario, seed, schedules, &FailurePersistence::Print);
}

/// Runs a scenario under so many schedules.
fn run(scenario: fn(), seed: u64, schedules: usize, failures: &FailurePersistence) {
    // For timers, which never fire here: time stands still unless a scenario moves its clock.
    let runtime = tokio::runtime::Builder::new_current_thread().enable_time().build().unwrap();
    let _entered = runtime.enter();
    let half = schedules.div_ceil(2);
    under(PctScheduler::new_from_seed(seed, CHANGES, half), scenario, failures);
    under(RandomScheduler::new_from_seed(seed, half), scenario, failures);
}

fn under(scheduler: impl Scheduler + 'static, scenario: fn(), failures: &FailurePersistence) {
    let mut config = Config::new();
    config.stack_size = 1 << 20;
    // A scenario takes some hundred steps: with so many it has come to no end.
    config.max_steps = MaxSteps::FailAfter(200_000);
    config.failure_persistence = failures.clone();
    config.silence_warnings = true;
    Runner::new(scheduler, config).run(scenario);
}
