//! What tells the relay that there may be rows. None of it carries anything: whoever is woken looks into the table.

use crate::error::Error;
use crate::session::{Dialect, Session};
use crate::statements::NOTIFY;

/// What PostgreSQL's `NOTIFY` is sent on.
pub const CHANNEL: &str = "larder_outbox";

/// Wakes the relays that [listen](crate::OutboxBuilder::listen), of whichever process, when this transaction commits.
/// Without it they find a row within 250 ms. Does nothing on SQLite.
///
/// Not for databases with many writers: `NOTIFY` has transactions of the whole server wait for each other when they commit.
///
/// # Errors
/// [`ErrorKind::Database`](crate::ErrorKind::Database).
///
/// # Cancel safety
/// Cancelled, they may be woken: that does no harm.
pub async fn wake(connection: &mut dyn Session) -> Result<(), Error> {
    if connection.dialect() == Some(Dialect::Postgres) {
        connection.ask(NOTIFY, Vec::new()).await?;
    }
    Ok(())
}

#[cfg(feature = "postgres")]
pub(crate) use listening::listen;

#[cfg(feature = "postgres")]
mod listening {
    use super::CHANNEL;
    use crate::limits::MAX_BACKOFF;
    use crate::shared::Shared;
    use sqlx::PgPool;
    use sqlx::postgres::PgListener;
    use std::sync::Arc;

    /// Hears `NOTIFY` until it is dropped. What it misses, polling finds.
    pub(crate) async fn listen(shared: Arc<Shared>, pool: PgPool) {
        loop {
            let failed = match hear(&shared, &pool).await {
                Ok(never) => match never {},
                Err(error) => error,
            };
            tracing::debug!(target: "larder::outbox", error = %failed, "LISTEN failed; polling goes on");
            tokio::time::sleep(MAX_BACKOFF).await;
        }
    }

    async fn hear(shared: &Shared, pool: &PgPool) -> Result<std::convert::Infallible, sqlx::Error> {
        let mut listener = PgListener::connect_with(pool).await?;
        listener.listen(CHANNEL).await?;
        loop {
            // `None`: the connection was replaced, and something may have been missed.
            listener.try_recv().await?;
            shared.look();
        }
    }
}
