//! Endpoints that are never cold: loaded for every tenant at start, and again before they expire.
//!
//! The routes themselves are called, so that there is one way in which an answer is made. Within [`REFRESH`], a cached
//! read loads again what is about to expire instead of answering with it; of several nodes that do so, one loads.

use std::time::Duration;

use axum::Router;
use axum::body::Body;
use futures_util::StreamExt;
use futures_util::stream;
use http::header::AUTHORIZATION;
use http::{Request, StatusCode};
use larder_http::{Identity, Role};
use sqlx::Row;
use tokio_util::sync::CancellationToken;
use tower::ServiceExt;
use uuid::Uuid;

use crate::app::App;
use crate::cached::REFRESH;
use crate::db::{Db, DbError};
use crate::ttl::Endpoint;

/// Loads at once, so that warming leaves room for those who ask.
const AT_ONCE: usize = 4;
/// An entry is loaded again in the last part of its time, and looked at twice in that part.
const LAST_PART: u32 = 4;
/// Nothing is looked at more often than this.
const SHORTEST_ROUND: Duration = Duration::from_millis(500);
/// New tenants are found within this time.
const LONGEST_ROUND: Duration = Duration::from_secs(30);
/// Progress is logged each time so many are done.
const PROGRESS: usize = 500;

/// What is asked to warm an endpoint: the page that people see first. Nothing where the answer depends on more than the
/// tenant, such as a user or a campaign.
fn paths(endpoint: Endpoint) -> &'static [&'static str] {
    match endpoint {
        Endpoint::Campaigns => &["/api/v1/campaigns"],
        Endpoint::DashboardStats => &["/api/v1/dashboard/stats"],
        Endpoint::DashboardKpis => &["/api/v1/dashboard/kpis"],
        Endpoint::DashboardTrends => &["/api/v1/dashboard/trends"],
        Endpoint::DashboardAlerts => &["/api/v1/dashboard/alerts"],
        Endpoint::DashboardInsights => &["/api/v1/dashboard/insights"],
        Endpoint::DashboardActivity => &["/api/v1/dashboard/activity"],
        Endpoint::Products => &["/api/v1/products"],
        Endpoint::PricingTrends => &["/api/v1/pricing/trends"],
        Endpoint::SentimentOverview => &["/api/v1/sentiment/overview"],
        Endpoint::ForecastDemand => &["/api/v1/forecast/demand"],
        Endpoint::Posts => &["/api/v1/posts"],
        Endpoint::Jobs => &["/api/v1/jobs"],
        Endpoint::JobsStats => &["/api/v1/jobs/stats"],
        Endpoint::Categories => &["/api/v1/categories"],
        Endpoint::Locations => &["/api/v1/locations"],
        Endpoint::Stats => &["/api/stats"],
        Endpoint::Threats => &["/api/threats"],
        Endpoint::Charts => &["/api/charts/trend", "/api/charts/severity", "/api/charts/sources"],
        Endpoint::Leads
        | Endpoint::AiGeneration
        | Endpoint::Users
        | Endpoint::UserProfile
        | Endpoint::PostsUser
        | Endpoint::Messages
        | Endpoint::Conversations
        | Endpoint::Notifications => &[],
    }
}

/// Whether all tenants share the endpoint's entries.
fn is_shared(endpoint: Endpoint) -> bool {
    matches!(endpoint, Endpoint::Stats | Endpoint::Threats | Endpoint::Charts)
}

/// Finds the endpoints of these names.
///
/// # Errors
/// The names that are none.
pub(crate) fn endpoints(names: &[String]) -> Result<Vec<Endpoint>, String> {
    let find =
        |name: &String| Endpoint::ALL.iter().copied().find(|endpoint| endpoint.name() == name.as_str());
    let unknown: Vec<_> = names.iter().filter(|name| find(name).is_none()).map(String::as_str).collect();
    if !unknown.is_empty() {
        return Err(format!("there is no such endpoint to warm: {}", unknown.join(", ")));
    }
    let (some, none): (Vec<_>, Vec<_>) = names.iter().filter_map(find).partition(|e| !paths(*e).is_empty());
    for endpoint in none {
        tracing::warn!(
            endpoint = endpoint.name(),
            "can't be warmed: its answers depend on more than the tenant"
        );
    }
    Ok(some)
}

/// Keeps the endpoints warm until `stop`.
pub(crate) async fn keep(app: App, routes: Router, endpoints: Vec<Endpoint>, stop: CancellationToken) {
    let shortest =
        endpoints.iter().map(|endpoint| last_part(&app, *endpoint) / 2).min().unwrap_or(LONGEST_ROUND);
    let pause = shortest.clamp(SHORTEST_ROUND, LONGEST_ROUND);
    let names: Vec<_> = endpoints.iter().map(|endpoint| endpoint.name()).collect();
    tracing::info!(endpoints = names.join(","), every = ?pause, "warming");
    let mut first = true;
    loop {
        let round = round(&app, &routes, &endpoints, first);
        tokio::select! {
            () = stop.cancelled() => return,
            () = round => first = false,
        }
        tokio::select! {
            () = stop.cancelled() => return,
            () = tokio::time::sleep(pause) => {}
        }
    }
}

fn last_part(app: &App, endpoint: Endpoint) -> Duration {
    app.policies.ttl(endpoint) / LAST_PART
}

/// What to call, for whom.
struct Ask {
    endpoint: Endpoint,
    tenant: Option<String>,
    path: &'static str,
}

async fn round(app: &App, routes: &Router, endpoints: &[Endpoint], first: bool) {
    let tenants = match tenants(&app.db).await {
        Ok(tenants) => tenants,
        Err(error) => {
            tracing::warn!(?error, "warming: the tenants can't be listed");
            return;
        }
    };
    let (shared, own): (Vec<Endpoint>, Vec<Endpoint>) =
        endpoints.iter().copied().partition(|endpoint| is_shared(*endpoint));
    let shared = shared.into_iter().map(|endpoint| (endpoint, None));
    let own = own.into_iter().flat_map(|endpoint| tenants.iter().map(move |tenant| (endpoint, Some(tenant))));
    let asks: Vec<Ask> = shared
        .chain(own)
        .flat_map(|(endpoint, tenant)| {
            paths(endpoint).iter().map(move |&path| Ask { endpoint, tenant: tenant.cloned(), path })
        })
        .collect();
    let total = asks.len();
    let mut asked =
        stream::iter(asks).map(|ask| reload(app, routes, ask)).buffer_unordered(AT_ONCE).enumerate();
    let mut failed = 0;
    while let Some((before, good)) = asked.next().await {
        failed += usize::from(!good);
        let done = before + 1;
        if first && (done == total || done % PROGRESS == 0) {
            tracing::info!(done, total, failed, "warming");
        }
    }
    if !first && failed > 0 {
        tracing::warn!(failed, total, "warming: some loads failed");
    }
}

/// Calls the route as a member of the tenant would.
async fn reload(app: &App, routes: &Router, Ask { endpoint, tenant, path }: Ask) -> bool {
    let mut request = Request::get(path);
    if let Some(tenant) = tenant {
        let who = Identity { tenant, user: Uuid::nil().to_string(), role: Role::Member };
        request = request.header(AUTHORIZATION, format!("Bearer {}", app.tokens.issue(&who)));
    }
    let request = request.body(Body::empty()).expect("paths and tokens are plain");
    let call = routes.clone().oneshot(request);
    let answer = REFRESH.scope(last_part(app, endpoint), call).await;
    answer.is_ok_and(|response| response.status() == StatusCode::NO_CONTENT)
}

async fn tenants(db: &Db) -> Result<Vec<String>, DbError> {
    let rows = sqlx::query("SELECT id FROM tenants ORDER BY id").fetch_all(db.read()).await?;
    Ok(rows.iter().map(|row| row.try_get(0)).collect::<Result<_, _>>()?)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_that_is_none_is_refused_and_one_that_can_not_be_warmed_is_left_out() {
        let names = |list: &str| list.split(',').map(str::to_owned).collect::<Vec<_>>();
        assert_eq!(
            endpoints(&names("campaigns,leads,charts")).unwrap(),
            [Endpoint::Campaigns, Endpoint::Charts]
        );
        assert!(endpoints(&names("campaigns,campaings")).unwrap_err().contains("campaings"));
    }
}
