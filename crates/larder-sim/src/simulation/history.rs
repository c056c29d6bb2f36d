//! What was promised so far: the lowest version that a read may bring. The checker of simulations and of the soak.
//!
//! Times are numbers since some common beginning, in a unit that whoever makes the history chooses.
//!
//! Rows have versions that rise with every commit. Whoever commits tells this when its invalidation or expiration has come back
//! ([`History::returned`], [`History::told`]); whoever reads asks what it must not bring less than: [`History::needed`] of any
//! value, [`History::bounds`] also of one that is served as fresh, and of one that the reader finds in Redis.

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

/// What becomes of older values.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Effect {
    /// They are gone.
    Invalidated,
    /// They are stale.
    Expired,
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

    /// Nobody will ask what was promised by an earlier time.
    fn forget(&mut self, until: u64) {
        let known = self.0.partition_point(|(promised, ..)| *promised <= until);
        self.0.drain(..known.saturating_sub(1));
    }
}

/// The promises of one effect on one row.
#[derive(Debug, Default)]
struct Promises {
    /// By the node that invalidated.
    own: BTreeMap<usize, Rising>,
    done: Rising,
    acked: Rising,
    outages: Rising,
}

impl Promises {
    fn add(&mut self, node: usize, (at, how): (u64, Returned), version: u64, why: &str) {
        self.own.entry(node).or_default().add(at, version, why);
        match how {
            Returned::Ok => self.done.add(at, version, why),
            Returned::Acked => {
                self.done.add(at, version, why);
                self.acked.add(at, version, why);
            }
            Returned::Deferred => {}
            Returned::DeferredInOutage => self.outages.add(at, version, why),
        }
    }

    /// For a read that begins at this time, where others are bound so much later.
    fn needed(&self, began: u64, bound: u64, standing: Standing) -> Needed {
        let mut needed = Needed::default();
        needed.raise(self.own.get(&standing.node).and_then(|own| own.by(began)), "I1");
        needed.raise(self.done.before(began.saturating_sub(bound)), "I2");
        if standing.good {
            needed.raise(self.acked.by(began), "I3");
        }
        if standing.good && standing.server_up {
            needed.raise(self.outages.by(began), "I8");
        }
        needed
    }

    /// In Redis, as soon as it has come back.
    fn stored(&self, at: u64, rule: &str) -> Needed {
        let mut needed = Needed::default();
        needed.raise(self.done.by(at), rule);
        needed
    }

    fn forget(&mut self, until: u64, alive: &impl Fn(usize) -> bool) {
        self.own.retain(|node, _| alive(*node));
        let all = self.own.values_mut().chain([&mut self.done, &mut self.acked, &mut self.outages]);
        all.for_each(|rising| rising.forget(until));
    }
}

/// What was promised of a row: of values that are gone, and of those that are stale.
#[derive(Debug, Default)]
struct OfRow {
    gone: Promises,
    stale: Promises,
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

/// What a value must not be less than: one that is served at all, and one that is served as fresh.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Pair {
    /// Any value.
    pub at_all: Needed,
    /// A fresh one.
    pub fresh: Needed,
}

impl Pair {
    fn of(gone: Needed, stale: Needed) -> Self {
        let fresh = if stale.version > gone.version { stale } else { gone.clone() };
        Self { at_all: gone, fresh }
    }
}

/// What a read must not bring less than, wherever it finds it.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Bounds {
    /// Anywhere.
    pub anywhere: Pair,
    /// In Redis, where the reader itself looks. To be cleared where a server of the past may have answered.
    pub in_redis: Pair,
}

/// How a value was come by.
#[derive(Clone, Copy, Debug)]
pub struct Found {
    /// Its version.
    pub version: u64,
    /// Whether it was served as a fresh one.
    pub fresh: bool,
    /// Whether the reader itself, not another that it joined, read it from Redis.
    pub in_redis: bool,
}

impl Bounds {
    /// At least what was written before a stamp.
    pub fn at_least(&mut self, version: u64, effect: Effect) {
        if effect == Effect::Invalidated {
            self.anywhere.at_all.at_least(version);
        }
        self.anywhere.fresh.at_least(version);
    }

    /// The promise that a read has broken.
    pub fn broken_by<'a>(&'a self, found: Found) -> Option<&'a Needed> {
        let concerned = [Some(&self.anywhere), found.in_redis.then_some(&self.in_redis)];
        let needed = |pair: &'a Pair| if found.fresh { &pair.fresh } else { &pair.at_all };
        concerned.into_iter().flatten().map(needed).find(|needed| found.version < needed.version)
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
        self.told(Effect::Invalidated, node, at, rows, how, what);
    }

    /// An invalidation or expiration came back to its caller.
    pub fn told(
        &self,
        effect: Effect,
        node: usize,
        at: u64,
        rows: &[(usize, u64)],
        how: Returned,
        what: &str,
    ) {
        let mut all = self.rows.lock();
        for (row, version) in rows {
            let of = &mut all[*row];
            let promises = match effect {
                Effect::Invalidated => &mut of.gone,
                Effect::Expired => &mut of.stale,
            };
            promises.add(node, (at, how), *version, &format!("node {node}, {what}, {effect:?} {how:?}"));
        }
    }

    /// Somebody sees, in an event log, that these rows have changed: it was invalidated before. `everywhere`: and every node
    /// that holds a lease had applied that.
    pub fn seen(&self, at: u64, rows: &[(usize, u64)], everywhere: bool, what: &str) {
        let mut all = self.rows.lock();
        for (row, version) in rows {
            let promises = &mut all[*row].gone;
            let why = format!("{what} seen in the log");
            promises.done.add(at, *version, &why);
            if everywhere {
                promises.acked.add(at, *version, &why);
            }
        }
    }

    /// What a read of this row may not bring less than, if it begins at this time.
    pub fn needed(&self, row: usize, began: u64, standing: Standing) -> Needed {
        self.bounds(row, began, standing).anywhere.at_all
    }

    /// The same, also of what it serves as fresh, and of what it finds in Redis.
    pub fn bounds(&self, row: usize, began: u64, standing: Standing) -> Bounds {
        let bound = if standing.good { self.good_bound } else { self.bad_bound };
        let all = self.rows.lock();
        let OfRow { gone, stale } = &all[row];
        let anywhere = [gone, stale].map(|promises| promises.needed(began, bound, standing));
        let in_redis = [gone, stale].map(|promises| promises.stored(began, "A"));
        let pair = |[gone, stale]: [Needed; 2]| Pair::of(gone, stale);
        Bounds { anywhere: pair(anywhere), in_redis: pair(in_redis) }
    }

    /// No read that began earlier will be asked about, and none of a node of which `alive` is false.
    pub fn forget(&self, until: u64, alive: impl Fn(usize) -> bool) {
        // What binds a read may be older than the read by as much as the longest bound.
        let until = until.saturating_sub(self.good_bound.max(self.bad_bound) + 1);
        for of in self.rows.lock().iter_mut() {
            of.gone.forget(until, &alive);
            of.stale.forget(until, &alive);
        }
    }

    /// What an entry in Redis may not hold less than.
    pub fn stored(&self, row: usize) -> Pair {
        let all = self.rows.lock();
        let OfRow { gone, stale } = &all[row];
        Pair::of(gone.stored(u64::MAX, "I4"), stale.stored(u64::MAX, "I4"))
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

    #[test]
    fn what_an_event_tells_of_binds_all_who_hold_a_lease_at_once_and_others_later() {
        let history = History::new(1, Duration::from_secs(1), Duration::from_secs(5));
        history.seen(100, &[(0, 7)], true, "an event");
        let needed = |good, at| history.needed(0, at, Standing { node: 1, good, server_up: true }).version;
        assert_eq!(
            [needed(true, 99), needed(true, 100), needed(false, 100), needed(false, 5107)],
            [0, 7, 0, 7]
        );
    }

    #[test]
    fn what_was_expired_may_be_served_but_not_as_fresh_and_what_was_invalidated_not_at_all() {
        let history = History::new(1, Duration::from_secs(1), Duration::ZERO);
        history.returned(0, 100, &[(0, 3)], Returned::Ok, "key");
        history.told(Effect::Expired, 0, 200, &[(0, 5)], Returned::Ok, "key");
        let bounds = history.bounds(0, 300, Standing { node: 0, good: true, server_up: true });
        let broken = |version, fresh| bounds.broken_by(Found { version, fresh, in_redis: false }).is_some();
        assert!(broken(2, false) && !broken(3, false));
        assert!(broken(4, true) && !broken(5, true));
    }

    #[test]
    fn who_reads_redis_finds_nothing_older_than_what_has_returned() {
        let history = History::new(1, Duration::from_secs(1), Duration::ZERO);
        history.returned(0, 100, &[(0, 3)], Returned::Ok, "key");
        let bounds = history.bounds(0, 100, Standing { node: 1, good: true, server_up: true });
        let broken = |in_redis| bounds.broken_by(Found { version: 2, fresh: true, in_redis }).is_some();
        assert!(broken(true) && !broken(false));
    }
}
