//! What is wrong, in words: the same for everybody who looks, wherever they look.

use std::time::Duration;

use larder::{RedisState, StatsSnapshot};

use super::reading::History;
use super::shape::{Alert, Level, Rates, Redis, RedisWord, Rows};

/// Fewer lookups a second say nothing of a hit rate.
const ENOUGH: f64 = 2.0;
/// So many seconds do: a cache that has just begun is cold.
const LONG_ENOUGH: f64 = 50.0;

/// A list in the making.
#[derive(Default)]
pub(super) struct Alerts(Vec<Alert>);

impl Alerts {
    fn bad(&mut self, code: &'static str, text: impl Into<String>) {
        self.0.push(Alert { level: Level::Bad, code, text: text.into() });
    }

    fn warn(&mut self, code: &'static str, text: impl Into<String>) {
        self.0.push(Alert { level: Level::Warn, code, text: text.into() });
    }

    /// The worst first.
    pub(super) fn done(mut self) -> Vec<Alert> {
        self.0.sort_by_key(|alert| alert.level);
        self.0
    }

    pub(super) fn cache(&mut self, enabled: bool) {
        if !enabled {
            self.warn("cache_off", "The cache is switched off: every read goes to its source.");
        }
    }

    /// For everybody: without reasons and addresses.
    pub(super) fn redis(&mut self, state: &RedisState, in_full: bool) {
        match state {
            RedisState::Unavailable { reason } => {
                let why = if in_full { format!(" ({reason})") } else { String::new() };
                self.bad(
                    "redis_unavailable",
                    format!(
                        "Redis is out of reach{why}. Requests go on, from this node’s memory and from the source. Values that are loaded \
                         meanwhile are kept briefly, and invalidations are delivered when Redis is back."
                    ),
                );
            }
            RedisState::Unsupported { missing } => {
                let what = if in_full { format!(": {missing}") } else { String::new() };
                self.bad(
                    "redis_unsupported",
                    format!("This Redis can’t be used{what}. Only memory is used."),
                );
            }
            RedisState::Connected { advice, .. } if in_full => {
                advice.iter().for_each(|advice| self.warn("redis_advice", advice.clone()));
            }
            _ => {}
        }
    }

    pub(super) fn coherence(&mut self, stats: &StatsSnapshot, lease: Duration, state: &RedisState) {
        if matches!(state, RedisState::Connected { .. }) && !stats.trusted {
            self.warn(
                "untrusted",
                "This node does not follow the invalidations of the others yet, and reads nothing from Redis until it does.",
            );
        }
        if stats.undelivered > 0 {
            let count = stats.undelivered;
            let text = format!(
                "In force on this node, and waiting to be told to Redis: {count} of its invalidations."
            );
            self.warn("undelivered", text);
        }
        if stats.trusted
            && let Some(lag) = stats.coherence_lag.filter(|lag| *lag > lease)
        {
            let text = format!(
                "What this node knows of the others’ invalidations is {:.1} s old, more than its lease of {:.1} s: it serves nothing from memory.",
                lag.as_secs_f64(),
                lease.as_secs_f64()
            );
            self.warn("lag", text);
        }
    }

    /// What the last minute tells, of the node or of a tenant.
    pub(super) fn minute(&mut self, minute: Option<&Rates>) {
        let Some(rates) = minute else { return };
        let percent = |part: f64, of: f64| part * 100.0 / of.max(1e-9);
        let failed = percent(rates.load_errors_per_s, rates.loads_per_s);
        if rates.load_errors_per_s > 0.0 && failed >= 5.0 {
            self.bad("load_errors", format!("{failed:.0} % of the loads of the last minute failed."));
        }
        let stale = percent(rates.stale_hits_per_s, rates.lookups_per_s);
        if rates.stale_hits_per_s > 0.0 && stale >= 1.0 {
            let text = format!("{stale:.0} % of the lookups of the last minute were served past their TTL.");
            self.warn("stale_served", text);
        }
        if let Some(rate) = rates.hit_rate.filter(|rate| *rate < 0.5)
            && rates.lookups_per_s >= ENOUGH
            && rates.over_s >= LONG_ENOUGH
        {
            let text = format!("Only {:.0} % of the lookups of the last minute were hits.", rate * 100.0);
            self.warn("hit_rate_low", text);
        }
        if rates.evictions_per_s >= 1.0 && rates.evictions_per_s * 2.0 >= rates.loads_per_s {
            let text = format!(
                "{:.0} entries a second are dropped for want of memory, nearly as many as are loaded: more memory would save loads.",
                rates.evictions_per_s
            );
            self.warn("memory_evicts", text);
        }
    }

    pub(super) fn redis_memory(&mut self, redis: &Redis, history: &History) {
        if redis.state != RedisWord::Connected {
            return;
        }
        let evicted = history.window().and_then(|(last, first)| {
            last.redis_evicted?.checked_sub(first.redis_evicted?).filter(|count| *count > 0)
        });
        if let Some(count) = evicted {
            let text = format!("In the last minute Redis dropped keys for want of memory: {count}.");
            self.warn("redis_evicts", text);
        }
        if let (Some(used), Some(max)) = (redis.used_bytes, redis.max_bytes.filter(|max| *max > 0))
            && used / 9 * 10 > max
        {
            self.warn("redis_memory", "Redis has used more than 90 % of its memory.");
        }
    }

    pub(super) fn database(&mut self, rows: Option<&Rows>) {
        let Some(rows) = rows else { return };
        if rows.max > 0 && rows.busy >= rows.max {
            self.bad(
                "pool_exhausted",
                format!("All {} database connections are busy: loads wait.", rows.max),
            );
        }
        let Some(outbox) = &rows.outbox else { return };
        if outbox.dead > 0 {
            let text =
                format!("Set aside, since the outbox can’t publish them: {} of its events.", outbox.dead);
            self.bad("outbox_dead", text);
        }
        if outbox.lag_s > 60.0 {
            let text = format!("The oldest event in the outbox has waited for {:.0} s.", outbox.lag_s);
            self.warn("outbox_lag", text);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn codes(fill: impl FnOnce(&mut Alerts)) -> Vec<&'static str> {
        let mut alerts = Alerts::default();
        fill(&mut alerts);
        alerts.done().iter().map(|alert| alert.code).collect()
    }

    fn quiet() -> Rates {
        let all = 100.0;
        Rates {
            over_s: 60.0,
            lookups_per_s: all,
            l1_hits_per_s: all,
            l2_hits_per_s: 0.0,
            stale_hits_per_s: 0.0,
            misses_per_s: 0.0,
            coalesced_per_s: 0.0,
            loads_per_s: 1.0,
            load_errors_per_s: 0.0,
            invalidations_per_s: 0.0,
            evictions_per_s: 0.0,
            saved_s_per_s: 0.0,
            hit_rate: Some(1.0),
            requests_per_s: None,
            server_errors_per_s: None,
            server_error_rate: None,
        }
    }

    #[test]
    fn what_is_well_raises_nothing() {
        assert_eq!(codes(|alerts| alerts.minute(Some(&quiet()))), [""; 0]);
        assert_eq!(codes(|alerts| alerts.redis(&RedisState::Disabled, true)), [""; 0]);
        assert_eq!(codes(|alerts| alerts.cache(true)), [""; 0]);
        let little = Rates { hit_rate: Some(0.0), lookups_per_s: 0.5, ..quiet() };
        assert_eq!(codes(|alerts| alerts.minute(Some(&little))), [""; 0], "too few lookups to say anything");
        let cold = Rates { hit_rate: Some(0.0), over_s: 5.0, ..quiet() };
        assert_eq!(codes(|alerts| alerts.minute(Some(&cold))), [""; 0], "it has just begun");
    }

    #[test]
    fn the_worst_comes_first_and_a_tenant_is_told_no_reasons() {
        let rates = Rates { hit_rate: Some(0.2), load_errors_per_s: 0.5, stale_hits_per_s: 3.0, ..quiet() };
        assert_eq!(
            codes(|alerts| alerts.minute(Some(&rates))),
            ["load_errors", "stale_served", "hit_rate_low"]
        );
        let gone = RedisState::Unavailable { reason: "connection refused".to_owned() };
        for (in_full, told) in [(true, true), (false, false)] {
            let mut alerts = Alerts::default();
            alerts.redis(&gone, in_full);
            assert_eq!(alerts.done()[0].text.contains("refused"), told);
        }
    }

    #[test]
    fn a_database_without_a_free_connection_is_told() {
        let rows = |busy| Rows { open: 60, busy, max: 60, statements: 0, outbox: None };
        assert_eq!(codes(|alerts| alerts.database(Some(&rows(60)))), ["pool_exhausted"]);
        assert_eq!(codes(|alerts| alerts.database(Some(&rows(59)))), [""; 0]);
    }
}
