//! I5: who loads what. While nothing goes wrong, one load of a key runs at a time, on all nodes together; and nobody gives up
//! waiting for loads that were quick.

use parking_lot::Mutex;
use std::collections::{BTreeMap, VecDeque};

/// For so long (ms) a disturbance has consequences after its end: what was sent in it may be under way for 1.3 s, and with
/// it everything that was sent after it over the same connection.
pub(super) const AFTERMATH: u64 = 2000;

/// A node's standing is looked at no more often than this (ms).
pub(super) const LOOKS: u64 = 50;

/// How long (ms) who waits for loads is patient, at least: less is explained by threads that were stopped meanwhile.
const PATIENCE: u64 = 1500;

/// How many loads of a row are remembered after their end.
const REMEMBERED: usize = 256;

/// A load that begins.
#[derive(Clone, Copy, Debug)]
pub(super) struct Load {
    /// Of which row.
    pub(super) row: usize,
    /// On which node.
    pub(super) node: usize,
    /// When the call began that it is made for.
    pub(super) since: u64,
    /// Whether others must not load beside it. Not where its call keeps Redis out, or brings a stamp beyond it.
    pub(super) alone: bool,
    /// When it began.
    pub(super) began: u64,
}

/// What a load that begins is beside the others.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Beside {
    /// It is the only one of its row.
    Nobody,
    /// Another one is explained by this.
    Excused(&'static str),
    /// Nothing has.
    Another(String),
}

#[derive(Default)]
struct Inner {
    last: u64,
    running: BTreeMap<u64, Load>,
    /// Of each row, when loads began and ended.
    ended: BTreeMap<usize, VecDeque<(u64, u64)>>,
    /// Invalidations under way: by which node, of which rows.
    telling: BTreeMap<u64, (usize, Vec<usize>)>,
    /// When the last one ended, by row.
    told: BTreeMap<usize, u64>,
    /// From when on nothing was amiss.
    quiet_from: u64,
}

impl Inner {
    fn number(&mut self) -> u64 {
        self.last += 1;
        self.last
    }

    fn told(&mut self, id: u64, now: u64) {
        for row in self.telling.remove(&id).map(|(_, rows)| rows).unwrap_or_default() {
            self.told.insert(row, now);
        }
    }

    fn end(&mut self, id: u64, now: u64) {
        let Some(Load { row, began, .. }) = self.running.remove(&id) else { return };
        let ended = self.ended.entry(row).or_default();
        ended.push_back((began, now));
        if ended.len() > REMEMBERED {
            ended.pop_front();
        }
    }

    /// What explains that a row is loaded here and there at once.
    fn excuse(&self, here: &Load, there: &Load) -> Option<&'static str> {
        let (row, since) = (here.row, here.since.min(there.since));
        let being_told = || self.telling.values().any(|(_, rows)| rows.contains(&row));
        if !here.alone || !there.alone {
            Some("not shared")
        } else if being_told() || self.told.get(&row).is_some_and(|told| *told >= since) {
            Some("invalidated")
        } else {
            (self.quiet_from >= since).then_some("disturbed")
        }
    }

    /// How long at least one load of a row ran, from then on.
    fn busy(&self, row: usize, from: u64, now: u64) -> u64 {
        let running = self.running.values().filter(|load| load.row == row).map(|load| (load.began, now));
        let ended = self.ended.get(&row).into_iter().flatten().copied();
        let mut spans: Vec<_> = ended.chain(running).map(|(began, end)| (began.max(from), end)).collect();
        spans.sort_unstable();
        let (mut busy, mut until) = (0, from);
        for (began, end) in spans {
            busy += end.saturating_sub(began.max(until));
            until = until.max(end);
        }
        busy
    }
}

/// All loads of all nodes. Times are in milliseconds.
#[derive(Default)]
pub(super) struct Loads(Mutex<Inner>);

impl Loads {
    /// Something is amiss, and explains what happens until then.
    pub(super) fn disturbed(&self, until: u64) {
        let mut inner = self.0.lock();
        inner.quiet_from = inner.quiet_from.max(until);
    }

    /// A load begins: its number, and what it is beside the others.
    pub(super) fn begin(&self, load: Load) -> (u64, Beside) {
        let mut inner = self.0.lock();
        let mut beside = Beside::Nobody;
        for other in inner.running.values().filter(|other| other.row == load.row) {
            let Some(excuse) = inner.excuse(&load, other) else {
                beside = Beside::Another(format!("{load:?} beside {other:?}"));
                break;
            };
            beside = Beside::Excused(excuse);
        }
        let id = inner.number();
        inner.running.insert(id, load);
        (id, beside)
    }

    /// It has ended, somehow.
    pub(super) fn end(&self, id: u64, now: u64) {
        self.0.lock().end(id, now);
    }

    /// A node begins to invalidate rows; its number.
    pub(super) fn telling(&self, node: usize, rows: Vec<usize>) -> u64 {
        let mut inner = self.0.lock();
        let id = inner.number();
        inner.telling.insert(id, (node, rows));
        id
    }

    /// That has come to its end.
    pub(super) fn told(&self, id: u64, now: u64) {
        self.0.lock().told(id, now);
    }

    /// A node has crashed, and everything that it did has ended.
    pub(super) fn crashed(&self, node: usize, now: u64) {
        let mut inner = self.0.lock();
        let loads: Vec<_> =
            inner.running.iter().filter(|(_, load)| load.node == node).map(|(id, _)| *id).collect();
        loads.into_iter().for_each(|id| inner.end(id, now));
        let telling: Vec<_> =
            inner.telling.iter().filter(|(_, (of, _))| *of == node).map(|(id, _)| *id).collect();
        telling.into_iter().for_each(|id| inner.told(id, now));
    }

    /// Whether somebody who began to wait then may have given up by now: the row was being loaded for long, or something
    /// was amiss.
    pub(super) fn explain_giving_up(&self, row: usize, began: u64, now: u64) -> bool {
        let inner = self.0.lock();
        let from = began.saturating_sub(2 * PATIENCE);
        inner.quiet_from >= from || inner.busy(row, from, now) >= PATIENCE
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn load(node: usize, since: u64) -> Load {
        Load { row: 0, node, since, alone: true, began: since }
    }

    fn is_broken(beside: &Beside) -> bool {
        matches!(beside, Beside::Another(_))
    }

    #[test]
    fn two_loads_at_once_are_one_too_many_and_one_after_the_other_are_not() {
        let loads = Loads::default();
        let (first, beside) = loads.begin(load(0, 10));
        assert_eq!(beside, Beside::Nobody);
        assert_eq!(loads.begin(Load { row: 1, ..load(1, 11) }).1, Beside::Nobody);
        assert!(is_broken(&loads.begin(load(1, 11)).1));
        let other = Loads::default();
        let (second, _) = other.begin(load(0, 10));
        other.end(second, 20);
        assert_eq!(other.begin(load(1, 20)).1, Beside::Nobody);
        loads.end(first, 30);
    }

    #[test]
    fn what_keeps_redis_out_a_disturbance_and_an_invalidation_are_excuses() {
        let loads = Loads::default();
        loads.begin(load(0, 10));
        assert_eq!(loads.begin(Load { alone: false, ..load(1, 11) }).1, Beside::Excused("not shared"));
        loads.disturbed(10);
        let loads = Loads::default();
        loads.begin(load(0, 10));
        loads.disturbed(10);
        assert_eq!(loads.begin(load(1, 12)).1, Beside::Excused("disturbed"));

        for (told, excused) in [(9, false), (10, true), (13, true)] {
            let loads = Loads::default();
            let telling = loads.telling(2, vec![0]);
            loads.told(telling, told);
            loads.begin(load(0, 10));
            assert_eq!(is_broken(&loads.begin(load(1, 14)).1), !excused, "told at {told}");
        }
        let loads = Loads::default();
        loads.telling(2, vec![0]);
        loads.begin(load(0, 10));
        assert_eq!(loads.begin(load(1, 14)).1, Beside::Excused("invalidated"));
    }

    #[test]
    fn what_a_node_did_ends_with_it() {
        let loads = Loads::default();
        loads.begin(load(0, 10));
        loads.telling(0, vec![0]);
        loads.crashed(0, 20);
        loads.begin(load(1, 21));
        assert!(is_broken(&loads.begin(load(2, 22)).1));
    }

    #[test]
    fn who_waits_gives_up_because_of_long_loads_and_not_of_short_ones() {
        let loads = Loads::default();
        let (id, _) = loads.begin(load(0, 10_000));
        loads.end(id, 10_000 + PATIENCE - 1);
        assert!(!loads.explain_giving_up(0, 10_000, 13_000));
        // Another one, partly beside it.
        let (id, _) = loads.begin(load(1, 10_500));
        loads.end(id, 10_000 + PATIENCE);
        assert!(loads.explain_giving_up(0, 10_000, 13_000));
        assert!(!loads.explain_giving_up(1, 10_000, 13_000));
        loads.disturbed(8000);
        assert!(loads.explain_giving_up(1, 10_000, 13_000));
    }
}
