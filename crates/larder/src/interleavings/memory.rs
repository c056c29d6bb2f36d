//! The mirror: hits, admissions, invalidations, expirations, pruning and the lease, each in a thread of its own.

use super::explore;
use crate::clock::{Clock, ManualClock, Moment};
use crate::coherence::{Fence, Judged, Mirror, Stamped};
use crate::scope::ScopeHash;
use crate::store::StateReply;
use shuttle::thread::{self, JoinHandle};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

const EPOCH: u64 = 7;
const LEASE: Duration = Duration::from_secs(1);

fn tag() -> ScopeHash {
    ScopeHash::of_tag("acme", "t")
}

fn other(number: u64) -> ScopeHash {
    ScopeHash::of_tag("acme", &format!("other {number}"))
}

/// A node's mirror with an entry, a row of the origin, and what was promised of it. The numbers beside the mirror are no
/// steps: they say what has happened, and change nothing.
struct World {
    clock: Arc<ManualClock>,
    mirror: Mirror,
    trust: u64,
    /// Version of the row.
    row: AtomicU64,
    /// The last version whose invalidation has come back to its caller.
    promised: AtomicU64,
}

impl World {
    /// Trusted, with a valid lease, at head 100.
    fn new() -> Arc<Self> {
        let clock = Arc::new(ManualClock::default());
        let mirror = Mirror::following(clock.clone(), 0);
        let state = StateReply { epoch: EPOCH, head: 100, floor: 0 };
        let trust = mirror.begin_trust(state);
        mirror.renew(trust, clock.now(), state, LEASE, || {});
        assert!(mirror.is_good());
        Arc::new(Self { clock, mirror, trust, row: AtomicU64::new(0), promised: AtomicU64::new(0) })
    }

    /// An entry of version 0, as old as the world.
    fn entry(&self) -> Arc<Judged> {
        let fence = Fence::Stamped(Stamped { epoch: EPOCH, stamp: 100 });
        Arc::new(self.mirror.admit(fence, &[tag()]).expect("nothing speaks against it"))
    }

    /// The row changes, and is invalidated; when that has come back it is promised.
    fn change(&self, invalidate: impl FnOnce()) {
        let version = self.row.fetch_add(1, Ordering::SeqCst) + 1;
        invalidate();
        self.promised.fetch_max(version, Ordering::SeqCst);
    }

    fn push(&self, prev: u64, stamp: u64, scope: ScopeHash) {
        self.mirror.apply(EPOCH, prev, stamp, &[scope]);
    }

    /// A hit, if it is one, of a value of this version.
    fn hit(&self, entry: &Judged, version: u64) {
        let promised = self.promised.load(Ordering::SeqCst);
        if self.mirror.serves(entry, &[tag()]) {
            assert!(version >= promised, "a hit brings {version} after {promised} was promised");
        }
    }

    fn thread(self: &Arc<Self>, run: impl FnOnce(&Self) + Send + 'static) -> JoinHandle<()> {
        let world = Arc::clone(self);
        thread::spawn(move || run(&world))
    }

    /// Somebody who hits an entry of version 0, some times.
    fn hits(self: &Arc<Self>, entry: &Arc<Judged>, times: usize) -> JoinHandle<()> {
        let entry = Arc::clone(entry);
        self.thread(move |world| (0..times).for_each(|_| world.hit(&entry, 0)))
    }
}

fn join(threads: impl IntoIterator<Item = JoinHandle<()>>) {
    threads.into_iter().for_each(|thread| thread.join().unwrap());
}

/// Pushes, one of which invalidates, while others hit.
pub(super) fn pushes_while_hitting() {
    let world = World::new();
    let entry = world.entry();
    let stream = world.thread(|world| {
        world.push(100, 101, other(1));
        world.change(|| world.push(101, 102, tag()));
        world.push(102, 103, other(2));
    });
    join([stream, world.hits(&entry, 2), world.hits(&entry, 2)]);
    world.hit(&entry, 0);
}

/// Two own invalidations that overlap, the stream behind them, and somebody who hits.
pub(super) fn own_invalidations_while_hitting() {
    let world = World::new();
    let entry = world.entry();
    let invalidate = |stamp| {
        world.thread(move |world| {
            world.change(|| {
                world.mirror.block(&[tag()]);
                assert!(world.mirror.settle(&[tag()], Stamped { epoch: EPOCH, stamp }));
            });
        })
    };
    let own = [invalidate(102), invalidate(103)];
    let stream = world.thread(|world| {
        world.push(100, 101, other(1));
        world.push(101, 102, tag());
        world.push(102, 103, tag());
    });
    join(own.into_iter().chain([stream, world.hits(&entry, 2)]));
    world.hit(&entry, 0);
    assert_eq!(world.mirror.blocked(), 0);
}

/// A load whose value is admitted while it is invalidated, and then hit.
pub(super) fn admissions_while_invalidating() {
    let world = World::new();
    let invalidate = world.thread(|world| world.change(|| world.push(100, 101, tag())));
    let load = || {
        world.thread(|world| {
            let at = world.mirror.fence_alone();
            let version = world.row.load(Ordering::SeqCst);
            thread::yield_now();
            let promised = world.promised.load(Ordering::SeqCst);
            if let Some(entry) = world.mirror.admit(Fence::Stamped(at), &[tag()]) {
                assert!(version >= promised, "admitted: {version} after {promised} was promised");
                (0..2).for_each(|_| world.hit(&entry, version));
            }
        })
    };
    join([invalidate, load(), load()]);
}

/// An expiration while others hit: once it is in force the entry is fresh for nobody.
pub(super) fn expirations_while_hitting() {
    let world = World::new();
    let entry = world.entry();
    let expire = world.thread(|world| {
        world.change(|| world.push(100, 101, tag().soft()));
        world.push(101, 102, other(1));
    });
    let hits = || {
        let entry = Arc::clone(&entry);
        world.thread(move |world| {
            for _ in 0..2 {
                let expired = world.promised.load(Ordering::SeqCst) > 0;
                let standing = world.mirror.standing(&entry, &[tag()]);
                assert!(!expired || standing != Some(Moment::FOREVER), "fresh after it was expired");
            }
        })
    };
    join([expire, hits(), hits()]);
    assert_ne!(world.mirror.standing(&entry, &[tag()]), Some(Moment::FOREVER));
}

/// The map forgets while the stream goes on and others hit.
pub(super) fn pruning_while_hitting() {
    let world = World::new();
    let entry = world.entry();
    let stream = world.thread(|world| {
        world.push(100, 101, other(1));
        world.change(|| world.push(101, 102, tag()));
        world.push(102, 103, other(2));
        world.push(103, 104, other(3));
    });
    let swept = Arc::clone(&entry);
    let prune = world.thread(move |world| {
        for _ in 0..2 {
            world.mirror.prune(|restamp| restamp(&swept, (&[tag()]).into()));
        }
    });
    join([stream, prune, world.hits(&entry, 2)]);
    world.hit(&entry, 0);
}

/// The lease runs out, so others need not be told any more; then the node hears of it and has a lease again.
pub(super) fn a_lease_that_lapses_while_hitting() {
    let world = World::new();
    let entry = world.entry();
    let coherence = world.thread(|world| {
        // Whoever waits for acknowledgements waits the lease out.
        world.change(|| world.clock.advance(2 * LEASE));
        let sent = world.clock.now();
        world.push(100, 101, tag());
        let state = StateReply { epoch: EPOCH, head: 101, floor: 0 };
        world.mirror.renew(world.trust, sent, state, LEASE, || {});
    });
    join([coherence, world.hits(&entry, 2), world.hits(&entry, 2)]);
}

/// A node that has no trust loads by itself. Trust begins again, with news, and ends once more: nothing of before is served.
pub(super) fn trust_that_begins_while_hitting() {
    let world = World::new();
    world.mirror.end_trust();
    world.clock.advance(2 * LEASE);
    let coherence = world.thread(|world| {
        world.change(|| {
            let state = StateReply { epoch: EPOCH, head: 101, floor: 0 };
            let trust = world.mirror.begin_trust(state);
            let sent = world.clock.now();
            // Everything from before this heartbeat counts from its answer on.
            world.mirror.renew(trust, sent, state, LEASE, || {});
        });
        world.mirror.end_trust();
        world.clock.advance(2 * LEASE);
    });
    let load = || {
        world.thread(|world| {
            let Some(ticket) = world.mirror.ticket(LEASE * 10) else { return };
            let version = world.row.load(Ordering::SeqCst);
            if let Some(entry) = world.mirror.admit(Fence::Degraded(ticket), &[tag()]) {
                (0..2).for_each(|_| world.hit(&entry, version));
            }
        })
    };
    join([coherence, load(), load()]);
}

#[test]
fn no_hit_is_served_after_a_push_of_its_scope_was_applied() {
    explore(pushes_while_hitting);
}

#[test]
fn no_hit_is_served_after_an_own_invalidation_has_come_back() {
    explore(own_invalidations_while_hitting);
}

#[test]
fn no_value_is_admitted_whose_scope_was_stamped_after_its_version() {
    explore(admissions_while_invalidating);
}

#[test]
fn no_hit_is_fresh_after_an_expiration_was_applied() {
    explore(expirations_while_hitting);
}

#[test]
fn no_hit_is_served_for_what_the_map_forgets() {
    explore(pruning_while_hitting);
}

#[test]
fn no_hit_is_served_after_the_lease_has_run_out_unless_it_was_renewed_with_the_news() {
    explore(a_lease_that_lapses_while_hitting);
}

#[test]
fn nothing_that_was_loaded_without_trust_is_served_once_another_has_begun() {
    explore(trust_that_begins_while_hitting);
}
