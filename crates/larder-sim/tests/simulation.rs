//! The simulation itself.

use larder_sim::simulation::{Options, simulate};
use std::process::Command;

#[test]
fn random_schedules_break_no_promise() {
    let (mut reads, mut commands) = (0, 0);
    for seed in 0..6 {
        let outcome = simulate(seed, &Options::default());
        assert!(outcome.broken.is_empty(), "seed {seed}: {:#?}", outcome.broken);
        reads += outcome.counts.total("reads");
        commands += outcome.counts.total("server");
    }
    assert!(reads > 10_000 && commands > 20_000, "{reads} reads, {commands} commands");
}

#[test]
fn without_faults_nothing_is_deferred_and_nothing_fails() {
    for seed in 0..1 {
        let outcome = simulate(seed, &Options { faults: false, ..Options::default() });
        assert!(outcome.broken.is_empty(), "seed {seed}: {:#?}", outcome.broken);
        assert_eq!(outcome.counts.of("invalidations returned", "deferred"), 0);
        assert_eq!(outcome.counts.total("faults"), 0);
    }
}

#[test]
fn a_simulation_follows_from_its_number_in_this_process_and_in_any() {
    let options = Options { steps: 1000, ..Options::default() };
    let mut hashes = Vec::new();
    for seed in [7, 8] {
        let (first, second) = (simulate(seed, &options), simulate(seed, &options));
        assert_eq!(first.hash, second.hash, "seed {seed}");
        assert_eq!(first.counts, second.counts);
        let mut replay = Command::new(env!("CARGO_BIN_EXE_larder-sim"));
        replay.args(["replay", &seed.to_string(), "--steps", "1000"]);
        let shown = String::from_utf8(replay.output().unwrap().stdout).unwrap();
        assert!(shown.contains(&format!("trace {:016x}", first.hash)), "seed {seed}");
        hashes.push(first.hash);
    }
    assert_ne!(hashes[0], hashes[1]);
}
