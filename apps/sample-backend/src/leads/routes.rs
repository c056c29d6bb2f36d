//! `/api/v1/campaigns/{id}/leads`

use std::io::{Seek, SeekFrom};

use axum::extract::{Request, State};
use axum::response::{IntoResponse, Response};
use http::header::{CONTENT_LENGTH, CONTENT_TYPE};
use http::{HeaderMap, HeaderValue, StatusCode};
use larder::{Event, Key, Selector, key, prefix};
use larder_http::{Conditions, Json, Page, PageParams, PathId, Problem, Query};
use tempfile::SpooledTempFile;
use tokio::sync::mpsc;
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;
use uuid::Uuid;

use super::csv::{Leads, Report, check};
use super::model::{Lead, NewLead};
use super::spool::{UPLOAD_LIMIT, no_room, take_in};
use super::sql::{self, Import};
use crate::app::App;
use crate::auth::User;
use crate::cached::cached_opt;
use crate::campaigns;
use crate::db::Tx;
use crate::ttl::Endpoint;

pub(crate) fn routes() -> OpenApiRouter<App> {
    OpenApiRouter::new().routes(routes!(list, create)).routes(routes!(import))
}

fn list_key(campaign: Uuid, page: PageParams) -> Key {
    key!("leads", campaign, "page", page.page, "limit", page.limit)
}

/// What shows the leads of a campaign: their lists and the statistics.
fn shown_in(campaign: Uuid) -> [Selector; 2] {
    [prefix!("leads", campaign), key!("dashboard_stats").into()]
}

/// Lists the leads of a campaign, newest first.
#[utoipa::path(
    get, path = "/api/v1/campaigns/{id}/leads", tag = "campaigns", operation_id = "list_leads",
    params(("id" = Uuid, Path, description = "The campaign"), PageParams), security(("bearer" = [])),
    responses((status = 200, body = Page<Lead>))
)]
async fn list(
    State(app): State<App>,
    user: User,
    PathId(id): PathId,
    Query(page): Query<PageParams>,
    conditions: Conditions,
) -> Result<Response, Problem> {
    let (db, tenant) = (app.db.clone(), user.tenant.clone());
    let load = move || async move { Ok(sql::list(&db, &tenant, id, page).await?) };
    cached_opt(user.scope(), list_key(id, page), app.policy(Endpoint::Leads), &conditions, load).await
}

/// Adds a lead to a campaign.
#[utoipa::path(
    post, path = "/api/v1/campaigns/{id}/leads", tag = "campaigns", operation_id = "create_lead",
    params(("id" = Uuid, Path, description = "The campaign")), request_body = NewLead,
    security(("bearer" = [])), responses((status = 201, body = Lead))
)]
async fn create(
    State(app): State<App>,
    user: User,
    PathId(id): PathId,
    Json(new): Json<NewLead>,
) -> Result<Response, Problem> {
    user.may_write()?;
    let on = app.clone();
    let made = app
        .write(async move {
            let mut write = on.begin(&user.cache).await?;
            let made = sql::create(write.tx(), &user.tenant, id, new).await?;
            let made = made.ok_or_else(Problem::not_found)?;
            let data = serde_json::json!({ "id": made.id, "campaign_id": id, "status": made.status });
            let event = Event::new("lead.created").id(made.id.to_string()).data(data);
            write.emit(event.invalidates(shown_in(id))).await?;
            write.commit().await?;
            Ok(made)
        })
        .await?;
    Ok((StatusCode::CREATED, axum::Json(made)).into_response())
}

/// Adds leads from a CSV file: all good lines in one transaction, with one event.
///
/// The header is `email,name,status,value_cents`, the last two optional. Lines that are not good are answered with
/// their reasons; a file with more than 10,000 of them is refused.
#[utoipa::path(
    post, path = "/api/v1/campaigns/{id}/leads/import", tag = "campaigns", operation_id = "import_leads",
    params(("id" = Uuid, Path, description = "The campaign")),
    request_body(content = String, content_type = "text/csv", example = "email,name,status,value_cents\nada@example.com,Ada,new,5000\n"),
    security(("bearer" = [])), responses((status = 200, body = Report))
)]
async fn import(
    State(app): State<App>,
    user: User,
    PathId(id): PathId,
    request: Request,
) -> Result<axum::Json<Report>, Problem> {
    user.may_write()?;
    check_headers(request.headers())?;
    if !campaigns::exists(&app.db, &user.tenant, id).await? {
        return Err(Problem::not_found());
    }
    let spool = take_in(request.into_body()).await?;
    let (spool, report) = blocking(move || {
        let mut spool = spool;
        let report = check(&mut spool)?;
        spool.seek(SeekFrom::Start(0)).map_err(no_room)?;
        Ok((spool, report))
    })
    .await?;
    if report.imported > 0 {
        let imported = report.imported;
        let on = app.clone();
        app.write(async move {
            let mut write = on.begin(&user.cache).await?;
            store(write.tx(), &user.tenant, id, spool).await?;
            let data = serde_json::json!({ "campaign_id": id, "imported": imported });
            let event = Event::new("lead.imported").id(id.to_string()).data(data);
            write.emit(event.invalidates(shown_in(id))).await?;
            write.commit().await
        })
        .await?;
    }
    Ok(axum::Json(report))
}

fn check_headers(headers: &HeaderMap) -> Result<(), Problem> {
    let essence = headers.get(CONTENT_TYPE).and_then(|value| value.to_str().ok()).unwrap_or_default();
    let essence = essence.split(';').next().unwrap_or_default().trim();
    if !essence.eq_ignore_ascii_case("text/csv") {
        return Err(Problem::unsupported_media_type("text/csv"));
    }
    let announced = headers.get(CONTENT_LENGTH).map(HeaderValue::to_str);
    let announced: Option<usize> = announced.and_then(|text| text.ok()?.parse().ok());
    if announced.is_some_and(|length| length > UPLOAD_LIMIT) {
        return Err(Problem::too_large(UPLOAD_LIMIT));
    }
    Ok(())
}

/// Writes every good line, reading as fast as the database takes them.
async fn store(tx: &mut Tx, tenant: &str, campaign: Uuid, spool: SpooledTempFile) -> Result<(), Problem> {
    /// Leads that wait for the database.
    const AHEAD: usize = 1_000;
    let mut import = Import::begin(tx, tenant, campaign).await?.ok_or_else(Problem::not_found)?;
    let (send, mut receive) = mpsc::channel(AHEAD);
    let reading = tokio::task::spawn_blocking(move || {
        let mut leads = Leads::open(spool)?;
        while let Some(line) = leads.next()? {
            if let Ok(lead) = line {
                // Nobody takes it where the database has refused: then that is the answer.
                if send.blocking_send(lead).is_err() {
                    break;
                }
            }
        }
        Ok::<(), Problem>(())
    });
    while let Some(lead) = receive.recv().await {
        import.push(lead).await?;
    }
    reading.await.map_err(|_| Problem::internal())??;
    Ok(import.finish().await?)
}

async fn blocking<T: Send + 'static>(
    work: impl FnOnce() -> Result<T, Problem> + Send + 'static,
) -> Result<T, Problem> {
    tokio::task::spawn_blocking(work).await.map_err(|_| Problem::internal())?
}
