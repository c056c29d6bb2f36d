//! What every route shares, and the two ways in which routes touch data: cached reads and writes that can't be torn.

use std::future::Future;
use std::ops::Deref;
use std::sync::Arc;

use axum::response::{IntoResponse, Response};
use http::StatusCode;
use larder::{Cache, ErrorKind, Event, Key, Policy, Tenant};
use larder_http::{Audience, Conditions, Problem, Rendered, respond};
use larder_outbox::{Changes, Outbox};
use serde::Serialize;
use tokio_util::task::TaskTracker;

use crate::ai::Generator;
use crate::auth::{Passwords, Throttle, Tokens};
use crate::db::{Db, DbError, Tx};
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
    /// What has changed, until everybody knows.
    pub outbox: Outbox,
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

    /// Begins the transaction of a write of this tenant.
    ///
    /// # Errors
    /// Where no connection is free in time or the database is out of reach.
    ///
    /// # Cancel safety
    /// Cancelled, nothing was begun.
    pub async fn begin(&self, tenant: &Tenant) -> Result<Write, Problem> {
        Ok(Write { tx: self.db.begin().await?, changes: self.outbox.changes(tenant) })
    }

    /// Publishes what has changed elsewhere, where no transaction of ours could hold it. It stands in the outbox as soon as
    /// that is possible; if that fails, it is published all the same.
    ///
    /// # Cancel safety
    /// Not to be cancelled: call it within [`App::write`].
    pub async fn changed_elsewhere(&self, tenant: &Tenant, event: Event) {
        let kept = async {
            let mut write = self.begin(tenant).await?;
            write.emit(event.clone()).await?;
            write.commit().await
        };
        if let Err(problem) = kept.await {
            tracing::error!(kind = event.kind(), %problem, "a change is not in the outbox");
            let kind = event.kind().to_owned();
            told(&kind, tenant.publish(event).await.map(drop));
        }
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

/// A write: a transaction, and the events that commit with it.
#[derive(Debug)]
#[must_use = "dropped without a commit, nothing is written"]
pub struct Write {
    tx: Tx,
    changes: Changes,
}

impl Write {
    /// The transaction.
    pub fn tx(&mut self) -> &mut Tx {
        &mut self.tx
    }

    /// Adds an event: after the statement that makes the change, so that two changes of one row are told in their order.
    ///
    /// # Errors
    /// Where the database refuses.
    ///
    /// # Cancel safety
    /// Cancelled, it may be written: drop this.
    pub async fn emit(&mut self, event: Event) -> Result<(), Problem> {
        self.emit_all([event]).await
    }

    /// The same for several, in their order, by one statement.
    ///
    /// # Errors
    /// Where the database refuses.
    ///
    /// # Cancel safety
    /// As [`Write::emit`].
    pub async fn emit_all(&mut self, events: impl IntoIterator<Item = Event> + Send) -> Result<(), Problem> {
        self.changes.emit_all(self.tx.outbox(), events).await.map_err(DbError::of_outbox)
    }

    /// Makes it last, then invalidates and publishes. From its return on this node serves nothing of before.
    ///
    /// Nothing that happens after the commit can fail the write. An invalidation that has to wait for Redis is in force on
    /// this node; the outbox has it, and delivers it to the others whatever becomes of this process.
    ///
    /// # Errors
    /// Where the database refuses or is out of reach; then nothing was written, as far as anyone can tell.
    ///
    /// # Cancel safety
    /// Not to be cancelled: call it within [`App::write`].
    pub async fn commit(self) -> Result<(), Problem> {
        self.tx.commit().await?;
        told("write", self.changes.publish().await);
        Ok(())
    }
}

fn told(kind: &str, outcome: Result<(), larder::Error>) {
    match outcome {
        Ok(()) => {}
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
