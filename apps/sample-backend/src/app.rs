//! What every route shares, and the two ways in which routes touch data: cached reads and writes that can't be torn.

use std::future::Future;
use std::ops::Deref;
use std::sync::Arc;

use axum::response::{IntoResponse, Response};
use http::StatusCode;
use larder::{Cache, ErrorKind, Event, Key, Policy, Tenant};
use larder_http::{Audience, Conditions, Problem, Rendered, respond};
use serde::Serialize;
use tokio_util::task::TaskTracker;

use crate::ai::Generator;
use crate::auth::{Passwords, Throttle, Tokens};
use crate::db::Db;
use crate::seller::Upstream;
use crate::ttl::{Endpoint, Policies};
use crate::warm::REFRESH;

/// What every route shares. Cheap to clone.
#[derive(Debug, Clone)]
pub struct App(Arc<Parts>);

/// The parts of an [`App`].
#[derive(Debug)]
pub struct Parts {
    /// The database.
    pub db: Db,
    /// The cache.
    pub cache: Cache,
    /// Issues and verifies tokens. Behind its own reference count, since the program's other routes use it too.
    pub tokens: Arc<Tokens>,
    /// Hashes and verifies passwords.
    pub passwords: Passwords,
    /// Limits log-ins.
    pub throttle: Throttle,
    /// How long what is kept.
    pub policies: Policies,
    /// The source of the seller dashboard.
    pub seller: Upstream,
    /// The text generator, if there is one.
    pub ai: Option<Generator>,
    /// Writes that were begun and must be finished.
    pub writes: TaskTracker,
}

impl Deref for App {
    type Target = Parts;

    fn deref(&self) -> &Parts {
        &self.0
    }
}

impl App {
    /// Puts the parts together.
    #[must_use]
    pub fn new(parts: Parts) -> Self {
        Self(Arc::new(parts))
    }

    /// The policy of an endpoint.
    #[must_use]
    pub fn policy(&self, endpoint: Endpoint) -> &Policy {
        self.policies.of(endpoint)
    }

    /// Does a write (commit, invalidate, publish) in a task of its own: a client that goes away in the middle leaves
    /// no committed row with a stale cache behind. Shutdown waits for it.
    ///
    /// # Errors
    /// The problem that `work` ended with; 500 where it panicked.
    ///
    /// # Cancel safety
    /// Cancelled, the work goes on to its end.
    pub async fn write<T, W>(&self, work: W) -> Result<T, Problem>
    where
        T: Send + 'static,
        W: Future<Output = Result<T, Problem>> + Send + 'static,
    {
        match self.writes.spawn(work).await {
            Ok(result) => result,
            Err(error) => {
                tracing::error!(%error, "a write did not end");
                Err(Problem::internal())
            }
        }
    }
}

/// Publishes what a committed write has changed; what the event names is invalidated first.
///
/// Nothing that happens here can fail the write: it is committed. An invalidation that has to wait for Redis is in
/// force on this node and delivered to the others later.
///
/// # Cancel safety
/// Not to be cancelled between the commit and its return: call it within [`App::write`].
pub async fn changed(tenant: &Tenant, event: Event) {
    let kind = event.kind().to_owned();
    match tenant.publish(event).await {
        Ok(_) => {}
        Err(error) if error.kind() == ErrorKind::Deferred => {
            tracing::warn!(kind, "invalidation deferred: Redis is out of reach");
        }
        Err(error) => tracing::error!(kind, %error, "an invalidation failed"),
    }
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
