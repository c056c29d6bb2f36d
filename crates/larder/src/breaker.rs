//! The breaker: a Redis that does not answer is left alone.
//!
//! It counts time-outs in a row. A full server, a lease that was refused or bytes that cannot be read are answers, and
//! count as such. Open means that the link is gone: the supervisor makes a new one, with growing pauses, and that is
//! the half-open probe; no request ever is.

use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

/// Time-outs in a row that open it.
const TIMEOUTS: u32 = 3;
/// The first pause between attempts to connect.
const FIRST_PAUSE: Duration = Duration::from_millis(250);
/// The longest pause between attempts to connect.
const LONGEST_PAUSE: Duration = Duration::from_secs(5);

/// Counts time-outs in a row.
#[derive(Debug, Default)]
pub(crate) struct Breaker(AtomicU32);

impl Breaker {
    /// An answer came.
    pub(crate) fn answered(&self) {
        self.0.store(0, Ordering::Relaxed);
    }

    /// No answer came in time. Returns whether this was one too many.
    pub(crate) fn timed_out(&self) -> bool {
        self.0.fetch_add(1, Ordering::Relaxed) + 1 >= TIMEOUTS
    }
}

/// The pause before attempt number `attempt` (from 0) to connect: doubling, with up to a quarter taken off by `random`
/// (0 to 1), so that nodes do not come back in step. At most a lease: after an outage others wait for two.
pub(crate) fn pause(attempt: u32, random: f64, lease: Duration) -> Duration {
    let doubled = FIRST_PAUSE.saturating_mul(1 << attempt.min(10)).min(LONGEST_PAUSE).min(lease);
    doubled.mul_f64(1.0 - random.clamp(0.0, 1.0) / 4.0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn three_time_outs_in_a_row_open_it_and_an_answer_between_does_not() {
        let breaker = Breaker::default();
        assert!(!breaker.timed_out());
        assert!(!breaker.timed_out());
        breaker.answered();
        assert!(!breaker.timed_out());
        assert!(!breaker.timed_out());
        assert!(breaker.timed_out());
    }

    #[test]
    fn pauses_double_up_to_the_longest() {
        let lease = Duration::from_secs(60);
        assert_eq!(pause(0, 0.0, lease), FIRST_PAUSE);
        assert_eq!(pause(1, 0.0, lease), FIRST_PAUSE * 2);
        assert_eq!(pause(30, 0.0, lease), LONGEST_PAUSE);
        assert_eq!(pause(0, 1.0, lease), FIRST_PAUSE.mul_f64(0.75));
        assert_eq!(pause(30, 0.0, Duration::from_secs(1)), Duration::from_secs(1));
    }
}
