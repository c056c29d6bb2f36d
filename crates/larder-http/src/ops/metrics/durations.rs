//! How long requests took, by route: few bounds, since there are many routes.

use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::time::Duration;

use super::exposition::{Family, Observed};
use crate::ops::numbers::ratio;

/// Upper bounds in seconds. With each there may be as many lines more in a scrape as there are routes by classes of status.
const BOUNDS: [f64; 7] = [0.001, 0.005, 0.025, 0.1, 0.5, 2.5, 10.0];

/// Counts by duration. Adding one takes no lock.
#[derive(Debug, Default)]
pub(super) struct Durations {
    counts: [AtomicU64; BOUNDS.len() + 1],
    micros: AtomicU64,
}

impl Durations {
    pub(super) fn add(&self, took: Duration) {
        let seconds = took.as_secs_f64();
        self.counts[BOUNDS.partition_point(|bound| *bound < seconds)].fetch_add(1, Relaxed);
        self.micros.fetch_add(u64::try_from(took.as_micros()).unwrap_or(u64::MAX), Relaxed);
    }

    /// Nothing before the first.
    pub(super) fn describe(&self, labels: &[(&str, &str)], out: &mut Family<'_>) {
        let counts = self.counts.each_ref().map(|count| count.load(Relaxed));
        if counts.iter().any(|count| *count > 0) {
            let sum = ratio(self.micros.load(Relaxed)) / 1e6;
            out.observed(labels, &Observed { bounds: &BOUNDS, counts: &counts, sum });
        }
    }
}
