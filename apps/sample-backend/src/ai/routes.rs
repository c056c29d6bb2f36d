//! `/api/v1/ai/generate`

use axum::extract::State;
use axum::response::{IntoResponse, Response};
use larder::{Outcome, Policy, key};
use larder_http::{Audience, Json, Problem, respond};
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;

use super::generator::{Answer, TIMEOUT};
use super::model::{Generate, Generated};
use crate::app::App;
use crate::auth::User;
use crate::ttl::Endpoint;

pub(crate) fn routes() -> OpenApiRouter<App> {
    OpenApiRouter::new().routes(routes!(generate))
}

/// Writes text, or finds what was written for the same request.
#[utoipa::path(
    post, path = "/api/v1/ai/generate", tag = "campaigns", operation_id = "generate",
    request_body = Generate, security(("bearer" = [])), responses((status = 200, body = Generated))
)]
async fn generate(
    State(app): State<App>,
    user: User,
    Json(ask): Json<Generate>,
) -> Result<Response, Problem> {
    let generator = app.ai.clone().ok_or_else(|| {
        Problem::unavailable("no text generator is configured: set AI_BASE_URL and AI_MODEL (and AI_API_KEY)")
    })?;
    let key = key!("ai_generation", generator.digest(&ask));
    let policy: Policy = app.policy(Endpoint::AiGeneration).clone().load_timeout(TIMEOUT);
    let load = move || async move { generator.generate(&ask).await };
    let fetched = user.cache.fetch::<Answer, _, _, _>(key, &policy, load).await?;
    let cached = matches!(fetched.status.outcome, Outcome::Hit | Outcome::Stale);
    let Answer { text, model } = (*fetched.value).clone();
    let mut response = axum::Json(Generated { text, model, cached }).into_response();
    respond::add_headers(response.headers_mut(), Audience::Private, &fetched.status);
    Ok(response)
}
