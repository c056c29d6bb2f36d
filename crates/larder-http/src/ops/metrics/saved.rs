//! The time in loaders that hits made unnecessary, as a number that only grows.

use std::collections::BTreeMap;

use larder::Counts;
use parking_lot::Mutex;

use crate::ops::numbers::ratio;

/// What was saved so far, by endpoint. [`Counts::saved`] takes all hits at the present mean duration of a load, so it falls
/// where that does; here each hit counts at the mean of when it was first asked about.
#[derive(Debug, Default)]
pub(in super::super) struct Saved(Mutex<BTreeMap<&'static str, Sum>>);

#[derive(Debug, Clone, Copy, Default)]
struct Sum {
    /// That are in it.
    hits: u64,
    seconds: f64,
}

impl Saved {
    /// Takes in the hits since the last call. Those of an endpoint wait until its first load tells what they would have cost.
    pub(super) fn up_to(&self, counts: &BTreeMap<&'static str, Counts>) -> Vec<(&'static str, f64)> {
        let mut sums = self.0.lock();
        counts
            .iter()
            .map(|(endpoint, counts)| (*endpoint, sums.entry(*endpoint).or_default().add(counts)))
            .collect()
    }
}

impl Sum {
    fn add(&mut self, counts: &Counts) -> f64 {
        if counts.loads > 0 {
            let mean = counts.load_time.as_secs_f64() / ratio(counts.loads);
            self.seconds += ratio(counts.hits().saturating_sub(self.hits)) * mean;
            self.hits = counts.hits().max(self.hits);
        }
        self.seconds
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::time::Duration;

    fn counts(hits: u64, loads: u64, load_ms: u64) -> BTreeMap<&'static str, Counts> {
        let mut counts = Counts::default();
        (counts.l1_hits, counts.loads, counts.load_time) = (hits, loads, Duration::from_millis(load_ms));
        BTreeMap::from([("campaigns", counts)])
    }

    #[test]
    fn it_only_grows_though_loads_become_faster() {
        let saved = Saved::default();
        let up_to = |hits, loads, load_ms| saved.up_to(&counts(hits, loads, load_ms))[0].1;
        assert_eq!(up_to(10, 0, 0), 0.0, "nobody knows yet what a load costs");
        assert_eq!(up_to(10, 1, 500), 5.0);
        assert_eq!(up_to(10, 1, 500), 5.0, "another scrape adds nothing");
        assert_eq!(up_to(20, 5, 500), 6.0, "10 more at 100 ms; what was saved before stays");
    }
}
