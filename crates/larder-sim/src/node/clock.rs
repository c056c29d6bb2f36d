//! A node's clock.

use larder::{Clock, Moment};
use std::time::Duration;
use tokio::time::Instant;

/// Simulated time, a little too fast or too slow.
#[derive(Clone, Copy, Debug)]
pub struct HostClock {
    start: Instant,
    /// How much it gains, in millionths.
    drift: i32,
}

impl HostClock {
    /// A clock that gains so many millionths.
    pub fn new(start: Instant, drift: i32) -> Self {
        Self { start, drift }
    }
}

impl Clock for HostClock {
    fn now(&self) -> Moment {
        let since = self.start.elapsed() + Duration::from_secs(1000);
        let gained = since.mul_f64(f64::from(self.drift.unsigned_abs()) / 1e6);
        let now = if self.drift < 0 { since - gained } else { since + gained };
        Moment::from_nanos(u64::try_from(now.as_nanos()).expect("less than 584 years"))
    }
}
