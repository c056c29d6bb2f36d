//! What the log says of the shared tier. Where it has many buckets, one line for what concerns all of them: as a rule they
//! are lost together, and come back together.

use parking_lot::Mutex;
use std::collections::HashSet;

/// Decides which lines are written.
#[derive(Debug)]
pub(crate) struct Announcer {
    told: Mutex<Told>,
}

#[derive(Debug)]
struct Told {
    /// By bucket: whether it is relied on.
    connected: Vec<bool>,
    /// Since all were connected, it has been told that one is not.
    lost: bool,
    advice: HashSet<String>,
}

impl Announcer {
    pub(crate) fn new(buckets: u16) -> Self {
        let connected = vec![false; usize::from(buckets)];
        Self { told: Mutex::new(Told { connected, lost: false, advice: HashSet::new() }) }
    }

    /// A bucket is relied on. Whether that is worth a line: now all are.
    pub(crate) fn connected(&self, bucket: u16) -> bool {
        let mut told = self.told.lock();
        told.connected[usize::from(bucket)] = true;
        let all = told.connected.iter().all(|connected| *connected);
        told.lost &= !all;
        all
    }

    /// A bucket is not relied on any more, or not yet. How that begins, if it is worth a line: it is the first of many, or
    /// the only one.
    pub(crate) fn lost(&self, bucket: u16) -> Option<&'static str> {
        let mut told = self.told.lock();
        told.connected[usize::from(bucket)] = false;
        if told.connected.len() == 1 {
            return Some("Redis unavailable, using memory cache");
        }
        let first = !std::mem::replace(&mut told.lost, true);
        first.then_some("Redis unavailable, using memory cache for a part of the keys at least")
    }

    /// Whether an administrator is to be told of this: of many buckets' servers, once.
    pub(crate) fn advises(&self, advice: &str) -> bool {
        let mut told = self.told.lock();
        told.connected.len() == 1 || told.advice.insert(advice.to_owned())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_bucket_is_told_of_each_time() {
        let one = Announcer::new(1);
        for _ in 0..2 {
            assert!(one.connected(0));
            assert_eq!(one.lost(0), Some("Redis unavailable, using memory cache"));
            assert!(one.lost(0).is_some());
            assert!(one.advises("x"));
        }
    }

    #[test]
    fn many_buckets_are_told_of_when_the_first_is_lost_and_when_all_are_back() {
        let many = Announcer::new(3);
        assert!(!many.connected(0) && !many.connected(1) && many.connected(2));
        for _ in 0..2 {
            assert!(many.lost(1).is_some());
            assert!(many.lost(2).is_none() && many.lost(1).is_none());
            assert!(!many.connected(1) && many.connected(2));
        }
        assert!(many.advises("x") && !many.advises("x") && many.advises("y"));
    }
}
