//! May this be served now? One pure function.

use crate::clock::Moment;
use std::time::Duration;

/// When an entry stops being fresh, and when it stops being kept.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Expiry {
    /// Loaded.
    pub(crate) made: Moment,
    /// Fresh until.
    pub(crate) soft: Moment,
    /// Kept until.
    pub(crate) hard: Moment,
}

/// How long after its TTL a caller accepts a value.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Windows {
    /// While a load runs behind.
    pub(crate) while_revalidate: Duration,
    /// When a load fails.
    pub(crate) if_error: Duration,
}

/// What a value is good for: less and less.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Freshness {
    /// Serve it.
    Fresh,
    /// Serve it, and load behind.
    StaleUsable,
    /// Load; serve it only if that fails.
    StaleIfError,
    /// As if it were not there.
    Expired,
}

/// Decides by expiry alone; whether the entry was invalidated is not a question of time.
pub(crate) fn freshness(expiry: Expiry, windows: Windows, now: Moment) -> Freshness {
    let within = |window: Duration| now < expiry.soft.plus(window) && now < expiry.hard;
    if now < expiry.soft {
        Freshness::Fresh
    } else if within(windows.while_revalidate) {
        Freshness::StaleUsable
    } else if within(windows.if_error) {
        Freshness::StaleIfError
    } else {
        Freshness::Expired
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn freshness_by_table() {
        let at = |s: u64| Moment::from_nanos(s * 1_000_000_000);
        let expiry = Expiry { made: at(0), soft: at(10), hard: at(100) };
        let table = [
            (0, 0, 9, Freshness::Fresh),
            (0, 0, 10, Freshness::Expired),
            (5, 0, 10, Freshness::StaleUsable),
            (5, 0, 15, Freshness::Expired),
            (5, 20, 15, Freshness::StaleIfError),
            (5, 20, 30, Freshness::Expired),
            (0, 1000, 99, Freshness::StaleIfError),
            (1000, 1000, 100, Freshness::Expired),
        ];
        for (revalidate, error, now, expected) in table {
            let windows = Windows {
                while_revalidate: Duration::from_secs(revalidate),
                if_error: Duration::from_secs(error),
            };
            assert_eq!(freshness(expiry, windows, at(now)), expected, "{revalidate} {error} {now}");
        }
    }
}
