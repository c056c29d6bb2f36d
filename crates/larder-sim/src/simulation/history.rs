//! What was promised so far: the lowest version that a read may bring. The checker of simulations and of the soak.
//!
//! Times are numbers since some common beginning, in a unit that whoever makes the history chooses.

use parking_lot::Mutex;
use std::collections::BTreeMap;
use std::time::Duration;

/// How an invalidation came back to its caller.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Returned {
    /// Done.
    Ok,
    /// Done, and applied by every node that holds a lease.
    Acked,
    /// In force on its node only.
    Deferred,
    /// Deferred in an outage that all nodes saw.
    DeferredInOutage,
}

/// Versions that rise, each with the time from which on it was promised. Both rise from one to the next.
#[derive(Debug, Default)]
struct Rising(Vec<(u64, u64, String)>);

impl Rising {
    /// Promises may come to be known later than others that were made after them.
    fn add(&mut self, at: u64, version: u64, why: &str) {
        let place = self.0.partition_point(|(earlier, ..)| *earlier <= at);
        if place > 0 && self.0[place - 1].1 >= version {
            return;
        }
        // What says no more than the new one.
        let begin = self.0[..place].partition_point(|(earlier, ..)| *earlier < at);
        let end = place + self.0[place..].partition_point(|(_, later, _)| *later <= version);
        self.0.splice(begin..end, [(at, version, why.to_owned())]);
    }

    /// The highest version that was promised by this time.
    fn by(&self, at: u64) -> Option<&(u64, u64, String)> {
        self.0[..self.0.partition_point(|(promised, ..)| *promised <= at)].last()
    }

    /// The highest version that was promised before this time.
    fn before(&self, at: u64) -> Option<&(u64, u64, String)> {
        at.checked_sub(1).and_then(|at| self.by(at))
    }

    fn last(&self) -> Option<&(u64, u64, String)> {
        self.0.last()
    }

    /// Nobody will ask what was promised by an earlier time.
    fn forget(&mut self, until: u64) {
        let known = self.0.partition_point(|(promised, ..)| *promised <= until);
        self.0.drain(..known.saturating_sub(1));
    }
}

#[derive(Debug, Default)]
struct OfRow {
    /// By the node that invalidated.
    own: BTreeMap<usize, Rising>,
    done: Rising,
    acked: Rising,
    outages: Rising,
}

/// What a read may not bring less than, and why.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Needed {
    /// The lowest version.
    pub version: u64,
    /// The promise.
    pub why: String,
}

impl Needed {
    /// At least what was written before a stamp.
    pub fn at_least(&mut self, version: u64) {
        if version > self.version {
            *self = Self { version, why: "I3: at least a stamp".to_owned() };
        }
    }

    fn raise(&mut self, promise: Option<&(u64, u64, String)>, rule: &str) {
        if let Some((at, version, why)) = promise
            && *version > self.version
        {
            *self = Self { version: *version, why: format!("{rule}: {why}, returned at {at}") };
        }
    }
}

/// How a node stands when a read begins.
#[derive(Clone, Copy, Debug)]
pub struct Standing {
    /// Which node.
    pub node: usize,
    /// Whether it follows the stream with a valid lease.
    pub good: bool,
    /// Whether the server takes connections.
    pub server_up: bool,
}

/// All invalidations that came back.
#[derive(Debug)]
pub struct History {
    rows: Mutex<Vec<OfRow>>,
    good_bound: u64,
    bad_bound: u64,
}

impl History {
    /// Of so many rows, under these bounds. Times are in milliseconds.
    pub fn new(rows: usize, lease: Duration, outage_memory_ttl: Duration) -> Self {
        Self::in_units_of(Duration::from_millis(1), rows, lease, outage_memory_ttl)
    }

    /// Of so many rows, under these bounds. Times are in whole units.
    pub fn in_units_of(unit: Duration, rows: usize, lease: Duration, outage_memory_ttl: Duration) -> Self {
        let units =
            |time: Duration| u64::try_from(time.as_nanos() / unit.as_nanos()).expect("a bound is short");
        // Clocks differ by up to a thousandth, and tell whole units.
        let bound = |time: Duration| units(time) + units(time) / 1000 + 1;
        Self {
            rows: Mutex::new((0..rows).map(|_| OfRow::default()).collect()),
            good_bound: bound(lease),
            bad_bound: bound(lease.max(outage_memory_ttl)),
        }
    }

    /// An invalidation came back to its caller.
    pub fn returned(&self, node: usize, at: u64, rows: &[(usize, u64)], how: Returned, what: &str) {
        let mut all = self.rows.lock();
        for (row, version) in rows {
            let of = &mut all[*row];
            let why = format!("node {node}, {what}, {how:?}");
            of.own.entry(node).or_default().add(at, *version, &why);
            match how {
                Returned::Ok => of.done.add(at, *version, &why),
                Returned::Acked => {
                    of.done.add(at, *version, &why);
                    of.acked.add(at, *version, &why);
                }
                Returned::Deferred => {}
                Returned::DeferredInOutage => of.outages.add(at, *version, &why),
            }
        }
    }

    /// What a read of this row may not bring less than, if it begins at this time.
    pub fn needed(&self, row: usize, began: u64, standing: Standing) -> Needed {
        let all = self.rows.lock();
        let (of, mut needed) = (&all[row], Needed::default());
        needed.raise(of.own.get(&standing.node).and_then(|own| own.by(began)), "I1");
        let bound = if standing.good { self.good_bound } else { self.bad_bound };
        needed.raise(of.done.before(began.saturating_sub(bound)), "I2");
        if standing.good {
            needed.raise(of.acked.by(began), "I3");
        }
        if standing.good && standing.server_up {
            needed.raise(of.outages.by(began), "I8");
        }
        needed
    }

    /// No read that began earlier will be asked about, and none of a node of which `alive` is false.
    pub fn forget(&self, until: u64, alive: impl Fn(usize) -> bool) {
        // What binds a read may be older than the read by as much as the longest bound.
        let until = until.saturating_sub(self.good_bound.max(self.bad_bound) + 1);
        for of in self.rows.lock().iter_mut() {
            of.own.retain(|node, _| alive(*node));
            let all = of.own.values_mut().chain([&mut of.done, &mut of.acked, &mut of.outages]);
            all.for_each(|rising| rising.forget(until));
        }
    }

    /// What an entry in Redis may not hold less than.
    pub fn stored(&self, row: usize) -> Needed {
        let mut needed = Needed::default();
        needed.raise(self.rows.lock()[row].done.last(), "I4");
        needed
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_own_node_is_bound_at_once_and_others_after_a_lease() {
        let history = History::new(1, Duration::from_secs(1), Duration::from_secs(5));
        history.returned(0, 100, &[(0, 7)], Returned::Ok, "key");
        let needed = |node, good, at| history.needed(0, at, Standing { node, good, server_up: true }).version;
        assert_eq!(needed(0, true, 100), 7);
        assert_eq!(needed(1, true, 1100), 0);
        assert_eq!(needed(1, true, 1103), 7);
        assert_eq!(needed(1, false, 1103), 0);
        assert_eq!(needed(1, false, 5107), 7);
    }

    #[test]
    fn a_deferred_one_binds_its_node_and_after_an_outage_all() {
        let history = History::new(1, Duration::from_secs(1), Duration::ZERO);
        history.returned(0, 100, &[(0, 3)], Returned::Deferred, "key");
        history.returned(0, 200, &[(0, 5)], Returned::DeferredInOutage, "key");
        let needed = |good, server_up| history.needed(0, 9000, Standing { node: 1, good, server_up }).version;
        assert_eq!((needed(true, true), needed(false, true), needed(true, false)), (5, 0, 0));
    }

    #[test]
    fn what_is_known_late_binds_as_if_it_had_been_known_and_what_is_forgotten_binds_no_less() {
        let promises = [(50, 3), (10, 1), (30, 5), (30, 2), (20, 2), (60, 4), (70, 9)];
        let bound = |history: &History, at| {
            history.needed(0, at, Standing { node: 0, good: false, server_up: true }).version
        };
        let history = History::in_units_of(Duration::from_micros(1), 1, Duration::ZERO, Duration::ZERO);
        for (at, version) in promises {
            history.returned(0, at, &[(0, version)], Returned::Ok, "key");
        }
        let wanted = |at: u64| {
            let by = promises.iter().filter(|(promised, _)| *promised <= at);
            by.map(|(_, version)| *version).max().unwrap_or(0)
        };
        for at in 0..80 {
            assert_eq!(bound(&history, at), wanted(at), "at {at}");
        }
        history.forget(45, |_| true);
        for at in 45..80 {
            assert_eq!(bound(&history, at), wanted(at), "at {at}");
        }
        history.forget(45, |_| false);
        assert_eq!((bound(&history, 72), bound(&history, 70)), (9, 5), "others are bound a moment later");
    }
}
