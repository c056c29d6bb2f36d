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

impl Expiry {
    /// The same, of a value that was made stale at `moment`.
    pub(crate) fn stale_from(self, moment: Moment) -> Self {
        Self { soft: self.soft.min(moment), ..self }
    }
}

/// How long after its TTL a caller accepts a value.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Windows {
    /// While a load runs behind.
    pub(crate) while_revalidate: Duration,
    /// When a load fails.
    pub(crate) if_error: Duration,
    /// How eagerly to load ahead of expiry; 0 is not at all.
    pub(crate) eager: f32,
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

/// The farthest that [`is_due_early`] can reach, in load times: no chance that is drawn of 32 bits has a larger logarithm.
const FARTHEST: f64 = 23.0;

/// Whether a value with so much fresh time left is loaded ahead of its expiry: XFetch (VLDB 2015), for a load that takes
/// `load`. `chance` draws from 0 to 1, and is not asked where it can't matter.
pub(crate) fn is_due_early(left: Duration, load: Duration, beta: f32, chance: impl FnOnce() -> f64) -> bool {
    let (left, reach) = (left.as_secs_f64(), load.as_secs_f64() * f64::from(beta));
    left < reach * FARTHEST && left <= reach * -chance().ln()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_nearer_to_expiry_the_likelier_an_early_load() {
        let ms = Duration::from_millis;
        let due = |left, beta, chance: f64| is_due_early(ms(left), ms(100), beta, || chance);
        // -ln(0.5) is 0.69, -ln(0.1) is 2.3.
        assert!(due(69, 1.0, 0.5) && !due(70, 1.0, 0.5));
        assert!(due(230, 1.0, 0.1) && !due(231, 1.0, 0.1));
        assert!(due(138, 2.0, 0.5) && !due(139, 2.0, 0.5), "beta stretches");
        assert!(due(1, 1.0, 0.0) && !due(1, 1.0, 1.0) && !due(1, 0.0, 0.0));
        assert!(!is_due_early(ms(2301), ms(100), 1.0, || unreachable!("far too early to draw")));
        assert!(!is_due_early(ms(1), ms(0), 1.0, || 0.5), "what loads in no time need not be loaded ahead");
    }

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
                eager: 0.0,
            };
            assert_eq!(freshness(expiry, windows, at(now)), expected, "{revalidate} {error} {now}");
        }
    }
}
