//! Directed schedules of expirations: each fails when the step that it is about is left out or done in another order.

use super::pause::Place;
use super::{Fence, Judged, Mirror, Stamped};
use crate::clock::{Clock, ManualClock, Moment};
use crate::scope::ScopeHash;
use crate::store::StateReply;
use std::sync::Arc;
use std::time::Duration;

const EPOCH: u64 = 7;
const LEASE: Duration = Duration::from_secs(1);
const MS: Duration = Duration::from_millis(1);

fn tag() -> ScopeHash {
    ScopeHash::of_tag("acme", "t")
}

fn scopes() -> [ScopeHash; 2] {
    [ScopeHash::of_tag("acme", "k"), tag()]
}

#[derive(Clone)]
struct World {
    clock: Arc<ManualClock>,
    mirror: Arc<Mirror>,
}

impl World {
    /// Trusted, with a valid lease, at head 100.
    fn new() -> Self {
        let clock = Arc::new(ManualClock::default());
        let mirror = Arc::new(Mirror::following(clock.clone(), 0));
        clock.advance(MS);
        let state = StateReply { epoch: EPOCH, head: 100, floor: 0 };
        let trust = mirror.begin_trust(state);
        mirror.renew(trust, clock.now(), state, LEASE, || {});
        assert!(mirror.is_good());
        Self { clock, mirror }
    }

    fn admit(&self, stamp: u64) -> Option<Judged> {
        self.mirror.admit(Fence::Stamped(Stamped { epoch: EPOCH, stamp }), &scopes())
    }

    fn entry(&self, stamp: u64) -> Judged {
        self.admit(stamp).expect("nothing speaks against it")
    }

    fn standing(&self, entry: &Judged) -> Option<Moment> {
        self.mirror.standing(entry, &scopes())
    }

    #[track_caller]
    fn assert_fresh(&self, entry: &Judged) {
        assert_eq!(self.standing(entry), Some(Moment::FOREVER));
    }

    #[track_caller]
    fn assert_stale(&self, entry: &Judged) {
        let standing = self.standing(entry).expect("it is kept");
        assert!(standing <= self.clock.now(), "{standing:?}");
    }

    fn expired(&self, prev: u64, stamp: u64) {
        self.mirror.apply(EPOCH, prev, stamp, &[tag().soft()]);
    }

    fn at(&self, place: Place, other: impl FnOnce() + Send + 'static) {
        self.mirror.pauses.on(place, other);
    }
}

#[test]
fn a_pushed_expiration_makes_older_entries_stale_and_younger_ones_not() {
    let world = World::new();
    let (old, young) = (world.entry(100), Stamped { epoch: EPOCH, stamp: 101 });
    world.assert_fresh(&old);
    world.expired(100, 101);
    let moment = world.clock.now();
    world.clock.advance(5 * MS);
    assert_eq!(world.standing(&old), Some(moment), "from the moment of the push");
    world.assert_fresh(&world.mirror.admit(Fence::Stamped(young), &scopes()).unwrap());
    world.assert_stale(&world.entry(100));
    // Unrelated changes and later expirations do not make it young again.
    world.mirror.apply(EPOCH, 101, 102, &[ScopeHash::of_tag("acme", "other")]);
    assert_eq!(world.standing(&old), Some(moment));
    world.expired(102, 103);
    assert_eq!(world.standing(&old), Some(moment));
}

#[test]
fn an_invalidation_ends_what_an_expiration_kept_and_no_expiration_brings_it_back() {
    let world = World::new();
    let entry = world.entry(100);
    world.expired(100, 101);
    world.assert_stale(&entry);
    world.mirror.apply(EPOCH, 101, 102, &[tag()]);
    assert_eq!(world.standing(&entry), None);
    world.expired(102, 103);
    assert_eq!(world.standing(&entry), None);
    assert!(world.admit(101).is_none() && world.admit(102).is_some());
}

#[test]
fn of_two_readers_after_an_expiration_neither_finds_the_entry_fresh() {
    // The second comes when the first has raised the stamp and has not yet remembered the counter.
    let world = World::new();
    let entry = Arc::new(world.entry(100));
    world.expired(100, 101);
    let (second, seen) = (world.clone(), Arc::clone(&entry));
    world.at(Place::MapChecked, move || second.assert_stale(&seen));
    world.assert_stale(&entry);
    assert!(world.mirror.pauses.happened());
    world.assert_stale(&entry);
}

#[test]
fn while_an_own_expiration_has_no_answer_nothing_of_it_is_fresh() {
    let world = World::new();
    let before = world.entry(100);
    world.mirror.block(&[tag().soft()]);
    // Loaded under a lease that was granted after it, as far as anybody knows, or before.
    let during = [world.entry(100), world.entry(101)];
    for entry in [&before, &during[0], &during[1]] {
        world.assert_stale(entry);
        world.assert_stale(entry);
    }
    world.clock.advance(5 * MS);
    assert!(world.mirror.settle(&[tag().soft()], Stamped { epoch: EPOCH, stamp: 101 }));
    world.assert_stale(&before);
    world.assert_stale(&during[0]);
    world.assert_fresh(&during[1]);
    // The push comes after the reply.
    world.expired(100, 101);
    world.assert_fresh(&during[1]);
}

#[test]
fn of_two_own_expirations_one_answer_does_not_answer_for_the_other() {
    // 7a
    let world = World::new();
    let soft = [tag().soft()];
    world.mirror.block(&soft);
    world.mirror.block(&soft);
    world.mirror.settle(&soft, Stamped { epoch: EPOCH, stamp: 101 });
    let entry = world.entry(101);
    world.assert_stale(&entry);
    world.mirror.settle(&soft, Stamped { epoch: EPOCH, stamp: 102 });
    world.assert_stale(&entry);
    world.assert_fresh(&world.entry(102));
    assert_eq!(world.mirror.blocked(), 0);
}

#[test]
fn an_expired_entry_stays_stale_when_the_map_has_forgotten_why() {
    for swept in [true, false] {
        let world = World::new();
        let entry = world.entry(100);
        world.expired(100, 101);
        for _ in 0..2 {
            world.mirror.prune(|restamp| {
                if swept {
                    restamp(&entry, (&scopes()).into())
                }
            });
        }
        assert_eq!(world.mirror.scopes_remembered(), 0);
        if swept {
            world.assert_stale(&entry);
        } else {
            assert_eq!(world.standing(&entry), None, "dead is safe");
        }
        assert!(world.admit(100).is_none(), "nobody knows any more what happened since");
    }
}

#[test]
fn a_late_expiration_moves_nothing_back() {
    // 4
    let world = World::new();
    world.expired(100, 105);
    let entry = world.entry(104);
    world.assert_stale(&entry);
    world.expired(101, 102);
    world.assert_stale(&entry);
    world.assert_stale(&world.entry(103));
    world.assert_fresh(&world.entry(105));
}

#[test]
fn a_missed_expiration_leaves_nothing_fresh() {
    let world = World::new();
    let entry = world.entry(100);
    // The message of 101 was lost; the next one, or a heartbeat, shows the gap.
    world.mirror.apply(EPOCH, 101, 102, &[ScopeHash::of_tag("acme", "other")]);
    assert_eq!(world.standing(&entry), None);
    let entry = world.entry(102);
    world.mirror.resync(EPOCH, 103);
    assert_eq!(world.standing(&entry), None);
}

#[test]
fn without_redis_an_expiration_counts_for_what_was_loaded_before_it() {
    let world = World::new();
    world.mirror.end_trust();
    world.clock.advance(2 * LEASE);
    let keep = Duration::from_secs(5);
    let before = world.mirror.ticket(keep).unwrap();
    let entry = world.mirror.admit(Fence::Degraded(before), &scopes()).unwrap();
    world.assert_fresh(&entry);
    assert!(world.mirror.honours(&before, &scopes()));
    // Out of reach: it is deferred, and the block stays.
    world.mirror.block(&[tag().soft()]);
    world.assert_stale(&entry);
    assert!(!world.mirror.honours(&before, &scopes()), "nobody joins what began before");
    assert!(!world.mirror.unchanged_since(&scopes(), world.mirror.change() - 1));
    let after = world.mirror.ticket(keep).unwrap();
    world.assert_fresh(&world.mirror.admit(Fence::Degraded(after), &scopes()).unwrap());
    assert!(world.mirror.honours(&after, &scopes()));
    // Loaded before it, and admitted after.
    world.assert_stale(&world.mirror.admit(Fence::Degraded(before), &scopes()).unwrap());
    world.mirror.block(&[tag()]);
    assert_eq!(world.standing(&entry), None);
}
