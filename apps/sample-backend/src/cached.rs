//! How a read is cached: rendered once, and answered from the rendered bytes from then on.

use std::future::Future;
use std::time::Duration;

use axum::response::{IntoResponse, Response};
use http::StatusCode;
use larder::{Key, Policy, Tenant};
use larder_http::{Audience, Conditions, Problem, Rendered, respond};
use serde::Serialize;

tokio::task_local! {
    /// While this is set, cached reads load what has no more fresh time left than this, instead of answering with it.
    pub(crate) static REFRESH: Duration;
}

/// A cached read: renders what `load` brings once, and answers from the rendered bytes from then on.
///
/// # Errors
/// The problem that the load ended with.
///
/// # Cancel safety
/// Cancelled, a load that was begun goes on for the others that wait for it.
pub async fn cached<T, L, F>(
    scope: (&Tenant, Audience),
    key: Key,
    policy: &Policy,
    conditions: &Conditions,
    load: L,
) -> Result<Response, Problem>
where
    T: Serialize + Send,
    L: FnOnce() -> F + Send + 'static,
    F: Future<Output = Result<T, Problem>> + Send + 'static,
{
    cached_rendered(scope, key, policy, conditions, || async move { render(&load().await?) }).await
}

/// The same for what comes rendered.
///
/// # Errors
/// The problem that the load ended with.
///
/// # Cancel safety
/// As [`cached`].
pub async fn cached_rendered<L, F>(
    (tenant, audience): (&Tenant, Audience),
    key: Key,
    policy: &Policy,
    conditions: &Conditions,
    load: L,
) -> Result<Response, Problem>
where
    L: FnOnce() -> F + Send + 'static,
    F: Future<Output = Result<Rendered, Problem>> + Send + 'static,
{
    if let Ok(below) = REFRESH.try_with(|below| *below) {
        tenant.refresh::<Rendered, _, _, _>(key, policy, below, load).await?;
        return Ok(StatusCode::NO_CONTENT.into_response());
    }
    let fetched = tenant.fetch::<Rendered, _, _, _>(key, policy, load).await?;
    Ok(respond::cached(audience, conditions, &fetched.value, &fetched.status))
}

/// The same where there may be nothing: 404 then.
///
/// # Errors
/// The problem that the load ended with, or 404.
///
/// # Cancel safety
/// As [`cached`].
pub async fn cached_opt<T, L, F>(
    (tenant, audience): (&Tenant, Audience),
    key: Key,
    policy: &Policy,
    conditions: &Conditions,
    load: L,
) -> Result<Response, Problem>
where
    T: Serialize + Send,
    L: FnOnce() -> F + Send + 'static,
    F: Future<Output = Result<Option<T>, Problem>> + Send + 'static,
{
    let rendered = || async move { load().await?.as_ref().map(render).transpose() };
    let (value, status) = tenant.fetch_opt::<Rendered, _, _, _>(key, policy, rendered).await?;
    let value = value.ok_or_else(Problem::not_found)?;
    Ok(respond::cached(audience, conditions, &value, &status))
}

/// Renders an answer once.
///
/// # Errors
/// 500 where it can't be JSON.
pub(crate) fn render<T: Serialize>(value: &T) -> Result<Rendered, Problem> {
    Rendered::json(value).map_err(|error| {
        tracing::error!(%error, "an answer can't be rendered");
        Problem::internal()
    })
}
