//! How long each endpoint's answers are kept.

use std::collections::BTreeMap;
use std::time::Duration;

use larder::Policy;
use larder::limits::MAX_KEEP;

/// The tag of everything that is derived from products.
pub(crate) const SELLER_TAG: &str = "seller";

/// How long the seller dashboard may show its last good value while its source fails.
const STALE_FOR: Duration = Duration::from_secs(86_400);

/// Declares every endpoint once: variant, name in `[ttl]` and in statistics, seconds.
macro_rules! endpoints {
    ($($variant:ident = $name:literal, $seconds:literal;)+) => {
        /// What has a TTL of its own.
        #[derive(Debug, Clone, Copy, PartialEq, Eq)]
        pub enum Endpoint {
            $(#[doc = concat!("`", $name, "`")] $variant,)+
        }

        impl Endpoint {
            /// Every endpoint.
            pub const ALL: &'static [Self] = &[$(Self::$variant),+];

            /// The name in `[ttl]` and in statistics.
            #[must_use]
            pub fn name(self) -> &'static str {
                match self { $(Self::$variant => $name),+ }
            }

            /// The TTL unless told otherwise.
            #[must_use]
            pub fn default_ttl(self) -> Duration {
                Duration::from_secs(match self { $(Self::$variant => $seconds),+ })
            }
        }
    };
}

endpoints! {
    Campaigns = "campaigns", 300;
    Leads = "leads", 300;
    DashboardStats = "dashboard_stats", 60;
    DashboardKpis = "dashboard_kpis", 300;
    DashboardTrends = "dashboard_trends", 300;
    DashboardAlerts = "dashboard_alerts", 300;
    DashboardInsights = "dashboard_insights", 300;
    DashboardActivity = "dashboard_activity", 300;
    Products = "products", 600;
    PricingTrends = "pricing_trends", 600;
    SentimentOverview = "sentiment_overview", 900;
    ForecastDemand = "forecast_demand", 1_800;
    AiGeneration = "ai_generation", 86_400;
    Stats = "stats", 60;
    Threats = "threats", 120;
    Charts = "charts", 180;
    Users = "users", 300;
    UserProfile = "user_profile", 180;
    Posts = "posts", 60;
    PostsUser = "posts_user", 120;
    Jobs = "jobs", 300;
    JobsStats = "jobs_stats", 600;
    Messages = "messages", 30;
    Conversations = "conversations", 60;
    Notifications = "notifications", 30;
    Categories = "categories", 3_600;
    Locations = "locations", 3_600;
}

impl Endpoint {
    /// That of this name.
    #[must_use]
    pub fn named(name: &str) -> Option<Self> {
        Self::ALL.iter().copied().find(|endpoint| endpoint.name() == name)
    }

    /// How its answers are kept with this TTL.
    #[must_use]
    pub fn policy(self, ttl: Duration) -> Policy {
        let policy = Policy::ttl(ttl);
        if self.is_from_upstream() { policy.stale_if_error(STALE_FOR).tag(SELLER_TAG) } else { policy }
    }

    /// The longest TTL that it can have.
    #[must_use]
    pub fn longest_ttl(self) -> Duration {
        if self.is_from_upstream() { MAX_KEEP - STALE_FOR } else { MAX_KEEP }
    }

    /// Whether its source is another server, whose failures are bridged.
    fn is_from_upstream(self) -> bool {
        use Endpoint::{
            DashboardActivity, DashboardAlerts, DashboardInsights, DashboardKpis, DashboardTrends,
            ForecastDemand, PricingTrends, Products, SentimentOverview,
        };
        matches!(
            self,
            DashboardActivity
                | DashboardAlerts
                | DashboardInsights
                | DashboardKpis
                | DashboardTrends
                | ForecastDemand
                | PricingTrends
                | Products
                | SentimentOverview
        )
    }
}

/// One policy for each endpoint, made at start.
#[derive(Debug, Clone)]
pub struct Policies(Vec<(Duration, Policy)>);

impl Policies {
    /// The TTLs of the contract, except where `overrides` says another by name.
    ///
    /// # Errors
    /// The names that are none, and TTLs that can't be: all of them.
    pub fn new(overrides: &BTreeMap<String, Duration>) -> Result<Self, String> {
        let wrong: Vec<_> = overrides.iter().filter_map(|(name, ttl)| refusal(name, *ttl)).collect();
        if !wrong.is_empty() {
            return Err(wrong.join("; "));
        }
        let policy = |endpoint: Endpoint| {
            let ttl = overrides.get(endpoint.name()).copied().unwrap_or(endpoint.default_ttl());
            (ttl, endpoint.policy(ttl))
        };
        Ok(Self(Endpoint::ALL.iter().map(|&endpoint| policy(endpoint)).collect()))
    }

    /// The policy of an endpoint.
    #[must_use]
    pub fn of(&self, endpoint: Endpoint) -> &Policy {
        &self.0[endpoint as usize].1
    }

    /// How long an endpoint's answers are kept.
    #[must_use]
    pub fn ttl(&self, endpoint: Endpoint) -> Duration {
        self.0[endpoint as usize].0
    }
}

/// Why an override can't be, if it can't.
fn refusal(name: &str, ttl: Duration) -> Option<String> {
    let Some(endpoint) = Endpoint::named(name) else { return Some(format!("ttl.{name}: no such endpoint")) };
    endpoint.policy(ttl).validate().err().map(|error| format!("ttl.{name}: {error}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_endpoint_has_its_own_place_and_name() {
        for (i, endpoint) in Endpoint::ALL.iter().enumerate() {
            assert_eq!(*endpoint as usize, i);
            assert_eq!(Endpoint::ALL.iter().filter(|e| e.name() == endpoint.name()).count(), 1);
        }
    }

    #[test]
    fn a_misspelt_or_empty_override_is_refused_by_name() {
        let overrides =
            |name: &str, seconds| BTreeMap::from([(name.to_owned(), Duration::from_secs(seconds))]);
        assert!(Policies::new(&overrides("campaigns", 1)).is_ok());
        assert!(Policies::new(&overrides("campaign", 1)).unwrap_err().contains("ttl.campaign"));
        assert!(Policies::new(&overrides("campaigns", 0)).unwrap_err().contains("ttl.campaigns"));
    }

    #[test]
    fn the_longest_ttl_of_every_endpoint_is_one_that_lookups_take() {
        for endpoint in Endpoint::ALL {
            let longest = endpoint.longest_ttl();
            assert!(endpoint.policy(longest).validate().is_ok(), "{endpoint:?}");
            assert!(endpoint.policy(longest + Duration::from_secs(1)).validate().is_err(), "{endpoint:?}");
        }
    }
}
