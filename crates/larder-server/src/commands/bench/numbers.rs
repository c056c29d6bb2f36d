//! Latencies and what they come to.

use std::time::Duration;

/// Latencies of one kind of request.
#[derive(Clone, Debug, Default)]
pub(super) struct Latencies {
    /// In microseconds; sorted when they are asked for.
    micros: Vec<u32>,
}

impl Latencies {
    pub(super) fn add(&mut self, latency: Duration) {
        self.micros.push(u32::try_from(latency.as_micros()).unwrap_or(u32::MAX));
    }

    pub(super) fn extend(&mut self, other: Self) {
        self.micros.extend(other.micros);
    }

    pub(super) fn count(&self) -> usize {
        self.micros.len()
    }

    /// The latencies that `percents` of all requests stayed within (nearest rank); zeros where there were none.
    pub(super) fn percentiles<const N: usize>(&mut self, percents: [usize; N]) -> [Duration; N] {
        self.micros.sort_unstable();
        percents.map(|percent| {
            let rank = (self.micros.len() * percent).div_ceil(100).max(1);
            Duration::from_micros(self.micros.get(rank - 1).copied().unwrap_or(0).into())
        })
    }
}

/// Milliseconds with as many digits as mean something.
pub(super) fn ms(latency: Duration) -> String {
    let ms = latency.as_secs_f64() * 1e3;
    match ms {
        0.0..10.0 => format!("{ms:.2} ms"),
        10.0..100.0 => format!("{ms:.1} ms"),
        _ => format!("{ms:.0} ms"),
    }
}

/// `part` of `whole` in percent.
pub(super) fn percent(part: u64, whole: u64) -> String {
    if whole == 0 {
        return "-".to_owned();
    }
    let thousandths = u128::from(part) * 1000 / u128::from(whole);
    format!("{}.{} %", thousandths / 10, thousandths % 10)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn percentiles_are_those_of_the_nearest_rank() {
        let mut latencies = Latencies::default();
        for milliseconds in (1..=100).rev() {
            latencies.add(Duration::from_millis(milliseconds));
        }
        let expected = [50, 90, 99].map(Duration::from_millis);
        assert_eq!(latencies.percentiles([50, 90, 99]), expected);
        assert_eq!(Latencies::default().percentiles([50]), [Duration::ZERO]);
        let mut one = Latencies::default();
        one.add(Duration::from_millis(7));
        assert_eq!(one.percentiles([1, 99]), [Duration::from_millis(7); 2]);
    }

    #[test]
    fn percentages_are_rounded_down_so_that_nothing_seems_better_than_it_is() {
        assert_eq!(percent(999, 1000), "99.9 %");
        assert_eq!(percent(9999, 10_000), "99.9 %");
        assert_eq!(percent(0, 0), "-");
    }
}
