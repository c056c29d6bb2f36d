//! How long things took, from counts by duration.

use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::time::Duration;

use serde::Serialize;
use utoipa::ToSchema;

use super::super::numbers::{ratio, rounded};

/// How many bounds there are.
const BOUNDS: usize = 36;
/// Upper bounds in microseconds, each half as large again as the one before: 10 µs to 13 s. The last bucket has none.
const MICROS: [u64; BOUNDS] = {
    let mut bounds = [10; BOUNDS];
    let mut at = 1;
    while at < BOUNDS {
        bounds[at] = bounds[at - 1] * 3 / 2;
        at += 1;
    }
    bounds
};

/// Counts by duration. Adding one takes no lock.
#[derive(Debug)]
pub(in super::super) struct Histogram {
    counts: [AtomicU64; BOUNDS + 1],
    /// Microseconds of all together.
    sum: AtomicU64,
}

impl Default for Histogram {
    fn default() -> Self {
        Self { counts: [const { AtomicU64::new(0) }; BOUNDS + 1], sum: AtomicU64::new(0) }
    }
}

impl Histogram {
    pub(in super::super) fn add(&self, took: Duration) {
        let micros = u64::try_from(took.as_micros()).unwrap_or(u64::MAX);
        self.counts[MICROS.partition_point(|bound| *bound < micros)].fetch_add(1, Relaxed);
        self.sum.fetch_add(micros, Relaxed);
    }

    /// By every other bound, in seconds, with the sum of all.
    pub(in super::super) fn coarse(&self) -> (Vec<f64>, Vec<u64>, f64) {
        let bounds = MICROS.chunks(2).map(|pair| ratio(pair[pair.len() - 1]) / 1e6).collect();
        let counts = self.counts.chunks(2).map(|pair| pair.iter().map(|count| count.load(Relaxed)).sum());
        (bounds, counts.collect(), ratio(self.sum.load(Relaxed)) / 1e6)
    }

    /// The counts, for [`Spread::between`].
    pub(super) fn read(&self) -> Spread {
        let bounds = MICROS.iter().map(|micros| ratio(*micros) / 1e6).collect();
        Spread { bounds, counts: self.counts.iter().map(|count| count.load(Relaxed)).collect() }
    }
}

/// Counts by duration, read at a moment.
#[derive(Clone, Debug)]
pub(super) struct Spread {
    /// In seconds.
    bounds: Vec<f64>,
    /// One more: what is larger.
    counts: Vec<u64>,
}

impl Spread {
    pub(super) fn of(bounds: &[f64], counts: &[u64]) -> Self {
        Self { bounds: bounds.to_vec(), counts: counts.to_vec() }
    }

    /// Of what came between `earlier` and this.
    pub(super) fn since(&self, earlier: Option<&Self>) -> Option<Percentiles> {
        let before = |at: usize| earlier.and_then(|earlier| earlier.counts.get(at)).copied().unwrap_or(0);
        let counts: Vec<u64> =
            self.counts.iter().enumerate().map(|(at, count)| count.saturating_sub(before(at))).collect();
        let count = counts.iter().sum();
        (count > 0).then(|| {
            let ms = |part| rounded(quantile(&self.bounds, &counts, part) * 1e3, 3);
            Percentiles { count, p50_ms: ms(0.5), p90_ms: ms(0.9), p99_ms: ms(0.99) }
        })
    }
}

/// Durations that this part of all does not exceed, in milliseconds; interpolated within the buckets of a histogram.
#[derive(Debug, PartialEq, Serialize, ToSchema)]
pub(super) struct Percentiles {
    /// Of how many.
    pub(super) count: u64,
    pub(super) p50_ms: f64,
    pub(super) p90_ms: f64,
    pub(super) p99_ms: f64,
}

/// The duration that `part` of all does not exceed. What is beyond the last bound counts as that bound.
fn quantile(bounds: &[f64], counts: &[u64], part: f64) -> f64 {
    let wanted = ratio(counts.iter().sum()) * part;
    let mut before = 0.0;
    for (at, count) in counts.iter().enumerate() {
        let here = ratio(*count);
        if *count > 0 && before + here >= wanted {
            let low = if at == 0 { 0.0 } else { bounds[at - 1] };
            let high = bounds.get(at).copied().unwrap_or(low);
            return low + (high - low) * (wanted - before) / here;
        }
        before += here;
    }
    bounds.last().copied().unwrap_or(0.0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn percentiles_are_interpolated_and_count_only_what_came_since() {
        let spread = |counts: &[u64]| Spread::of(&[0.001, 0.002, 0.01], counts);
        let all = spread(&[0, 100, 0, 0]).since(None).unwrap();
        assert_eq!(all, Percentiles { count: 100, p50_ms: 1.5, p90_ms: 1.9, p99_ms: 1.99 });
        let before = spread(&[0, 100, 0, 0]);
        assert_eq!(spread(&[0, 100, 0, 0]).since(Some(&before)), None);
        let later = spread(&[10, 100, 0, 10]).since(Some(&before)).unwrap();
        assert_eq!(
            (later.count, later.p50_ms, later.p99_ms),
            (20, 1.0, 10.0),
            "beyond the last bound it is that"
        );
    }

    #[test]
    fn a_duration_is_counted_below_the_next_bound() {
        let histogram = Histogram::default();
        for micros in [0, 10, 11, 1_000, u64::from(u32::MAX)] {
            histogram.add(Duration::from_micros(micros));
        }
        let read = histogram.read();
        assert_eq!((read.counts[0], read.counts[1], read.counts[BOUNDS]), (2, 1, 1));
        let told = read.since(None).unwrap();
        assert!(told.count == 5 && told.p50_ms <= 0.015, "{told:?}");
        let (bounds, counts, sum) = histogram.coarse();
        assert_eq!((bounds.len(), counts.len(), bounds[0]), (BOUNDS / 2, BOUNDS / 2 + 1, 0.000_015));
        assert_eq!((counts[0], counts[BOUNDS / 2], counts.iter().sum()), (3, 1, 5_u64));
        assert!((sum - 4_294.968_316).abs() < 1e-6, "{sum}");
    }
}
