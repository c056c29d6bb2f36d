//! How long each endpoint's answers are kept, by the names of the `[ttl]` table.

use std::collections::BTreeMap;
use std::time::Duration;

use sample_backend::ttl::Endpoint;

/// The names, in the order of the documentation.
pub(crate) fn names() -> impl Iterator<Item = &'static str> {
    Endpoint::ALL.iter().map(|endpoint| endpoint.name())
}

/// Whether an endpoint is called `name`.
pub(crate) fn is_known(name: &str) -> bool {
    names().any(|known| known == name)
}

/// What is asked for to warm the endpoint `name`; nothing where its answers hang on a user, a campaign or a prompt, so that nobody
/// knows beforehand what will be asked.
pub(crate) fn warming(name: &str) -> &'static [&'static str] {
    match name {
        "campaigns" => &["/api/v1/campaigns"],
        "dashboard_stats" => &["/api/v1/dashboard/stats"],
        "dashboard_kpis" => &["/api/v1/dashboard/kpis"],
        "dashboard_trends" => &["/api/v1/dashboard/trends"],
        "dashboard_alerts" => &["/api/v1/dashboard/alerts"],
        "dashboard_insights" => &["/api/v1/dashboard/insights"],
        "dashboard_activity" => &["/api/v1/dashboard/activity"],
        "products" => &["/api/v1/products"],
        "pricing_trends" => &["/api/v1/pricing/trends"],
        "sentiment_overview" => &["/api/v1/sentiment/overview"],
        "forecast_demand" => &["/api/v1/forecast/demand"],
        "posts" => &["/api/v1/posts"],
        "jobs" => &["/api/v1/jobs"],
        "jobs_stats" => &["/api/v1/jobs/stats"],
        "categories" => &["/api/v1/categories"],
        "locations" => &["/api/v1/locations"],
        "stats" => &["/api/stats"],
        "threats" => &["/api/threats"],
        "charts" => &["/api/charts/trend", "/api/charts/severity", "/api/charts/sources"],
        _ => &[],
    }
}

/// Whether all tenants share the answers of the endpoint `name`.
pub(crate) fn is_shared(name: &str) -> bool {
    matches!(name, "stats" | "threats" | "charts")
}

/// The TTL of every endpoint.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Ttls(BTreeMap<&'static str, Duration>);

impl Default for Ttls {
    fn default() -> Self {
        Self(Endpoint::ALL.iter().map(|endpoint| (endpoint.name(), endpoint.default_ttl())).collect())
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
