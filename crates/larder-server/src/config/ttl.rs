//! How long each endpoint's answers are kept, by the names of the `[ttl]` table.

use std::collections::BTreeMap;
use std::time::Duration;

const fn s(seconds: u64) -> Duration {
    Duration::from_secs(seconds)
}

/// Every endpoint with its default.
static DEFAULTS: [(&str, Duration); 27] = [
    ("campaigns", s(300)),
    ("leads", s(300)),
    ("dashboard_stats", s(60)),
    ("dashboard_kpis", s(300)),
    ("dashboard_trends", s(300)),
    ("dashboard_alerts", s(300)),
    ("dashboard_insights", s(300)),
    ("dashboard_activity", s(300)),
    ("products", s(600)),
    ("pricing_trends", s(600)),
    ("sentiment_overview", s(900)),
    ("forecast_demand", s(1800)),
    ("ai_generation", s(86_400)),
    ("stats", s(60)),
    ("threats", s(120)),
    ("charts", s(180)),
    ("users", s(300)),
    ("user_profile", s(180)),
    ("posts", s(60)),
    ("posts_user", s(120)),
    ("jobs", s(300)),
    ("jobs_stats", s(600)),
    ("messages", s(30)),
    ("conversations", s(60)),
    ("notifications", s(30)),
    ("categories", s(3600)),
    ("locations", s(3600)),
];

/// The names, in the order of the documentation.
pub(crate) fn names() -> impl Iterator<Item = &'static str> {
    DEFAULTS.iter().map(|(name, _)| *name)
}

/// Whether an endpoint is called `name`.
pub(crate) fn is_known(name: &str) -> bool {
    names().any(|known| known == name)
}

/// The TTL of every endpoint.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Ttls(BTreeMap<&'static str, Duration>);

impl Default for Ttls {
    fn default() -> Self {
        Self(DEFAULTS.iter().copied().collect())
    }
}

impl Ttls {
    /// All of them by name.
    pub fn iter(&self) -> impl Iterator<Item = (&'static str, Duration)> {
        self.0.iter().map(|(name, ttl)| (*name, *ttl))
    }

    /// That of `name`, where an endpoint is called so.
    pub fn get(&self, name: &str) -> Option<Duration> {
        self.0.get(name).copied()
    }

    pub(super) fn set(&mut self, name: &'static str, ttl: Duration) {
        self.0.insert(name, ttl);
    }
}
