//! What every route shares.

use std::future::Future;
use std::ops::Deref;
use std::sync::Arc;

use larder::{Cache, Event, Policy, Tenant};
use larder_http::Problem;
use larder_outbox::Outbox;
use tokio_util::task::TaskTracker;

use crate::ai::Generator;
use crate::auth::{Passwords, Throttle, Tokens};
use crate::db::Db;
use crate::seller::Upstream;
use crate::ttl::{Endpoint, Policies};
use crate::write::{Write, told};

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
        Ok(Write::new(self.db.begin().await?, self.outbox.changes(tenant)))
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
