//! Counters read at a moment, and what became of them since.

use std::collections::{BTreeMap, VecDeque};
use std::time::{Duration, Instant};

use larder::Counts;

use super::percentile::Spread;
use super::shape::{Numbers, Rates};
use crate::ops::metrics::Answered;
use crate::ops::numbers::{ratio, rounded};

/// How far back rates and percentiles go.
pub(super) const WINDOW: Duration = Duration::from_secs(60);
/// Nobody has asked for so long: what was read before says nothing of the last second.
pub(super) const FORGOTTEN: Duration = Duration::from_secs(10);
/// One a second, and some that were asked for in between.
const MOST: usize = 70;

/// The counters of a node, or of a tenant.
#[derive(Clone, Debug)]
pub(super) struct Reading {
    pub(super) at: Instant,
    pub(super) total: Counts,
    pub(super) endpoints: BTreeMap<&'static str, Counts>,
    pub(super) invalidations: u64,
    pub(super) evictions: u64,
    /// Of a node only.
    pub(super) spreads: Option<Spreads>,
    /// Keys that Redis has dropped for want of room, as far as that is known.
    pub(super) redis_evicted: Option<u64>,
    /// Requests; of a node only.
    pub(super) answered: Option<Answered>,
}

/// How long things took.
#[derive(Clone, Debug)]
pub(super) struct Spreads {
    pub(super) hits: Spread,
    pub(super) misses: Spread,
    pub(super) loads: Spread,
}

impl Reading {
    fn saved(&self) -> f64 {
        self.endpoints.values().map(|counts| counts.saved().as_secs_f64()).sum()
    }

    pub(super) fn numbers(&self) -> Numbers {
        let Self { total, .. } = self;
        Numbers {
            hits: total.hits(),
            misses: total.misses,
            hit_rate: rounded(total.hit_rate(), 4),
            l1_hits: total.l1_hits,
            l2_hits: total.l2_hits,
            stale_hits: total.stale_hits,
            coalesced: total.coalesced,
            loads: total.loads,
            load_errors: total.load_errors,
            load_s: rounded(total.load_time.as_secs_f64(), 6),
            saved_s: rounded(self.saved(), 6),
            invalidations: self.invalidations,
            evictions: self.evictions,
            requests: self.answered.map(|answered| answered.requests),
            server_errors: self.answered.map(|answered| answered.failed),
        }
    }

    /// Requests that were answered since `before`.
    fn answered_since(&self, before: &Self) -> Option<Answered> {
        let (now, then) = (self.answered?, before.answered?);
        Some(Answered {
            requests: now.requests.saturating_sub(then.requests),
            failed: now.failed.saturating_sub(then.failed),
        })
    }

    /// What came since `before`.
    fn rates(&self, before: &Self) -> Rates {
        let over = self.at.duration_since(before.at).as_secs_f64().max(1e-3);
        let rate = |of: fn(&Counts) -> u64| {
            rounded(ratio(of(&self.total).saturating_sub(of(&before.total))) / over, 3)
        };
        let per_s = |count: u64| rounded(ratio(count) / over, 3);
        let plain = |now: u64, then: u64| per_s(now.saturating_sub(then));
        let hits = self.total.hits().saturating_sub(before.total.hits());
        let lookups = hits + self.total.misses.saturating_sub(before.total.misses);
        let answered = self.answered_since(before);
        // By today's mean duration of a load: that of each moment would make jumps of what is an estimate.
        let saved: f64 = self
            .endpoints
            .iter()
            .map(|(name, counts)| {
                let earlier = before.endpoints.get(name).map_or(0, Counts::hits);
                let part = ratio(counts.hits().saturating_sub(earlier)) / ratio(counts.hits().max(1));
                counts.saved().as_secs_f64() * part
            })
            .sum();
        Rates {
            over_s: rounded(over, 3),
            lookups_per_s: per_s(lookups),
            l1_hits_per_s: rate(|counts| counts.l1_hits),
            l2_hits_per_s: rate(|counts| counts.l2_hits),
            stale_hits_per_s: rate(|counts| counts.stale_hits),
            misses_per_s: rate(|counts| counts.misses),
            coalesced_per_s: rate(|counts| counts.coalesced),
            loads_per_s: rate(|counts| counts.loads),
            load_errors_per_s: rate(|counts| counts.load_errors),
            invalidations_per_s: plain(self.invalidations, before.invalidations),
            evictions_per_s: plain(self.evictions, before.evictions),
            saved_s_per_s: rounded(saved / over, 6),
            hit_rate: (lookups > 0).then(|| rounded(ratio(hits) / ratio(lookups), 4)),
            requests_per_s: answered.map(|answered| per_s(answered.requests)),
            server_errors_per_s: answered.map(|answered| per_s(answered.failed)),
            server_error_rate: answered
                .filter(|answered| answered.requests > 0)
                .map(|answered| rounded(ratio(answered.failed) / ratio(answered.requests), 4)),
        }
    }
}

/// The readings of the last minute.
#[derive(Debug, Default)]
pub(super) struct History(VecDeque<Reading>);

impl History {
    pub(super) fn push(&mut self, reading: Reading) {
        if self.0.back().is_some_and(|last| reading.at.duration_since(last.at) > FORGOTTEN) {
            self.0.clear();
        }
        let oldest = |first: &Reading| reading.at.duration_since(first.at) > WINDOW;
        while self.0.front().is_some_and(oldest) || self.0.len() >= MOST {
            self.0.pop_front();
        }
        self.0.push_back(reading);
    }

    pub(super) fn last(&self) -> Option<&Reading> {
        self.0.back()
    }

    /// The last, and the first of the window where that is another.
    pub(super) fn window(&self) -> Option<(&Reading, &Reading)> {
        let (first, last) = (self.0.front()?, self.0.back()?);
        (self.0.len() > 1).then_some((last, first))
    }

    /// Over about the last second.
    pub(super) fn now(&self) -> Option<Rates> {
        let last = self.0.back()?;
        let second = |before: &&Reading| last.at.duration_since(before.at) >= Duration::from_millis(500);
        self.0.iter().rev().find(second).map(|before| last.rates(before))
    }

    /// Over the window.
    pub(super) fn minute(&self) -> Option<Rates> {
        self.window().map(|(last, first)| last.rates(first))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn reading(at: Instant, hits: u64, loads: u64) -> Reading {
        let mut total = Counts::default();
        (total.l1_hits, total.misses, total.loads) = (hits, loads, loads);
        total.load_time = Duration::from_millis(100) * u32::try_from(loads).unwrap();
        Reading {
            at,
            total,
            endpoints: BTreeMap::from([("campaigns", total)]),
            invalidations: 0,
            evictions: 0,
            spreads: None,
            redis_evicted: None,
            answered: Some(Answered { requests: 2 * hits, failed: loads }),
        }
    }

    #[test]
    fn rates_are_what_came_between_two_readings() {
        let (start, mut history) = (Instant::now(), History::default());
        history.push(reading(start, 10, 10));
        assert!(history.now().is_none() && history.minute().is_none());
        history.push(reading(start + Duration::from_secs(2), 40, 10));
        let now = history.now().unwrap();
        assert_eq!((now.over_s, now.l1_hits_per_s, now.loads_per_s), (2.0, 15.0, 0.0));
        assert_eq!((now.hit_rate, now.saved_s_per_s), (Some(1.0), 1.5), "30 loads of 100 ms in 2 s");
        history.push(reading(start + Duration::from_secs(4), 40, 10));
        assert_eq!(history.now().unwrap().hit_rate, None, "nobody looked anything up");
        assert_eq!(history.now().unwrap().server_error_rate, None, "nobody asked for anything");
        assert_eq!(history.minute().unwrap().lookups_per_s, 7.5);
        assert_eq!(history.last().unwrap().numbers().saved_s, 4.0);
    }

    #[test]
    fn requests_are_told_by_the_second_with_the_share_of_those_that_failed() {
        let (start, mut history) = (Instant::now(), History::default());
        history.push(reading(start, 10, 10));
        history.push(reading(start + Duration::from_secs(2), 30, 20));
        let now = history.now().unwrap();
        assert_eq!((now.requests_per_s, now.server_errors_per_s), (Some(20.0), Some(5.0)));
        assert_eq!(now.server_error_rate, Some(0.25));
        let numbers = history.last().unwrap().numbers();
        assert_eq!((numbers.requests, numbers.server_errors), (Some(60), Some(20)));
    }

    #[test]
    fn a_minute_is_kept_and_nothing_from_before_a_pause() {
        let (start, mut history) = (Instant::now(), History::default());
        for second in 0..200 {
            history.push(reading(start + Duration::from_secs(second), second, 1));
        }
        assert_eq!(history.minute().unwrap().over_s, 60.0);
        for _ in 0..200 {
            history.push(reading(start + Duration::from_secs(199), 199, 1));
        }
        assert_eq!(history.0.len(), MOST);
        history.push(reading(start + Duration::from_secs(300), 300, 1));
        assert!(history.minute().is_none());
    }
}
