//! What was promised so far: the lowest version that a read may bring.

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

/// Versions that rise, each with the time from which on it was promised.
#[derive(Debug, Default)]
struct Rising(Vec<(u64, u64, String)>);

impl Rising {
    fn add(&mut self, at_ms: u64, version: u64, why: &str) {
        if self.0.last().is_none_or(|(_, last, _)| version > *last) {
            self.0.push((at_ms, version, why.to_owned()));
        }
    }

    /// The highest version that was promised before this time.
    fn before(&self, at_ms: u64) -> Option<&(u64, u64, String)> {
        let count = self.0.partition_point(|(at, ..)| *at < at_ms);
        self.0[..count].last()
    }

    fn last(&self) -> Option<&(u64, u64, String)> {
        self.0.last()
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
    good_bound_ms: u64,
    bad_bound_ms: u64,
}

impl History {
    /// Of so many rows, under these bounds.
    pub fn new(rows: usize, lease: Duration, outage_memory_ttl: Duration) -> Self {
        let ms = |time: Duration| u64::try_from(time.as_millis()).expect("a bound is short");
        // Clocks differ by up to a thousandth, and tell whole milliseconds.
        let bound = |time: Duration| ms(time) + ms(time) / 1000 + 1;
        Self {
            rows: Mutex::new((0..rows).map(|_| OfRow::default()).collect()),
            good_bound_ms: bound(lease),
            bad_bound_ms: bound(lease.max(outage_memory_ttl)),
        }
    }

    /// An invalidation came back to its caller.
    pub fn returned(&self, node: usize, at_ms: u64, rows: &[(usize, u64)], how: Returned, what: &str) {
        let mut all = self.rows.lock();
        for (row, version) in rows {
            let of = &mut all[*row];
            let why = format!("node {node}, {what}, {how:?}");
            of.own.entry(node).or_default().add(at_ms, *version, &why);
            match how {
                Returned::Ok => of.done.add(at_ms, *version, &why),
                Returned::Acked => {
                    of.done.add(at_ms, *version, &why);
                    of.acked.add(at_ms, *version, &why);
                }
                Returned::Deferred => {}
                Returned::DeferredInOutage => of.outages.add(at_ms, *version, &why),
            }
        }
    }

    /// What a read of this row may not bring less than, if it begins now.
    pub fn needed(&self, row: usize, now_ms: u64, standing: Standing) -> Needed {
        let all = self.rows.lock();
        let (of, mut needed) = (&all[row], Needed::default());
        needed.raise(of.own.get(&standing.node).and_then(Rising::last), "I1");
        let bound = if standing.good { self.good_bound_ms } else { self.bad_bound_ms };
        needed.raise(of.done.before(now_ms.saturating_sub(bound)), "I2");
        if standing.good {
            needed.raise(of.acked.last(), "I3");
        }
        if standing.good && standing.server_up {
            needed.raise(of.outages.last(), "I8");
        }
        needed
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
}
