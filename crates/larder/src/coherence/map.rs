//! The map of scopes: when was each last invalidated, as far as this node knows.

use crate::limits::MAX_MIRROR_SCOPES;
use crate::scope::ScopeHash;
use crate::simulation::{Limit, limit};
use std::collections::{HashMap, VecDeque};
use std::hash::{BuildHasherDefault, Hasher};

/// What is known of one scope.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Record {
    /// Stamp of the last invalidation in the current epoch, 0 if there is none.
    pub(super) stamp: u64,
    /// The change counter after the last change of this record: what guards entries loaded without Redis.
    pub(super) change: u64,
    /// Own invalidations whose reply is not here yet. As long as there is one, nothing of this scope is served.
    pub(super) blocks: u32,
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
}

/// Epochs remembered as over. A message of an epoch arrives within a lease of its end, a bump takes a reconnect.
const EPOCHS_REMEMBERED: usize = 64;

impl Map {
    /// Whether nothing in the map speaks against an entry of this epoch and stamp.
    pub(super) fn allows(&self, scopes: &[ScopeHash], epoch: u64, stamp: u64) -> bool {
        epoch == self.epoch
            && stamp >= self.cov
            && scopes.iter().all(|scope| {
                self.scopes.get(scope).is_none_or(|record| record.blocks == 0 && record.stamp <= stamp)
            })
    }

    /// Whether no scope changed after `change`: what entries that were loaded without Redis go by.
    pub(super) fn unchanged_since(&self, scopes: &[ScopeHash], change: u64) -> bool {
        change >= self.guard_floor
            && scopes.iter().all(|scope| self.scopes.get(scope).is_none_or(|record| record.change <= change))
    }

    /// Records an invalidation of the current epoch. Stamps only grow.
    pub(super) fn raise(&mut self, scope: ScopeHash, stamp: u64, change: u64) {
        let record = self.scopes.entry(scope).or_default();
        record.change = change;
        record.stamp = record.stamp.max(stamp);
    }

    pub(super) fn block(&mut self, scope: ScopeHash, change: u64) {
        let record = self.scopes.entry(scope).or_default();
        record.blocks += 1;
        record.change = change;
    }

    pub(super) fn unblock(&mut self, scope: ScopeHash) {
        if let Some(record) = self.scopes.get_mut(&scope) {
            record.blocks = record.blocks.saturating_sub(1);
        }
    }

    /// Whether the epoch is over.
    pub(super) fn is_over(&self, epoch: u64) -> bool {
        self.left.contains(&epoch)
    }

    /// Follows this epoch from `head`; what is stamped below `cov` is in doubt. Stamps of another epoch are dropped,
    /// since no entry of it is ever served again; entries loaded without Redis lose their guard, and so their validity.
    pub(super) fn enter(&mut self, epoch: u64, head: u64, cov: u64, change: u64) {
        if epoch != self.epoch {
            self.epoch_changes += u64::from(self.epoch != 0);
            if self.left.len() == EPOCHS_REMEMBERED {
                self.left.pop_front();
            }
            self.left.push_back(self.epoch);
            self.epoch = epoch;
            self.scopes.retain(|_, record| {
                record.stamp = 0;
                record.blocks > 0
            });
            self.guard_floor = change;
        }
        self.applied = head;
        self.cov = cov;
    }

    pub(super) fn is_full(&self) -> bool {
        self.scopes.len() > limit(Limit::MirrorScopes, MAX_MIRROR_SCOPES)
    }

    /// The stamp below which half of the records can be forgotten.
    pub(super) fn prune_bound(&self) -> u64 {
        let mut stamps: Vec<u64> = self.prunable().map(|record| record.stamp).collect();
        if stamps.is_empty() {
            return 0;
        }
        let middle = stamps.len() / 2;
        *stamps.select_nth_unstable(middle).1
    }

    fn prunable(&self) -> impl Iterator<Item = &Record> {
        self.scopes.values().filter(|record| record.blocks == 0 && record.stamp <= self.applied)
    }

    /// Forgets what is stamped at or below `bound`. What the forgotten records guarded is not covered any more.
    pub(super) fn prune(&mut self, bound: u64) {
        self.cov = self.cov.max(bound);
        let (applied, mut floor) = (self.applied, self.guard_floor);
        self.scopes.retain(|_, record| {
            let keep = record.blocks > 0 || record.stamp > bound || record.stamp > applied;
            if !keep {
                floor = floor.max(record.change);
            }
            keep
        });
        self.guard_floor = floor;
    }

    #[cfg(any(test, feature = "simulation"))]
    pub(super) fn blocked(&self) -> usize {
        self.scopes.values().filter(|record| record.blocks > 0).count()
    }

    pub(super) fn len(&self) -> usize {
        self.scopes.len()
    }
}
