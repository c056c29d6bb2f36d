//! Waiting for a condition: the only place of the kit, and of the tests that use it, where time is slept away.

use std::time::{Duration, Instant};

const INTERVAL: Duration = Duration::from_millis(5);

/// Asks again and again until a deadline: what [`assert_eventually!`](crate::assert_eventually) is made of.
#[derive(Debug)]
pub struct Poll {
    started: Instant,
    within: Duration,
}

impl Poll {
    /// Starts the clock: [`again`](Self::again) answers true until `within` has passed.
    #[must_use]
    pub fn new(within: Duration) -> Self {
        Self { started: Instant::now(), within }
    }

    /// Waits a moment; false once the time is over. The condition is thus asked at least once after the deadline began.
    ///
    /// # Cancel safety
    /// Holds no state between calls: safe.
    pub async fn again(&self) -> bool {
        if self.started.elapsed() >= self.within {
            return false;
        }
        tokio::time::sleep(INTERVAL).await;
        true
    }

    /// [`again`](Self::again) for code without a runtime.
    #[must_use]
    pub fn again_blocking(&self) -> bool {
        if self.started.elapsed() >= self.within {
            return false;
        }
        std::thread::sleep(INTERVAL);
        true
    }

    /// How long it has been polled.
    #[must_use]
    pub fn elapsed(&self) -> Duration {
        self.started.elapsed()
    }
}

/// Polls a condition, which may `.await`, until it holds, and panics with what was expected when it does not hold in time.
///
/// ```
/// # use std::{sync::atomic::{AtomicBool, Ordering}, time::Duration};
/// # #[tokio::main(flavor = "current_thread")] async fn main() {
/// # static READY: AtomicBool = AtomicBool::new(true);
/// larder_testkit::assert_eventually!(READY.load(Ordering::Relaxed), Duration::from_secs(5), "{} is ready", "it");
/// # }
/// ```
#[macro_export]
macro_rules! assert_eventually {
    ($condition:expr, $within:expr, $($what:tt)+) => {{
        let poll = $crate::Poll::new($within);
        while !($condition) {
            if !poll.again().await {
                ::std::panic!("not within {:?}: {}", poll.elapsed(), ::std::format!($($what)+));
            }
        }
    }};
}

/// [`assert_eventually!`](crate::assert_eventually) for tests without a runtime.
#[macro_export]
macro_rules! assert_eventually_blocking {
    ($condition:expr, $within:expr, $($what:tt)+) => {{
        let poll = $crate::Poll::new($within);
        while !($condition) {
            if !poll.again_blocking() {
                ::std::panic!("not within {:?}: {}", poll.elapsed(), ::std::format!($($what)+));
            }
        }
    }};
}
