//! The simulation itself.

use larder_sim::mutation::Mutation;
use larder_sim::network::Topology;
use larder_sim::simulation::{Counts, Options, simulate};
use std::process::Command;

/// Runs these; what happened in all of them, if nothing was broken.
fn unbroken(seeds: std::ops::Range<u64>, options: &Options) -> Counts {
    let mut counts = Counts::default();
    for seed in seeds {
        let outcome = simulate(seed, options);
        assert!(outcome.broken.is_empty(), "seed {seed}: {:#?}", outcome.broken);
        counts += &outcome.counts;
    }
    counts
}

#[test]
fn random_schedules_of_every_kind_of_call_break_no_promise() {
    let counts = unbroken(0..2, &Options::default());
    assert!(counts.total("reads") > 3000 && counts.total("server") > 6000, "{counts}");
    let all = [
        ("invalidations", "pattern"),
        ("invalidations", "everything"),
        ("invalidations", "set"),
        ("expirations", "key"),
        ("expirations", "pattern"),
        ("stale", "expired"),
        ("touches", "lengthened"),
        ("looks", "fresh"),
        ("loads", "bulk"),
        ("loads", "not modified"),
        ("deferred", "delivered later"),
        ("publications", "published"),
        ("publications", "published again"),
        ("publications", "appended"),
        ("logged", "entered"),
        ("followers", "events"),
        ("followers", "epoch"),
        ("replays", "events"),
    ];
    let missing: Vec<_> = all.iter().filter(|(group, name)| counts.of(group, name) == 0).collect();
    assert!(missing.is_empty(), "{missing:?}: {counts}");
}

#[test]
fn more_random_schedules_break_no_promise() {
    let counts = unbroken(2..4, &Options::default());
    assert!(counts.total("reads") > 3000, "{counts}");
}

#[test]
fn in_a_cluster_no_promise_is_broken() {
    let options = Options { topology: Some(Topology::Cluster(3)), steps: 1500, ..Options::default() };
    let counts = unbroken(100..103, &options);
    assert!(counts.total("reads") > 2000 && counts.total("faults") > 0, "{counts}");
}

#[test]
fn nor_where_sentinels_name_another_primary() {
    let options = Options { topology: Some(Topology::Sentinel), steps: 1500, ..Options::default() };
    let counts = unbroken(200..203, &options);
    assert!(counts.total("reads") > 2000 && counts.total("faults") > 0, "{counts}");
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

#[test]
fn loads_of_a_key_beside_each_other_are_noticed() {
    let granted = |one: &Mutation| one.to_string() == "lease: a lease is granted while another holds it";
    let mutation = Mutation::all().into_iter().find(granted).expect("it is one of them");
    let options = Options { faults: false, steps: 1000, ..mutation.options() };
    let broken: Vec<String> = (0..8).flat_map(|seed| simulate(seed, &options).broken).collect();
    assert!(broken.iter().any(|what| what.starts_with("I5: ")), "{broken:?}");
}
