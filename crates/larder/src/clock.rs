//! Time for leases and expiry: it never steps, and it goes on while the machine sleeps.

use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

/// A moment, in nanoseconds since some fixed moment before the process began.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Default)]
pub struct Moment(u64);

impl Moment {
    /// Before every other moment.
    pub const NEVER: Self = Self(0);
    /// After every other moment.
    pub const FOREVER: Self = Self(u64::MAX);

    /// From nanoseconds.
    pub const fn from_nanos(nanos: u64) -> Self {
        Self(nanos)
    }

    /// As nanoseconds.
    pub const fn as_nanos(self) -> u64 {
        self.0
    }

    /// Later by `by`; saturates at [`Moment::FOREVER`].
    #[must_use]
    pub fn plus(self, by: Duration) -> Self {
        Self(self.0.saturating_add(u64::try_from(by.as_nanos()).unwrap_or(u64::MAX)))
    }

    /// Time since `earlier`, zero if it is later.
    pub fn since(self, earlier: Self) -> Duration {
        Duration::from_nanos(self.0.saturating_sub(earlier.0))
    }
}

/// Where the engine's time comes from. Wall clocks decide nothing.
///
/// Implementors must never go backwards and must count time during which the machine was suspended: a node that
/// slept must know that its lease has run out.
pub trait Clock: Send + Sync + 'static {
    /// Now. Called on every lookup: it must cost tens of nanoseconds.
    fn now(&self) -> Moment;
}

/// `CLOCK_BOOTTIME` on Linux; elsewhere the standard library's monotonic clock, which may stand still during sleep
/// (macOS and Windows variants were never run).
#[derive(Clone, Copy, Debug, Default)]
pub struct SystemClock;

impl Clock for SystemClock {
    #[cfg(target_os = "linux")]
    fn now(&self) -> Moment {
        let time = rustix::time::clock_gettime(rustix::time::ClockId::Boottime);
        let seconds = u64::try_from(time.tv_sec).expect("time since boot is not negative");
        let nanos = u64::try_from(time.tv_nsec).expect("nanoseconds are not negative");
        Moment(seconds * 1_000_000_000 + nanos)
    }

    #[cfg(not(target_os = "linux"))]
    fn now(&self) -> Moment {
        use std::{sync::OnceLock, time::Instant};
        static START: OnceLock<Instant> = OnceLock::new();
        Moment(1).plus(START.get_or_init(Instant::now).elapsed())
    }
}

/// A clock that tests move by hand.
#[derive(Debug)]
pub struct ManualClock(AtomicU64);

impl Default for ManualClock {
    fn default() -> Self {
        Self(AtomicU64::new(1_000_000_000))
    }
}

impl ManualClock {
    /// Lets time pass.
    pub fn advance(&self, by: Duration) {
        let by = u64::try_from(by.as_nanos()).expect("tests move time by less than 584 years");
        self.0.fetch_add(by, Ordering::SeqCst);
    }
}

impl Clock for ManualClock {
    fn now(&self) -> Moment {
        Moment(self.0.load(Ordering::SeqCst))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_system_clock_does_not_go_back() {
        let first = SystemClock.now();
        assert!(SystemClock.now() >= first);
    }

    #[test]
    fn arithmetic_saturates() {
        assert_eq!(Moment::FOREVER.plus(Duration::MAX), Moment::FOREVER);
        assert_eq!(Moment::NEVER.since(Moment::FOREVER), Duration::ZERO);
    }
}
