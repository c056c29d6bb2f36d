//! `/api/v1/campaigns`

use axum::extract::State;
use axum::response::{IntoResponse, Response};
use http::StatusCode;
use http::header::LOCATION;
use larder::{Event, Key, Selector, key, prefix};
use larder_http::{Conditions, Json, Page, PageParams, PathId, Problem, Query};
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;
use uuid::Uuid;

use super::model::{Campaign, Filter, NewCampaign};
use super::sql;
use crate::app::App;
use crate::auth::User;
use crate::cached::{cached, cached_opt};
use crate::ttl::Endpoint;

pub(crate) fn routes() -> OpenApiRouter<App> {
    OpenApiRouter::new().routes(routes!(list, create)).routes(routes!(get, update, delete))
}

fn list_key(filter: Filter) -> Key {
    let mut key = key!("campaigns", "page", filter.page.page, "limit", filter.page.limit);
    if let Some(status) = filter.status {
        key = key.with("status").with(status.as_str());
    }
    if let Some(channel) = filter.channel {
        key = key.with("channel").with(channel.as_str());
    }
    key
}

/// What shows a campaign: itself, the lists, the statistics.
fn shown_in(id: Uuid) -> Vec<Selector> {
    vec![key!("campaign", id).into(), prefix!("campaigns"), key!("dashboard_stats").into()]
}

/// Lists campaigns, newest first.
#[utoipa::path(
    get, path = "/api/v1/campaigns", tag = "campaigns", operation_id = "list_campaigns",
    params(Filter, PageParams), security(("bearer" = [])),
    responses((status = 200, body = Page<Campaign>))
)]
async fn list(
    State(app): State<App>,
    user: User,
    Query(filter): Query<Filter>,
    conditions: Conditions,
) -> Result<Response, Problem> {
    let (db, tenant) = (app.db.clone(), user.tenant.clone());
    let load = move || async move { Ok(sql::list(&db, &tenant, filter).await?) };
    cached(user.scope(), list_key(filter), app.policy(Endpoint::Campaigns), &conditions, load).await
}

/// Makes a campaign.
#[utoipa::path(
    post, path = "/api/v1/campaigns", tag = "campaigns", operation_id = "create_campaign",
    request_body = NewCampaign, security(("bearer" = [])),
    responses((status = 201, body = Campaign, headers(("location" = String, description = "Where it is"))))
)]
async fn create(
    State(app): State<App>,
    user: User,
    Json(new): Json<NewCampaign>,
) -> Result<Response, Problem> {
    user.may_write()?;
    let on = app.clone();
    let made = app
        .write(async move {
            let mut write = on.begin(&user.cache).await?;
            let made = sql::create(write.tx(), &user.tenant, new).await?;
            write.emit(event("campaign.created", made.id, &made)).await?;
            write.commit().await?;
            Ok(made)
        })
        .await?;
    let location = [(LOCATION, format!("/api/v1/campaigns/{}", made.id))];
    Ok((StatusCode::CREATED, location, axum::Json(made)).into_response())
}

/// Shows a campaign.
#[utoipa::path(
    get, path = "/api/v1/campaigns/{id}", tag = "campaigns", operation_id = "get_campaign",
    params(("id" = Uuid, Path, description = "The campaign")), security(("bearer" = [])),
    responses((status = 200, body = Campaign))
)]
async fn get(
    State(app): State<App>,
    user: User,
    PathId(id): PathId,
    conditions: Conditions,
) -> Result<Response, Problem> {
    let (db, tenant) = (app.db.clone(), user.tenant.clone());
    let load = move || async move { Ok(sql::get(&db, &tenant, id).await?) };
    cached_opt(user.scope(), key!("campaign", id), app.policy(Endpoint::Campaigns), &conditions, load).await
}

/// Changes a campaign as a whole.
#[utoipa::path(
    put, path = "/api/v1/campaigns/{id}", tag = "campaigns", operation_id = "update_campaign",
    params(("id" = Uuid, Path, description = "The campaign")), request_body = NewCampaign,
    security(("bearer" = [])), responses((status = 200, body = Campaign))
)]
async fn update(
    State(app): State<App>,
    user: User,
    PathId(id): PathId,
    Json(new): Json<NewCampaign>,
) -> Result<axum::Json<Campaign>, Problem> {
    user.may_write()?;
    let on = app.clone();
    let now = app
        .write(async move {
            let mut write = on.begin(&user.cache).await?;
            let now = sql::update(write.tx(), &user.tenant, id, new).await?;
            let now = now.ok_or_else(Problem::not_found)?;
            write.emit(event("campaign.updated", id, &now)).await?;
            write.commit().await?;
            Ok(now)
        })
        .await?;
    Ok(axum::Json(now))
}

/// Deletes a campaign with its leads.
#[utoipa::path(
    delete, path = "/api/v1/campaigns/{id}", tag = "campaigns", operation_id = "delete_campaign",
    params(("id" = Uuid, Path, description = "The campaign")), security(("bearer" = [])),
    responses((status = 204))
)]
async fn delete(State(app): State<App>, user: User, PathId(id): PathId) -> Result<StatusCode, Problem> {
    user.may_write()?;
    let on = app.clone();
    app.write(async move {
        let mut write = on.begin(&user.cache).await?;
        if !sql::delete(write.tx(), &user.tenant, id).await? {
            return Err(Problem::not_found());
        }
        let event = Event::new("campaign.deleted").id(id.to_string()).data(serde_json::json!({ "id": id }));
        write.emit(event.invalidates(shown_in(id)).invalidates([prefix!("leads", id)])).await?;
        write.commit().await?;
        Ok(StatusCode::NO_CONTENT)
    })
    .await
}

fn event(kind: &str, id: Uuid, campaign: &Campaign) -> Event {
    let data = serde_json::json!({
        "id": id,
        "name": campaign.name,
        "channel": campaign.channel,
        "status": campaign.status,
        "budget_cents": campaign.budget_cents,
    });
    Event::new(kind).id(id.to_string()).data(data).invalidates(shown_in(id))
}

#[cfg(test)]
mod tests {
    use super::super::model::{CampaignStatus, Channel};
    use super::*;

    #[test]
    fn a_filtered_list_has_a_key_of_its_own() {
        let page = PageParams { page: 1, limit: 20 };
        let all = Filter { status: None, channel: None, page };
        assert_eq!(list_key(all).render("acme"), "campaigns:acme:page:1:limit:20");
        let some = Filter { status: Some(CampaignStatus::Active), channel: Some(Channel::Sms), page };
        assert_eq!(list_key(some).render("acme"), "campaigns:acme:page:1:limit:20:status:active:channel:sms");
    }
}
