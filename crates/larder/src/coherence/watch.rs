//! Values that nobody loads, because their caller brings them: how old they are, and what has happened to them since.
//!
//! A load begins under a lease, which is taken away by whatever happens to its key. A value that is brought is there
//! before its lease: it is as old as the call that brought it, and of what was invalidated between that call and the lease
//! only this node's mirror can tell.

use super::mirror::{Mirror, Stamped};
use crate::key::Key;
use crate::scope::EntryScopes;
use std::sync::atomic::Ordering;

/// What a node knew at some moment, to see later what has happened since.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Watch {
    /// The last stamp known: whatever has this one or an earlier one was announced before that moment.
    pub(super) head: Stamped,
    /// The change counter.
    pub(crate) change: u64,
}

/// A value that was brought.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Made {
    /// When.
    pub(crate) watch: Watch,
    /// The invalidation that was then made of its key.
    pub(crate) own: Stamped,
}

impl Mirror {
    /// What is known now.
    pub(crate) fn watch(&self) -> Watch {
        let map = self.map.read();
        let head = Stamped { epoch: map.epoch, stamp: map.applied.max(map.known) };
        // Loaded under the lock: no change can come between the two.
        Watch { head, change: self.change.load(Ordering::Acquire) }
    }

    /// Whether a value that was brought is as good as one that was loaded at `upto`: nothing that it belongs to was
    /// invalidated or expired between, but for its own invalidation. If so, the change counter up to which that is known.
    /// `None` also where this node cannot tell.
    pub(crate) fn undisturbed(
        &self,
        made: &Made,
        upto: Stamped,
        scopes: &EntryScopes,
        key: &Key,
    ) -> Option<u64> {
        let map = self.map.read();
        let change = self.change.load(Ordering::Acquire);
        (upto.epoch == made.own.epoch && map.is_undisturbed(made, upto.stamp, scopes, key.as_str()))
            .then_some(change)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::clock::{Clock, ManualClock};
    use crate::key;
    use crate::scope::{Change, Glob, ScopeHash};
    use crate::store::StateReply;
    use std::sync::Arc;
    use std::time::Duration;

    const EPOCH: u64 = 7;

    fn at(stamp: u64) -> Stamped {
        Stamped { epoch: EPOCH, stamp }
    }

    fn scopes() -> EntryScopes {
        let mut scopes = EntryScopes::of("acme", &key!("k"));
        scopes.add_tags("acme", ["t"]);
        scopes
    }

    /// Trusted, at head 100.
    fn mirror() -> Mirror {
        let clock = Arc::new(ManualClock::default());
        clock.advance(Duration::from_millis(1));
        let mirror = Mirror::following(clock.clone(), 0);
        let state = StateReply { epoch: EPOCH, head: 100, floor: 0 };
        let trust = mirror.begin_trust(state);
        mirror.renew(trust, clock.now(), state, Duration::from_secs(1), || {});
        mirror
    }

    /// What happens to a mirror between a call and its lease, at `upto`; the call's own invalidation is at 110.
    fn after(upto: u64, happens: impl FnOnce(&Mirror, &dyn Fn(u64, u64, ScopeHash))) -> bool {
        let mirror = mirror();
        let made = Made { watch: mirror.watch(), own: at(110) };
        happens(&mirror, &|prev, stamp, scope| {
            mirror.apply(EPOCH, prev, stamp, &[scope]);
        });
        mirror.undisturbed(&made, at(upto), &scopes(), &key!("k")).is_some()
    }

    fn key_scope() -> ScopeHash {
        scopes().key()
    }

    fn tag() -> ScopeHash {
        ScopeHash::of_tag("acme", "t")
    }

    #[test]
    fn its_own_invalidation_alone_disturbs_nothing() {
        assert!(after(110, |_, push| push(100, 110, key_scope())));
        // The reply first, the message after it.
        assert!(after(110, |mirror, push| {
            mirror.settle(&[key_scope()], at(110));
            push(100, 110, key_scope());
        }));
        let other = ScopeHash::of_tag("acme", "other");
        assert!(after(112, |_, push| {
            push(100, 105, other);
            push(105, 110, key_scope());
            push(110, 112, other);
        }));
    }

    #[test]
    fn whatever_else_concerns_it_disturbs_in_whichever_order_it_comes() {
        for scope in [key_scope(), tag(), ScopeHash::everything(), key_scope().soft(), tag().soft()] {
            assert!(!after(110, |_, push| {
                push(100, 105, scope);
                push(105, 110, key_scope());
            }));
            assert!(!after(110, |mirror, push| {
                mirror.settle(&[key_scope()], at(110));
                push(100, 105, scope);
                push(105, 110, key_scope());
            }));
            assert!(!after(112, |_, push| {
                push(100, 110, key_scope());
                push(110, 112, scope);
            }));
        }
    }

    #[test]
    fn what_has_not_arrived_yet_may_disturb() {
        assert!(!after(110, |mirror, _| assert!(mirror.settle(&[key_scope()], at(110)))));
        assert!(!after(111, |_, push| push(100, 110, key_scope())));
    }

    #[test]
    fn what_is_under_way_here_disturbs() {
        for scope in [key_scope(), tag(), tag().soft(), key_scope().soft()] {
            assert!(!after(110, |mirror, push| {
                push(100, 110, key_scope());
                mirror.block(&[scope]);
            }));
        }
    }

    #[test]
    fn what_was_missed_or_forgotten_may_have_disturbed() {
        assert!(!after(110, |_, push| push(105, 110, key_scope())));
        assert!(!after(110, |mirror, push| {
            push(100, 105, tag());
            push(105, 110, key_scope());
            mirror.prune(|_| {});
            mirror.prune(|_| {});
        }));
        assert!(!after(110, |mirror, push| {
            push(100, 110, key_scope());
            mirror.resync(EPOCH + 1, 110);
        }));
    }

    #[test]
    fn what_was_known_at_the_call_does_not_disturb() {
        let mirror = mirror();
        mirror.apply(EPOCH, 100, 105, &[tag()]);
        mirror.apply(EPOCH, 105, 106, &[key_scope()]);
        // Known by its reply before its message is here, and with it that whatever is stamped before was announced.
        mirror.settle(&[key_scope()], at(109));
        let made = Made { watch: mirror.watch(), own: at(110) };
        mirror.apply(EPOCH, 106, 108, &[tag()]);
        mirror.apply(EPOCH, 108, 109, &[key_scope()]);
        mirror.apply(EPOCH, 109, 110, &[key_scope()]);
        assert!(mirror.undisturbed(&made, at(110), &scopes(), &key!("k")).is_some());
    }

    #[test]
    fn of_patterns_those_that_match_disturb() {
        for (pattern, kept) in [("other*", true), ("k*", false)] {
            let glob = [Glob::new("acme", pattern)];
            let rules = [glob[0].scope];
            let happens = |mirror: &Mirror, push: &dyn Fn(u64, u64, ScopeHash)| {
                mirror.apply(EPOCH, 100, 105, Change { scopes: &rules, globs: &glob });
                push(105, 110, key_scope());
            };
            assert_eq!(after(110, happens), kept, "{pattern}");
        }
    }

    #[test]
    fn without_redis_too_what_others_invalidate_disturbs() {
        let mirror = Mirror::alone(Arc::new(ManualClock::default()));
        for (scope, kept) in [(None, true), (Some(tag()), false), (Some(key_scope()), false)] {
            let watch = mirror.watch();
            if let Some(scope) = scope {
                mirror.stamp_alone(&[scope]);
            }
            let own = mirror.stamp_alone(&[key_scope()]);
            let made = Made { watch, own };
            assert_eq!(mirror.undisturbed(&made, own, &scopes(), &key!("k")).is_some(), kept, "{scope:?}");
        }
    }
}
