//! A write that can't be torn: what has changed commits with the change, and is told after it.

use larder::{ErrorKind, Event};
use larder_http::Problem;
use larder_outbox::Changes;

use crate::db::{DbError, Tx};

/// A write: a transaction, and the events that commit with it.
#[derive(Debug)]
#[must_use = "dropped without a commit, nothing is written"]
pub struct Write {
    tx: Tx,
    changes: Changes,
}

impl Write {
    pub(crate) fn new(tx: Tx, changes: Changes) -> Self {
        Self { tx, changes }
    }

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
    /// Not to be cancelled: call it within [`App::write`](crate::app::App::write).
    pub async fn commit(self) -> Result<(), Problem> {
        self.tx.commit().await?;
        told("write", self.changes.publish().await);
        Ok(())
    }
}

/// Says what became of a change that is committed.
pub(crate) fn told(kind: &str, outcome: Result<(), larder::Error>) {
    match outcome {
        Ok(()) => {}
        Err(error) if error.kind() == ErrorKind::Deferred => {
            tracing::warn!(kind, "invalidation deferred: Redis is out of reach");
        }
        Err(error) => tracing::error!(kind, %error, "an invalidation failed"),
    }
}
