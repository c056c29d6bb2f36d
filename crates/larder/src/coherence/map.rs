//! The map of scopes: when was each last invalidated, as far as this node knows.

use super::rules::Rules;
use super::watch::Made;
use crate::clock::Moment;
use crate::limits::MAX_MIRROR_SCOPES;
use crate::scope::{EntryScopes, Glob, ScopeHash, Subject};
use crate::simulation::{Limit, Mutant, is, limit};
use std::collections::{HashMap, VecDeque};
use std::hash::{BuildHasherDefault, Hasher};

/// What is known of one scope.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Record {
    /// Stamp of the last invalidation in the current epoch, 0 if there is none.
    pub(super) stamp: u64,
    /// Stamp of the last one before that, as far as it is known; 0 if there is none.
    earlier: u64,
    /// The change counter after the last change of this record: what guards entries loaded without Redis.
    pub(super) change: u64,
    /// Own invalidations whose reply is not here yet. As long as there is one, nothing of this scope is served.
    pub(super) blocks: u32,
    /// Own expirations whose reply is not here yet. As long as there is one, nothing of this scope is fresh.
    soft_blocks: u32,
    /// Stamp of the last expiration in the current epoch, 0 if there is none.
    soft_stamp: u64,
    /// The change counter after the last change of the expiration.
    soft_change: u64,
    /// When the last expiration was applied here.
    expired_at: Moment,
}

impl Record {
    fn last_stamp(&self) -> u64 {
        self.stamp.max(self.soft_stamp)
    }

    fn last_change(&self) -> u64 {
        self.change.max(self.soft_change)
    }

    fn is_blocked(&self) -> bool {
        self.blocks > 0 || self.soft_blocks > 0
    }

    /// Whether nothing has happened to this scope after `since` but the invalidation at `own`.
    fn has_only(&self, own: u64, since: u64) -> bool {
        !self.is_blocked() && self.stamp == own && self.earlier <= since && self.soft_stamp <= since
    }
}

/// What the map has to say of a value that nothing in it has invalidated.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Verdict {
    /// When it was expired; [`Moment::FOREVER`] if it was not.
    pub(super) expired_at: Moment,
    /// Whether an expiration is under way: then it is stale, and what comes of that is not known yet.
    pub(super) expiring: bool,
}

impl Verdict {
    pub(super) const FINE: Self = Self { expired_at: Moment::FOREVER, expiring: false };

    fn expired(&mut self, record: &Record) {
        self.expired_at = self.expired_at.min(record.expired_at);
    }
}

/// Scopes are hashes already: eight of their bytes are as good as any hash of them.
#[derive(Default)]
pub(super) struct TakeEight(u64);

impl Hasher for TakeEight {
    fn finish(&self) -> u64 {
        self.0
    }

    fn write(&mut self, bytes: &[u8]) {
        // The derived Hash of an array writes its length first, then its bytes; only the latter are sixteen.
        if let Some(eight) = bytes.get(4..12) {
            self.0 = u64::from_ne_bytes(eight.try_into().expect("eight bytes"));
        }
    }

    fn write_usize(&mut self, _length: usize) {}
}

/// State behind the mirror's lock.
#[derive(Debug, Default)]
pub(super) struct Map {
    /// The epoch in which this node follows the stream; 0 before the first.
    pub(super) epoch: u64,
    /// Everything up to this stamp has been applied.
    pub(super) applied: u64,
    /// The last stamp that is known to have been given: of an own invalidation it is known before its message is applied.
    pub(super) known: u64,
    /// Entries stamped below this are not covered by the map any more.
    pub(super) cov: u64,
    /// Number of the untrusted period: entries loaded without Redis belong to one.
    pub(super) period: u64,
    /// Entries loaded without Redis at or before this change are not covered by the records any more.
    pub(super) guard_floor: u64,
    /// How often another epoch was entered than the first.
    pub(super) epoch_changes: u64,
    /// Epochs that are over. What still arrives from one of them means nothing: its entries are dead.
    left: VecDeque<u64>,
    scopes: HashMap<ScopeHash, Record, BuildHasherDefault<TakeEight>>,
    rules: Rules,
    /// How many scopes there may be before it is worth trying again to forget some: beyond the bound where the last try found
    /// too few that could be forgotten.
    room: usize,
}

fn most_scopes() -> usize {
    limit(Limit::MirrorScopes, MAX_MIRROR_SCOPES)
}

/// Epochs remembered as over. A message of an epoch arrives within a lease of its end, a bump takes a reconnect.
const EPOCHS_REMEMBERED: usize = 64;

impl Map {
    /// What the map has to say of an entry of this epoch, which is known to be right up to this stamp. `None`: it may
    /// have been invalidated since.
    pub(super) fn judge(&self, subject: Subject<'_>, epoch: u64, stamp: u64) -> Option<Verdict> {
        if epoch != self.epoch && !is(Mutant::EpochIgnored) || stamp < self.cov && !is(Mutant::CoverIgnored) {
            return None;
        }
        let mut verdict = Verdict::FINE;
        for (scope, record) in subject.scopes.iter().filter_map(|scope| self.scopes.get_key_value(scope)) {
            let is_later = record.stamp > stamp && !self.rules_allow(scope, subject.key, stamp, record.stamp);
            if record.blocks > 0 || is_later {
                return None;
            }
            if record.soft_stamp > stamp && !is(Mutant::ExpirationsIgnored) {
                verdict.expired(record);
            }
            verdict.expiring |= record.soft_blocks > 0 && !is(Mutant::ExpiringIgnored);
        }
        Some(verdict)
    }

    /// Whether a scope that was stamped `newest`, after `stamp`, is one of rules that do not concern the key.
    fn rules_allow(&self, scope: &ScopeHash, key: &str, stamp: u64, newest: u64) -> bool {
        scope.is_of_rules() && !key.is_empty() && self.rules.allow(scope, key, stamp, newest)
    }

    /// Whether a value in Redis of this version, whose tenant's rules were stamped `newest` after it, is concerned by none
    /// of them. Only where this node knows them all: the reply of an own one may be here before the message of another's
    /// that was stamped before it.
    pub(super) fn rules_spare(
        &self,
        scope: &ScopeHash,
        key: &str,
        epoch: u64,
        ver: u64,
        newest: u64,
    ) -> bool {
        epoch == self.epoch
            && (ver >= self.cov || is(Mutant::RulesOfBefore))
            && (newest <= self.applied || is(Mutant::RulesAhead))
            && self.scopes.get(scope).is_some_and(|record| record.stamp == newest)
            && self.rules_allow(scope, key, ver, newest)
    }

    /// Records a rule of the current epoch, beside its scope.
    pub(super) fn rule(&mut self, glob: &Glob, stamp: u64) {
        self.rules.add(glob, stamp);
    }

    /// [`Map::judge`] for what was loaded without Redis, which goes by the change counter.
    pub(super) fn judge_since(&self, scopes: &[ScopeHash], change: u64) -> Option<Verdict> {
        if is(Mutant::DegradedUnguarded) {
            return Some(Verdict::FINE);
        }
        if change < self.guard_floor {
            return None;
        }
        let mut verdict = Verdict::FINE;
        for record in scopes.iter().filter_map(|scope| self.scopes.get(scope)) {
            if record.change > change {
                return None;
            }
            // One that is under way began with a change of its own.
            if record.soft_change > change {
                verdict.expired(record);
            }
        }
        Some(verdict)
    }

    /// Whether a value that was brought is as good as one loaded at `upto`: all up to there is applied, and since it was
    /// brought nothing has happened to it but its own invalidation. What is forgotten counts as having happened.
    pub(super) fn is_undisturbed(&self, made: &Made, upto: u64, scopes: &EntryScopes, key: &str) -> bool {
        let since = if is(Mutant::GivenUnwatched) { made.own.stamp } else { made.watch.head.stamp };
        let others = self.judge(Subject { scopes: scopes.shared(), key }, made.watch.head.epoch, since);
        let of_key = self.scopes.get(&scopes.key());
        (upto <= self.applied || is(Mutant::GivenUnawaited))
            && made.own.epoch == self.epoch
            && others == Some(Verdict::FINE)
            && of_key.is_some_and(|record| record.has_only(made.own.stamp, since))
    }

    /// Records an invalidation or expiration of the current epoch. Stamps only grow.
    pub(super) fn raise(&mut self, scope: ScopeHash, stamp: u64, change: u64, now: Moment) {
        self.known = self.known.max(stamp);
        let record = self.scopes.entry(scope.hard()).or_default();
        if !scope.is_soft() {
            record.change = change;
            let (earlier, later) = (record.stamp.min(stamp), record.stamp.max(stamp));
            if earlier < later {
                record.earlier = record.earlier.max(earlier);
            }
            record.stamp = later;
        } else if stamp > record.soft_stamp {
            (record.soft_stamp, record.soft_change, record.expired_at) = (stamp, change, now);
        }
    }

    pub(super) fn block(&mut self, scope: ScopeHash, change: u64, now: Moment) {
        let record = self.scopes.entry(scope.hard()).or_default();
        if scope.is_soft() {
            record.soft_blocks += 1;
            (record.soft_change, record.expired_at) = (change, now);
        } else {
            record.blocks += 1;
            record.change = change;
        }
    }

    pub(super) fn unblock(&mut self, scope: ScopeHash) {
        if let Some(record) = self.scopes.get_mut(&scope.hard()) {
            let blocks = if scope.is_soft() { &mut record.soft_blocks } else { &mut record.blocks };
            *blocks = blocks.saturating_sub(1);
        }
    }

    /// Whether one of the scopes was invalidated after `ver`, and no later than `upto`, as far as that is remembered.
    pub(super) fn has_ended(&self, subject: Subject<'_>, ver: u64, upto: u64) -> bool {
        let within = |stamp: u64| stamp > ver && stamp <= upto;
        subject.scopes.iter().any(|scope| {
            if scope.is_of_rules() {
                return self.rules.concern(scope, subject.key, ver, upto)
                    && !is(Mutant::LostPatternsUnnoticed);
            }
            self.scopes.get(scope).is_some_and(|record| within(record.stamp) || within(record.earlier))
        })
    }

    /// Whether the epoch is over.
    pub(super) fn is_over(&self, epoch: u64) -> bool {
        self.left.contains(&epoch)
    }

    /// Follows this epoch from `head`; what is stamped below `cov` is in doubt. Stamps of another epoch are dropped,
    /// since no entry of it is ever served again; entries loaded without Redis lose their guard, and so their validity.
    /// Within an epoch nothing comes out of doubt: what was forgotten is not remembered by a head of the past.
    pub(super) fn enter(&mut self, epoch: u64, head: u64, cov: u64, change: u64) {
        if epoch != self.epoch {
            self.epoch_changes += u64::from(self.epoch != 0);
            if self.left.len() == EPOCHS_REMEMBERED {
                self.left.pop_front();
            }
            self.left.push_back(self.epoch);
            self.epoch = epoch;
            self.scopes.retain(|_, record| {
                (record.stamp, record.earlier, record.soft_stamp) = (0, 0, 0);
                record.is_blocked()
            });
            self.rules.clear();
            (self.known, self.room) = (0, 0);
            self.cov = 0;
        }
        // What was missed has left no record: whatever was read or loaded before this is in doubt.
        self.guard_floor = change;
        self.applied = head;
        self.cov = self.cov.max(cov);
    }

    pub(super) fn knows(&self, scope: &ScopeHash) -> bool {
        self.scopes.contains_key(scope)
    }

    pub(super) fn is_full(&self) -> bool {
        self.scopes.len() > most_scopes()
    }

    /// Whether it is full, and has grown since something was last forgotten.
    pub(super) fn has_grown_full(&self) -> bool {
        self.is_full() && self.scopes.len() > self.room
    }

    /// Whether it is so full that something is to be forgotten at once.
    pub(super) fn is_overfull(&self) -> bool {
        self.has_grown_full() && self.scopes.len() > 2 * most_scopes()
    }

    /// The stamp below which half of the records can be forgotten.
    pub(super) fn prune_bound(&self) -> u64 {
        let mut stamps: Vec<u64> = self.prunable().map(Record::last_stamp).collect();
        if stamps.is_empty() {
            return 0;
        }
        let middle = stamps.len() / 2;
        *stamps.select_nth_unstable(middle).1
    }

    fn prunable(&self) -> impl Iterator<Item = &Record> {
        self.scopes.values().filter(|record| !record.is_blocked() && record.last_stamp() <= self.applied)
    }

    /// Forgets what is stamped at or below `bound`. What the forgotten records guarded is not covered any more.
    pub(super) fn prune(&mut self, bound: u64) {
        self.cov = self.cov.max(if is(Mutant::PruneUncovered) { 0 } else { bound });
        self.rules.prune(bound);
        let (applied, mut floor) = (self.applied, self.guard_floor);
        self.scopes.retain(|_, record| {
            let last = record.last_stamp();
            let keep = record.is_blocked() || last > bound || last > applied;
            if !keep {
                floor = floor.max(record.last_change());
            }
            keep
        });
        self.guard_floor = floor;
        self.room = self.scopes.len() + most_scopes() / 8;
    }

    #[cfg(any(test, feature = "simulation"))]
    pub(super) fn blocked(&self) -> usize {
        self.scopes.values().filter(|record| record.is_blocked()).count()
    }

    pub(super) fn len(&self) -> usize {
        self.scopes.len()
    }
}
