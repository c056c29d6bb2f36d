//! Short soaks: processes, real servers, faults all the time. `larder-sim soak` runs long ones.

use larder::simulation::Mutant;
use larder_sim::simulation::Counts;
use larder_sim::soak::{Soak, Topology, Verdict, soak};
use std::time::Duration;

fn short(topology: Topology, seconds: u64) -> Soak {
    let lasts = Duration::from_secs(seconds);
    // Two cores may have to run two of these at once.
    Soak { topology, lasts, nodes: 3, rate: 400, seed: 7, ..Soak::new(env!("CARGO_BIN_EXE_larder-sim")) }
}

fn holds(what: &Soak) -> Counts {
    let Verdict { counts, broken, rest, .. } = soak(what, |_, _| {});
    assert!(broken.is_empty(), "{}\n{counts}", broken.join("\n"));
    assert!(rest.is_some());
    // It was no empty show.
    let [reads, told, faults] = ["reads", "invalidations", "faults"].map(|group| counts.total(group));
    assert!(reads > 1000 && told > 30 && faults > 2, "{counts}");
    for source in ["memory", "redis", "loaded"] {
        assert!(counts.of("reads", source) > 10, "{source}: {counts}");
    }
    assert!(counts.total("expirations") > 5 && counts.of("entries seen in Redis", "fresh") > 50, "{counts}");
    counts
}

#[test]
fn nothing_is_stale_on_one_server_and_a_bad_network() {
    let counts = holds(&short(Topology::Single, 25));
    // Messages of Redis were lost on living connections, and nodes have found out.
    let [lost, noticed] = [("network", "messages of Redis lost"), ("nodes", "missed pushes noticed")]
        .map(|(group, name)| counts.of(group, name));
    assert!(lost > 0 && noticed > 0, "{counts}");
}

#[test]
fn nothing_is_stale_while_sentinels_replace_primaries() {
    holds(&short(Topology::Sentinel, 20));
}

#[test]
fn nothing_is_stale_while_a_cluster_moves_slots_and_replaces_primaries() {
    holds(&short(Topology::Cluster, 20));
}

/// What a soak finds with a rule of the engine switched off.
fn noticed(rule: Mutant, what: Soak) -> String {
    let verdict = soak(&Soak { switch_off: Some(rule), patience: 1, ..what }, |_, _| {});
    verdict.broken.first().cloned().unwrap_or_else(|| panic!("{rule:?} is not noticed:\n{}", verdict.counts))
}

#[test]
fn a_node_that_does_not_heed_its_own_invalidations_is_noticed() {
    let what = Soak { calm: true, ..short(Topology::Single, 40) };
    let first = noticed(Mutant::ReplyNotApplied, what);
    let told = ["invalidated", "expired"].into_iter().any(|word| first.contains(word));
    assert!(first.contains("I1: ") && told, "{first}");
}

#[test]
fn a_node_that_trusts_its_memory_after_it_was_stopped_is_noticed() {
    let first = noticed(Mutant::NoLease, short(Topology::Single, 60));
    assert!(first.contains("I2: ") || first.contains("I3: "), "{first}");
}
