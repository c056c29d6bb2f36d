//! `/api/v1/users/{id}` and its profile

use axum::extract::State;
use axum::response::Response;
use larder::key;
use larder_http::{Conditions, PathId, Problem, respond};
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;

use super::model::{Known, Person, Profile};
use super::people::{key_of, known};
use super::sql;
use crate::app::App;
use crate::auth::User;
use crate::cached::cached_opt;
use crate::ttl::Endpoint;

pub(crate) fn routes() -> OpenApiRouter<App> {
    OpenApiRouter::new().routes(routes!(get)).routes(routes!(profile))
}

/// Shows a user of the caller's tenant.
#[utoipa::path(
    get, path = "/api/v1/users/{id}", tag = "feed", operation_id = "get_user",
    params(("id" = Uuid, Path, description = "The user")), security(("bearer" = [])),
    responses((status = 200, body = Person))
)]
async fn get(
    State(app): State<App>,
    user: User,
    PathId(id): PathId,
    conditions: Conditions,
) -> Result<Response, Problem> {
    let (db, tenant) = (app.db.clone(), user.tenant.clone());
    let load = move || async move { sql::get(&db, &tenant, id).await?.map(known).transpose() };
    let (cache, audience) = user.scope();
    let policy = app.policy(Endpoint::Users);
    let (found, status) = cache.fetch_opt::<Known, _, _, Problem>(key_of(id), policy, load).await?;
    let found = found.ok_or_else(Problem::not_found)?;
    Ok(respond::cached(audience, &conditions, &found.rendered, &status))
}

/// Shows more about a user of the caller's tenant.
#[utoipa::path(
    get, path = "/api/v1/users/{id}/profile", tag = "feed", operation_id = "get_user_profile",
    params(("id" = Uuid, Path, description = "The user")), security(("bearer" = [])),
    responses((status = 200, body = Profile))
)]
async fn profile(
    State(app): State<App>,
    user: User,
    PathId(id): PathId,
    conditions: Conditions,
) -> Result<Response, Problem> {
    let (db, tenant) = (app.db.clone(), user.tenant.clone());
    let load = move || async move { Ok(sql::profile(&db, &tenant, id).await?) };
    cached_opt(user.scope(), key!("user_profile", id), app.policy(Endpoint::UserProfile), &conditions, load)
        .await
}
