//! The bound of the map, also where it is full of what cannot be forgotten yet.

use super::Mirror;
use crate::clock::ManualClock;
use crate::limits::MAX_MIRROR_SCOPES;
use crate::scope::ScopeHash;
use std::sync::Arc;

const EPOCH: u64 = 7;
const HEAD: u64 = 100;

fn following() -> Mirror {
    let mirror = Mirror::following(Arc::new(ManualClock::default()), 0);
    mirror.resync(EPOCH, HEAD);
    mirror
}

fn tags(count: usize) -> Vec<ScopeHash> {
    (0..count).map(|number| ScopeHash::of_tag("acme", &number.to_string())).collect()
}

#[test]
fn the_map_stays_bounded_while_invalidations_are_blocked() {
    let (mirror, tags) = (following(), tags(MAX_MIRROR_SCOPES + 1));
    mirror.block(&tags[..100]);
    mirror.apply(EPOCH, HEAD, HEAD + 1, &tags[..MAX_MIRROR_SCOPES]);
    assert!(!mirror.is_full());
    mirror.apply(EPOCH, HEAD + 1, HEAD + 2, &tags[MAX_MIRROR_SCOPES..]);
    assert!(mirror.is_full());
    mirror.prune(|_| {});
    assert!(!mirror.is_full());
    assert!(mirror.scopes_remembered() >= 100, "a block is never forgotten");
}

#[test]
fn what_cannot_be_forgotten_yet_is_not_gone_through_again_after_each_invalidation() {
    let (mirror, tags) = (following(), tags(MAX_MIRROR_SCOPES * 5 / 4));
    let (first, more) = tags.split_at(MAX_MIRROR_SCOPES + 1);
    mirror.block(first);
    assert!(mirror.has_grown_full());
    mirror.prune(|_| {});
    assert!(mirror.is_full(), "all are blocked; a heartbeat tries again");
    assert!(!mirror.has_grown_full(), "and an invalidation does not");
    mirror.block(more);
    assert!(mirror.has_grown_full());
    mirror.unblock(&tags);
    mirror.prune(|_| {});
    assert!(mirror.scopes_remembered() <= MAX_MIRROR_SCOPES);
    mirror.block(&tags[..=MAX_MIRROR_SCOPES]);
    assert!(mirror.has_grown_full(), "the bound is the old one");
}

#[test]
fn between_two_heartbeats_there_are_never_more_than_twice_as_many() {
    let (mirror, tags) = (following(), tags(5 * MAX_MIRROR_SCOPES));
    let mut most = 0;
    for (stamp, message) in (HEAD..).zip(tags.chunks(1000)) {
        mirror.apply(EPOCH, stamp, stamp + 1, message);
        mirror.forget_if_overfull();
        most = most.max(mirror.scopes_remembered());
    }
    assert!((MAX_MIRROR_SCOPES..=2 * MAX_MIRROR_SCOPES).contains(&most), "{most}");
}
