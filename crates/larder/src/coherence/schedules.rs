//! The protocol's directed schedules, as far as they concern one node: each was found as a way to serve a stale value, and
//! fails when the step that it is about is left out or done in another order.

use super::pause::Place;
use super::{Fence, Heard, Judged, Mirror, Stamped, Ticket};
use crate::clock::ManualClock;
use crate::scope::ScopeHash;
use crate::store::StateReply;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

const LEASE: Duration = Duration::from_secs(1);
/// How long a value loaded without Redis is kept.
const KEEP: Duration = Duration::from_secs(5);
const EPOCH: u64 = 7;
const MS: Duration = Duration::from_millis(1);

fn tag(name: &str) -> ScopeHash {
    ScopeHash::of_tag("acme", name)
}

/// The scopes of the one entry that these schedules are about.
fn scopes() -> [ScopeHash; 2] {
    [tag("k"), tag("t")]
}

/// One node, with a server that is no more than its head.
#[derive(Clone)]
struct World {
    clock: Arc<ManualClock>,
    mirror: Arc<Mirror>,
    head: Arc<AtomicU64>,
    trust: Arc<AtomicU64>,
}

impl World {
    /// Trusted, with a valid lease.
    fn new() -> Self {
        let clock = Arc::new(ManualClock::default());
        let mirror = Arc::new(Mirror::following(clock.clone(), 0));
        let head = Arc::new(AtomicU64::new(100));
        let world = Self { clock, mirror, head, trust: Arc::default() };
        world.trust();
        world.beat();
        assert!(world.mirror.is_good());
        world
    }

    fn state(&self) -> StateReply {
        StateReply { epoch: EPOCH, head: self.head.load(Ordering::SeqCst), floor: 0 }
    }

    fn trust(&self) {
        self.trust.store(self.mirror.begin_trust(self.state()), Ordering::SeqCst);
    }

    fn beat(&self) -> bool {
        let now = crate::clock::Clock::now(&*self.clock);
        let (trust, mut missed) = (self.trust.load(Ordering::SeqCst), false);
        self.mirror.renew(trust, now, self.state(), LEASE, || missed = true);
        missed
    }

    /// Somebody invalidates: the head moves. Returns the push.
    fn invalidated(&self, scope: &'static str) -> impl FnOnce() + use<> {
        let prev = self.head.fetch_add(1, Ordering::SeqCst);
        let mirror = Arc::clone(&self.mirror);
        move || {
            mirror.apply(EPOCH, prev, prev + 1, &[tag(scope)]);
        }
    }

    /// An entry that was read or filled now.
    fn entry(&self) -> Judged {
        let stamp = self.head.load(Ordering::SeqCst);
        let fence = Fence::Stamped(Stamped { epoch: EPOCH, stamp });
        self.mirror.admit(fence, &scopes()).expect("nothing speaks against it")
    }

    fn serves(&self, entry: &Judged) -> bool {
        self.mirror.serves(entry, &scopes())
    }

    /// The link is lost and the lease runs out.
    fn cut(&self) {
        self.mirror.end_trust();
        self.clock.advance(LEASE + MS);
    }

    fn ticket(&self) -> Ticket {
        self.mirror.ticket(KEEP).expect("not in good state")
    }

    fn admit(&self, ticket: Ticket) -> Option<Judged> {
        self.mirror.admit(Fence::Degraded(ticket), &scopes())
    }

    /// Time passes, with heartbeats.
    fn beat_for(&self, time: Duration) {
        let until = time.as_millis() / 100;
        for _ in 0..until {
            self.clock.advance(100 * MS);
            self.beat();
        }
    }

    /// The map forgets all that it may, memory is not swept.
    fn prune_cold(&self) {
        self.mirror.prune(|_| {});
        self.mirror.prune(|_| {});
    }

    fn at(&self, place: Place, other: impl FnOnce() + Send + 'static) {
        self.mirror.pauses.on(place, other);
    }

    fn happened(&self) -> bool {
        self.mirror.pauses.happened()
    }
}

#[test]
fn a_paused_node_serves_nothing_once_its_lease_has_run_out() {
    // s08
    let world = World::new();
    let entry = world.entry();
    assert!(world.serves(&entry));
    let _unread = world.invalidated("t");
    world.clock.advance(LEASE - MS);
    assert!(world.serves(&entry), "the bound is the lease");
    world.clock.advance(MS);
    assert!(!world.serves(&entry));
}

#[test]
fn a_heartbeat_reply_that_overtook_a_push_renews_nothing_that_the_push_concerns() {
    // s09
    let world = World::new();
    let entry = world.entry();
    let push = world.invalidated("t");
    world.clock.advance(LEASE - MS);
    assert!(world.beat(), "it shows that something was missed");
    assert!(!world.serves(&entry));
    push();
    assert!(!world.serves(&entry));
}

#[test]
fn a_heartbeat_of_an_earlier_trust_renews_nothing() {
    let world = World::new();
    let entry = world.entry();
    let earlier = world.trust.load(Ordering::SeqCst);
    world.mirror.end_trust();
    world.trust();
    let now = crate::clock::Clock::now(&*world.clock);
    world.mirror.renew(earlier, now, world.state(), LEASE, || {});
    assert!(!world.serves(&entry) && !world.mirror.is_good());
    world.beat();
    assert!(world.serves(&entry), "nothing was missed meanwhile");
}

#[test]
fn a_lease_that_was_ended_begins_with_the_next_trust_and_by_no_earlier_heartbeat() {
    let world = World::new();
    let entry = world.entry();
    world.mirror.end_trust();
    assert!(world.serves(&entry), "its lease holds");
    world.mirror.end_lease();
    assert!(!world.serves(&entry));
    world.beat();
    assert!(!world.serves(&entry), "sent under a trust that has ended");
    world.trust();
    world.beat();
    assert!(world.serves(&entry), "nothing was missed meanwhile");
}

#[test]
fn a_message_of_a_server_that_has_lost_its_history_is_told_from_one_behind_a_gap() {
    let world = World::new();
    let entry = world.entry();
    let heard = |prev, stamp| world.mirror.apply(EPOCH, prev, stamp, &[tag("other")]);
    assert_eq!(heard(100, 101), Heard::Next);
    assert_eq!(heard(100, 101), Heard::Next, "twice");
    assert!(world.serves(&entry));
    assert_eq!(heard(103, 104), Heard::Missed);
    assert!(!world.serves(&entry));
    let fence = Fence::Stamped(Stamped { epoch: EPOCH, stamp: 104 });
    let entry = world.mirror.admit(fence, &scopes()).expect("it is of after what was missed");
    assert_eq!(heard(101, 105), Heard::HistoryLost);
    assert!(!world.serves(&entry), "what the server tells from here on does not follow what it is known by");
    assert_eq!(world.mirror.apply(EPOCH + 1, 3, 4, &[tag("other")]), Heard::Missed, "of another epoch");
}

#[test]
fn what_is_in_doubt_stays_so_where_the_head_is_one_of_the_past() {
    let world = World::new();
    let entry = world.entry();
    // What was missed has left no record.
    world.head.store(110, Ordering::SeqCst);
    assert!(world.beat());
    assert!(!world.serves(&entry));
    world.head.store(99, Ordering::SeqCst);
    world.mirror.end_trust();
    world.trust();
    world.beat();
    assert!(world.mirror.is_good() && !world.serves(&entry));
}

#[test]
fn an_own_invalidation_holds_before_its_push_is_here() {
    // s19: `applied` has not moved, the map has.
    let world = World::new();
    let entry = world.entry();
    assert!(world.serves(&entry));
    world.mirror.block(&[tag("t")]);
    let _push = world.invalidated("t");
    let at = Stamped { epoch: EPOCH, stamp: world.state().head };
    assert!(world.mirror.settle(&[tag("t")], at));
    assert!(!world.serves(&entry));
}

#[test]
fn an_entry_that_is_not_read_until_the_map_forgets_is_not_served() {
    // s20
    let world = World::new();
    let entry = world.entry();
    world.invalidated("t")();
    world.prune_cold();
    assert_eq!(world.mirror.scopes_remembered(), 0, "forgotten");
    assert!(!world.serves(&entry));
}

#[test]
fn what_was_loaded_without_redis_is_not_served_in_good_state() {
    // s21
    let world = World::new();
    world.cut();
    let entry = world.admit(world.ticket()).expect("nothing speaks against it");
    assert!(world.serves(&entry));
    let _missed = world.invalidated("t");
    world.trust();
    world.beat();
    assert!(!world.serves(&entry));
}

#[test]
fn what_was_loaded_without_redis_never_becomes_a_trusted_entry() {
    // s22
    let world = World::new();
    world.cut();
    let entry = world.admit(world.ticket()).unwrap();
    let _missed = world.invalidated("t");
    world.trust();
    world.beat_for(LEASE + KEEP);
    assert!(!world.serves(&entry));
}

#[test]
fn a_hit_looks_at_the_lease_before_the_counter() {
    // s23: the other way round, a push and a renewal in between go unnoticed.
    let world = World::new();
    let entry = world.entry();
    assert!(world.serves(&entry));
    let push = world.invalidated("t");
    let other = world.clone();
    world.at(Place::LeaseSeen, move || {
        push();
        other.beat();
    });
    assert!(!world.serves(&entry));
    assert!(world.happened());
}

#[test]
fn a_lease_that_is_renewed_after_a_push_covers_no_counter_from_before_it() {
    // s23, where the lease has run out before.
    let world = World::new();
    let entry = world.entry();
    assert!(world.serves(&entry));
    let push = world.invalidated("t");
    world.clock.advance(LEASE);
    world.at(Place::LeaseSeen, || {});
    assert!(!world.serves(&entry));
    assert!(!world.happened(), "without a lease it goes no further");
    push();
    world.beat();
    assert!(!world.serves(&entry));
}

#[test]
fn a_hit_remembers_the_counter_from_before_its_look_at_the_map() {
    // s24
    let world = World::new();
    let entry = world.entry();
    world.invalidated("other")();
    world.at(Place::MapChecked, world.invalidated("t"));
    assert!(world.serves(&entry), "it was still valid when it was looked at");
    assert!(world.happened());
    assert!(!world.serves(&entry));
}

#[test]
fn a_hit_under_way_while_the_map_forgets_is_refused() {
    // s25: the sweep has missed the entry, the reader holds it.
    let world = World::new();
    let entry = world.entry();
    world.invalidated("t")();
    let other = world.clone();
    world.at(Place::CounterSeen, move || other.prune_cold());
    assert!(!world.serves(&entry));
    assert!(world.happened());
}

#[test]
fn the_sweep_stamps_with_what_was_applied_before_its_look_at_the_map() {
    // s26
    let world = World::new();
    let entry = world.entry();
    world.invalidated("other")();
    world.at(Place::Swept, world.invalidated("t"));
    world.mirror.prune(|restamp| restamp(&entry, (&scopes()).into()));
    assert!(world.happened());
    assert!(!world.serves(&entry));
    world.prune_cold();
    assert!(!world.serves(&entry));
}

#[test]
fn the_sweep_keeps_what_is_valid() {
    let world = World::new();
    let (entry, cold) = (world.entry(), world.entry());
    for _ in 0..4 {
        world.invalidated("other")();
    }
    world.mirror.prune(|restamp| restamp(&entry, (&scopes()).into()));
    assert!(world.serves(&entry));
    assert!(!world.serves(&cold), "cold, not stale");
}

#[test]
fn nothing_is_forgotten_before_all_of_memory_was_swept() {
    // s27: the map shrinks only when what it guarded is refused.
    let world = World::new();
    let entry = world.entry();
    world.invalidated("t")();
    world.mirror.prune(|restamp| {
        assert!(!world.serves(&entry));
        restamp(&entry, (&scopes()).into());
        assert!(!world.serves(&entry));
    });
    assert!(!world.serves(&entry));
}

#[test]
fn a_value_loaded_without_redis_is_kept_from_the_start_of_its_load() {
    // s28
    let world = World::new();
    world.cut();
    let ticket = world.ticket();
    world.clock.advance(KEEP - MS);
    let entry = world.admit(ticket).expect("a moment is left");
    assert!(world.serves(&entry));
    world.clock.advance(MS);
    assert!(!world.serves(&entry));
    assert!(world.admit(ticket).is_none());
}

#[test]
fn an_own_invalidation_out_of_reach_takes_what_was_loaded_without_redis() {
    // s29
    let world = World::new();
    world.cut();
    let entry = world.admit(world.ticket()).unwrap();
    world.mirror.block(&[tag("t")]);
    assert!(!world.serves(&entry));
    let later = world.admit(world.ticket()).expect("loaded after it");
    assert!(world.serves(&later), "also while it is undelivered");
}

#[test]
fn a_load_without_redis_that_an_invalidation_overtook_is_not_kept() {
    // s30
    let world = World::new();
    world.cut();
    let ticket = world.ticket();
    world.mirror.block(&[tag("t")]);
    world.mirror.unblock(&[tag("t")]);
    assert!(world.admit(ticket).is_none());
}

#[test]
fn with_trust_the_untrusted_period_ends_before_the_lease_begins() {
    // s31
    let world = World::new();
    world.cut();
    let (entry, ticket) = (world.admit(world.ticket()).unwrap(), world.ticket());
    world.trust();
    assert!(world.mirror.is_trusted() && !world.mirror.is_good());
    assert!(!world.serves(&entry));
    assert!(world.admit(ticket).is_none(), "nor is what was being loaded");
    assert!(!world.mirror.honours(&ticket, &scopes()), "nor may anybody join it");
}

#[test]
fn a_lapsed_lease_that_is_renewed_ends_the_period_too() {
    let world = World::new();
    world.clock.advance(LEASE);
    let (entry, ticket) = (world.admit(world.ticket()).unwrap(), world.ticket());
    world.beat();
    world.clock.advance(LEASE);
    assert!(!world.serves(&entry));
    assert!(!world.mirror.honours(&ticket, &scopes()));
}

#[test]
fn no_moment_is_both_good_and_of_the_untrusted_period() {
    // The lease is renewed first, the period ends after it: in between the one must hide what the other still shows.
    let world = World::new();
    world.clock.advance(LEASE);
    let entry = world.admit(world.ticket()).unwrap();
    let other = world.clone();
    world.at(Place::Changing, move || {
        let again = other.clone();
        other.at(Place::Changing, move || assert!(again.mirror.is_good() && !again.serves(&entry)));
    });
    world.beat();
    assert!(world.happened());
}

#[test]
fn what_guarded_a_load_without_redis_is_not_forgotten_with_its_record() {
    // By pruning, or by a new epoch.
    for epoch in [false, true] {
        let world = World::new();
        world.cut();
        let ticket = world.ticket();
        world.mirror.block(&[tag("t")]);
        world.mirror.unblock(&[tag("t")]);
        if epoch {
            world.mirror.resync(8, 1000);
        } else {
            world.prune_cold();
        }
        assert_eq!(world.mirror.scopes_remembered(), 0);
        assert!(world.admit(ticket).is_none());
        assert!(world.admit(world.ticket()).is_some());
    }
}

#[test]
fn nothing_is_kept_without_a_stamp_that_was_loaded_in_good_state() {
    let world = World::new();
    assert!(world.mirror.ticket(KEEP).is_none());
    world.clock.advance(LEASE);
    let ticket = world.ticket();
    world.beat();
    assert!(world.admit(ticket).is_none(), "good again");
}

#[test]
fn the_map_changes_before_the_counter() {
    // s32: the other way round, a hit in between remembers the new counter with the old map.
    let world = World::new();
    let entry = Arc::new(world.entry());
    world.mirror.block(&[tag("x")]);
    let (other, held) = (world.clone(), Arc::clone(&entry));
    world.at(Place::Changing, move || assert!(other.serves(&held)));
    world.invalidated("t")();
    assert!(world.happened());
    assert!(!world.serves(&entry));
}

#[test]
fn a_flight_without_redis_is_joined_no_longer_than_an_entry_of_it_would_be_served() {
    // s33
    let world = World::new();
    world.cut();
    let ticket = world.ticket();
    assert!(world.mirror.honours(&ticket, &scopes()));
    world.mirror.block(&[tag("x")]);
    assert!(world.mirror.honours(&ticket, &scopes()));
    world.clock.advance(KEEP);
    assert!(!world.mirror.honours(&ticket, &scopes()));
    let ticket = world.ticket();
    world.mirror.block(&[tag("t")]);
    assert!(!world.mirror.honours(&ticket, &scopes()));
}

#[test]
fn blocks_are_counted_and_hold_while_the_lease_is_valid() {
    // s34
    let world = World::new();
    let entry = world.entry();
    assert!(world.serves(&entry));
    world.mirror.block(&[tag("t")]);
    world.mirror.block(&[tag("t")]);
    assert!(!world.serves(&entry), "blocked before Redis knows");
    let later = Stamped { epoch: EPOCH, stamp: world.state().head + 1 };
    let push = world.invalidated("t");
    assert!(world.mirror.settle(&[tag("t")], later));
    push();
    let fence = Fence::Stamped(later);
    assert!(world.mirror.admit(fence, &scopes()).is_none(), "the other is still under way");
    world.mirror.unblock(&[tag("t")]);
    assert!(world.serves(&world.entry()));
}

#[test]
fn a_new_entry_remembers_the_counter_from_before_its_check() {
    // s35
    let world = World::new();
    let read = Fence::Stamped(Stamped { epoch: EPOCH, stamp: world.state().head });
    world.at(Place::Admitted, world.invalidated("t"));
    let entry = world.mirror.admit(read, &scopes()).expect("valid when it was looked at");
    assert!(world.happened());
    assert!(!world.serves(&entry));
}

#[test]
fn what_the_map_has_forgotten_is_not_admitted() {
    // s06: the reply was in flight.
    let world = World::new();
    let read = Fence::Stamped(Stamped { epoch: EPOCH, stamp: world.state().head });
    world.invalidated("t")();
    world.prune_cold();
    assert!(world.mirror.admit(read, &scopes()).is_none());
    let resynced = World::new();
    let _missed = resynced.invalidated("t");
    resynced.beat();
    assert!(resynced.mirror.admit(read, &scopes()).is_none());
}

#[test]
fn a_new_epoch_ends_every_entry_whatever_its_stamp() {
    // s18: the state was lost, and the server's clock went back.
    let world = World::new();
    let entry = world.entry();
    world.mirror.resync(8, 10);
    assert!(!world.serves(&entry));
    let late = Fence::Stamped(Stamped { epoch: EPOCH, stamp: 5000 });
    assert!(world.mirror.admit(late, &scopes()).is_none());
}

#[test]
fn stamps_of_one_epoch_say_nothing_in_another() {
    // The state was lost and the server's clock went back: the new epoch begins below the old one.
    let world = World::new();
    world.invalidated("other")();
    world.mirror.prune(|restamp| {
        world.mirror.resync(8, 10);
        let young = Fence::Stamped(Stamped { epoch: 8, stamp: 10 });
        let entry = world.mirror.admit(young, &scopes()).unwrap();
        restamp(&entry, (&scopes()).into());
        world.mirror.apply(8, 10, 11, &[tag("t")]);
        assert!(!world.serves(&entry));
    });
    let young = Fence::Stamped(Stamped { epoch: 8, stamp: 11 });
    assert!(world.mirror.admit(young, &scopes()).is_some(), "the bound of the old epoch is none here");
}

#[test]
fn a_push_after_a_gap_puts_all_in_doubt() {
    let world = World::new();
    let entry = world.entry();
    let _missed = world.invalidated("t");
    world.invalidated("other")();
    assert!(!world.serves(&entry));
}

#[test]
fn what_was_read_before_something_was_missed_is_too_old_for_those_who_come_after() {
    for by_push in [false, true] {
        let world = World::new();
        let began = world.mirror.change();
        let _missed = world.invalidated("t");
        if by_push {
            world.invalidated("other")();
        } else {
            assert!(world.beat());
        }
        assert!(!world.mirror.unchanged_since(&scopes(), began));
        assert!(world.mirror.unchanged_since(&scopes(), world.mirror.change()));
    }
}

#[test]
fn flights_from_before_what_was_missed_are_detached_before_the_lease_is_renewed() {
    let world = World::new();
    let _missed = world.invalidated("t");
    world.clock.advance(LEASE);
    let (now, trust) = (crate::clock::Clock::now(&*world.clock), world.trust.load(Ordering::SeqCst));
    let mut told = false;
    world.mirror.renew(trust, now, world.state(), LEASE, || {
        told = true;
        assert!(!world.mirror.is_good(), "nobody can join yet");
    });
    assert!(told && world.mirror.is_good());
}

#[test]
fn late_and_repeated_pushes_change_nothing_back() {
    // 4: a stamp only grows, and so does the head.
    let world = World::new();
    let old = world.entry();
    world.invalidated("t")();
    let entry = world.entry();
    let head = world.state().head;
    assert_eq!(world.mirror.apply(EPOCH, head - 1, head, &[tag("t")]), Heard::Next, "the same again");
    assert_eq!(world.mirror.apply(EPOCH, 1, 2, &[tag("t")]), Heard::Next, "a very late one");
    assert!(world.serves(&entry) && !world.serves(&old));
    assert!(!world.beat(), "nothing was missed");
}

#[test]
fn a_reply_of_an_epoch_that_was_left_settles_nothing() {
    let world = World::new();
    world.mirror.resync(8, 1000);
    world.mirror.block(&[tag("t")]);
    let old = Stamped { epoch: EPOCH, stamp: 2000 };
    assert!(!world.mirror.settle(&[tag("t")], old) && !world.mirror.settle_ahead(&[tag("t")], old));
    let unknown = Stamped { epoch: 9, stamp: 2000 };
    assert!(!world.mirror.settle(&[tag("t")], unknown), "not over a link that is not followed");
    let young = Fence::Stamped(Stamped { epoch: 8, stamp: 5000 });
    assert!(world.mirror.admit(young, &scopes()).is_none(), "still blocked");
    assert!(world.mirror.settle_ahead(&[tag("t")], unknown));
    assert!(!world.mirror.resync(8, 3000), "what the stream still brings of the old epoch is history");
}
