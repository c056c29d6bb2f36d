//! `/api/stats`, `/api/threats`, `/api/charts/…`

use axum::extract::{FromRequestParts, State};
use axum::response::{IntoResponse, Response};
use http::StatusCode;
use http::request::Parts;
use larder::{Event, Key, key, prefix};
use larder_http::{Audience, Conditions, Json, Page, PageParams, Problem, Query, Role};
use serde::Serialize;
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;

use super::model::{
    Days, Filter, Inserted, NewThreat, NewThreats, SeverityChart, SourceChart, Threat, ThreatStats, Trend,
};
use super::sql;
use crate::app::App;
use crate::auth::User;
use crate::cached::cached;
use crate::db::{Db, DbError};
use crate::ttl::Endpoint;

pub(crate) fn routes() -> OpenApiRouter<App> {
    OpenApiRouter::new()
        .routes(routes!(stats))
        .routes(routes!(list, ingest))
        .routes(routes!(trend))
        .routes(routes!(severities))
        .routes(routes!(sources))
}

/// Somebody who may write what all tenants share. Asked before the body is read.
struct Crawler;

impl FromRequestParts<App> for Crawler {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, app: &App) -> Result<Self, Problem> {
        match User::from_request_parts(parts, app).await?.role {
            Role::Ingest => Ok(Self),
            _ => Err(Problem::forbidden("this needs the role ingest")),
        }
    }
}

/// A read that is the same for everybody.
async fn shared<T, L, F>(
    app: &App,
    what: (Key, Endpoint),
    conditions: &Conditions,
    load: L,
) -> Result<Response, Problem>
where
    T: Serialize + Send,
    L: FnOnce(Db) -> F + Send + 'static,
    F: Future<Output = Result<T, DbError>> + Send + 'static,
{
    let (key, endpoint) = what;
    let db = app.db.clone();
    let load = move || async move { Ok(load(db).await?) };
    cached((&app.cache.shared(), Audience::Public), key, app.policy(endpoint), conditions, load).await
}

fn list_key(filter: &Filter) -> Key {
    let PageParams { page, limit } = filter.page;
    let mut key = key!("threats", format_args!("page={page}"), format_args!("limit={limit}"));
    if let Some(severity) = filter.severity {
        key = key.with(format_args!("severity={}", severity.as_str()));
    }
    if let Some(source) = &filter.source {
        key = key.with(format_args!("source={source}"));
    }
    key
}

/// Shows all threats in numbers.
#[utoipa::path(
    get, path = "/api/stats", tag = "threats", operation_id = "threat_stats",
    responses((status = 200, body = ThreatStats))
)]
async fn stats(State(app): State<App>, conditions: Conditions) -> Result<Response, Problem> {
    shared(&app, (key!("stats", ""), Endpoint::Stats), &conditions, async move |db| sql::stats(&db).await)
        .await
}

/// Lists threats, newest first.
#[utoipa::path(
    get, path = "/api/threats", tag = "threats", operation_id = "list_threats", params(Filter, PageParams),
    responses((status = 200, body = Page<Threat>))
)]
async fn list(
    State(app): State<App>,
    Query(filter): Query<Filter>,
    conditions: Conditions,
) -> Result<Response, Problem> {
    let what = (list_key(&filter), Endpoint::Threats);
    shared(&app, what, &conditions, |db| async move { sql::list(&db, filter).await }).await
}

/// Shows threats by day.
#[utoipa::path(
    get, path = "/api/charts/trend", tag = "threats", operation_id = "threat_trend", params(Days),
    responses((status = 200, body = Trend))
)]
async fn trend(
    State(app): State<App>,
    Query(Days { days }): Query<Days>,
    conditions: Conditions,
) -> Result<Response, Problem> {
    let what = (key!("charts", "trend", format_args!("days={days}")), Endpoint::Charts);
    shared(&app, what, &conditions, move |db| async move { sql::trend(&db, days).await }).await
}

/// Shows threats by severity.
#[utoipa::path(
    get, path = "/api/charts/severity", tag = "threats", operation_id = "threats_by_severity",
    responses((status = 200, body = SeverityChart))
)]
async fn severities(State(app): State<App>, conditions: Conditions) -> Result<Response, Problem> {
    let what = (key!("charts", "severity", ""), Endpoint::Charts);
    shared(&app, what, &conditions, |db| async move { sql::severities(&db).await }).await
}

/// Shows threats by source.
#[utoipa::path(
    get, path = "/api/charts/sources", tag = "threats", operation_id = "threats_by_source",
    responses((status = 200, body = SourceChart))
)]
async fn sources(State(app): State<App>, conditions: Conditions) -> Result<Response, Problem> {
    let what = (key!("charts", "sources", ""), Endpoint::Charts);
    shared(&app, what, &conditions, |db| async move { sql::sources(&db).await }).await
}

/// Takes up to 1,000 threats, all or none.
#[utoipa::path(
    post, path = "/api/threats", tag = "threats", operation_id = "ingest_threats",
    request_body = Vec<NewThreat>, security(("bearer" = [])),
    responses((status = 201, body = Inserted))
)]
async fn ingest(
    State(app): State<App>,
    _: Crawler,
    Json(NewThreats(threats)): Json<NewThreats>,
) -> Result<Response, Problem> {
    let (on, cache) = (app.clone(), app.cache.shared());
    let made = app
        .write(async move {
            let made = Inserted { inserted: threats.len() };
            let mut write = on.begin(&cache).await?;
            sql::insert(write.tx(), threats).await?;
            let event = Event::new("threats.ingested").data(serde_json::json!(made));
            write.emit(event.invalidates([prefix!("stats"), prefix!("threats"), prefix!("charts")])).await?;
            write.commit().await?;
            Ok(made)
        })
        .await?;
    Ok((StatusCode::CREATED, axum::Json(made)).into_response())
}

#[cfg(test)]
mod tests {
    use super::super::model::Severity;
    use super::*;

    #[test]
    fn filters_follow_the_page_in_a_fixed_order() {
        let page = PageParams { page: 1, limit: 10 };
        let all = Filter { severity: None, source: None, page };
        assert_eq!(list_key(&all).as_str(), "threats:page=1:limit=10");
        let some = Filter { severity: Some(Severity::High), source: Some("a:b".to_owned()), page };
        assert_eq!(list_key(&some).as_str(), "threats:page=1:limit=10:severity=high:source=a%3Ab");
        assert_eq!(key!("charts", "severity", "").render(""), "charts:severity:");
        assert_eq!(key!("charts", "trend", format_args!("days={}", 10)).render(""), "charts:trend:days=10");
    }
}
