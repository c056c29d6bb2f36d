//! All that goes wrong: what befalls nodes, servers and the network, each on a thread of its own, so that it also goes
//! wrong at once.

use super::caught;
use super::fleet::{Fleet, Mishap};
use super::judge::{FAULTS, Judge};
use super::rounds::Rounds;
use super::scene::Scene;
use super::servers::{Servers, Trouble};
use crate::chance::Chance;
use std::sync::Arc;
use std::thread::JoinHandle;
use std::time::Duration;

/// How long it goes well in between, in milliseconds.
const PEACE: &[u64] = &[100, 500, 1500, 3000, 6000];
/// The same where many kinds are to come in turn, and each begins with waiting until all servers agree.
const SHORT_PEACE: &[u64] = &[100, 500, 1500, 3000];
/// A round of so many is one of many.
const MANY: usize = 20;
/// Whoever reads from a server that was replaced notices within so many leases.
const NOTICED: u32 = 2;

/// Begins with it. It ends with the scene.
pub(super) fn begin(
    seed: u64,
    scene: &Arc<Scene>,
    fleet: &Arc<Fleet>,
    servers: &Arc<dyn Servers>,
) -> Vec<JoinHandle<()>> {
    let nodes = {
        let (scene, fleet) = (Arc::clone(scene), Arc::clone(fleet));
        move |what: Mishap, chance: &Chance| {
            attempt(&scene.judge, what.as_str(), || fleet.strike(what, chance, &scene), || ());
        }
    };
    let strike = || {
        let (scene, servers) = (Arc::clone(scene), Arc::clone(servers));
        move |what: Trouble, chance: &Chance| {
            let _replacing = servers.may_replace(what).then(|| scene.replacing(servers.lease() * NOTICED));
            let mend = || drop(servers.mend(&scene.runtime));
            attempt(&scene.judge, what.as_str(), || servers.strike(what, chance, &scene), mend);
        }
    };
    let rounds = [servers.round(), servers.network_round()];
    let kinds = Mishap::ROUND.into_iter().map(Mishap::as_str);
    for kind in kinds.chain(rounds.iter().flatten().map(|trouble| trouble.as_str())) {
        // A kind that never comes is to be seen in the report.
        scene.judge.add(FAULTS, kind, 0);
    }
    let [of_servers, of_network] = rounds;
    vec![
        every(seed, 0, scene, Mishap::ROUND.into(), nodes),
        every(seed, 1, scene, of_servers, strike()),
        every(seed, 2, scene, of_network, strike()),
    ]
}

/// One trouble of these after the other, in rounds. Which, after what peace and how long follows from the seed, whatever
/// became of those before.
fn every<T: Copy + Send + 'static>(
    seed: u64,
    number: u64,
    scene: &Arc<Scene>,
    round: Vec<T>,
    strike: impl Fn(T, &Chance) + Send + 'static,
) -> JoinHandle<()> {
    let scene = Arc::clone(scene);
    let seeds = Chance::new(seed.wrapping_mul(3).wrapping_add(number));
    let peace = if round.len() > MANY { SHORT_PEACE } else { PEACE };
    let mut rounds = Rounds::of(round, Chance::new(seeds.number()));
    std::thread::spawn(move || {
        while let Some(what) = rounds.next() {
            let chance = Chance::new(seeds.number());
            if scene.wait(Duration::from_millis(chance.pick(peace))) {
                break;
            }
            strike(what, &chance);
        }
    })
}

/// Makes a trouble. Where that can't be done it is mended, and told.
fn attempt(judge: &Judge, kind: &'static str, trouble: impl FnOnce(), mend: impl FnOnce()) {
    match caught(trouble) {
        Ok(()) => judge.took_place(kind),
        Err(why) => {
            judge.did_not_take_place(kind, &why);
            if let Err(why) = caught(mend) {
                judge.broke(format!("the harness: {kind} can't be mended: {why}"));
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::cell::Cell;

    #[test]
    fn a_trouble_that_cannot_be_made_is_mended_and_told_and_is_no_violation() {
        let judge = Judge::new(1, Duration::from_secs(1), Duration::ZERO);
        let mended = Cell::new(0);
        let mend = || mended.set(mended.get() + 1);
        attempt(&judge, "a failover", || (), mend);
        attempt(&judge, "a failover", || panic!("nobody took the place of server {}", 1), mend);
        let (counts, broken) = judge.verdict();
        assert_eq!([counts.of(FAULTS, "a failover"), counts.total(FAULTS), mended.get()], [1; 3]);
        assert_eq!(counts.of("faults that did not take place", "a failover"), 1);
        assert!(broken.is_empty(), "{broken:?}");
        let missed = judge.missed();
        assert!(missed.len() == 1 && missed[0].ends_with("a failover: nobody took the place of server 1"));
        attempt(&judge, "a failover", || panic!("none"), || panic!("the port is taken"));
        assert!(judge.verdict().1[0].contains("the port is taken"));
    }
}
