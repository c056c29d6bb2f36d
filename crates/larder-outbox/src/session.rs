//! Connections, of whichever database: the same code for sqlx's `Postgres`, `Sqlite` and `Any`.
//!
//! All arguments and all columns are text here, and statements cast. It costs next to nothing beside the round trip, and
//! leaves one way in which the three drivers are spoken to.

use futures_util::future::BoxFuture;
use std::fmt;

/// Rows, their columns as text.
pub(crate) type Cells = Vec<Option<String>>;

/// What kind of database it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Dialect {
    /// PostgreSQL.
    Postgres,
    /// SQLite.
    Sqlite,
}

pub(crate) mod sealed {
    pub trait Sealed {}
}

/// A connection that rows are written by: `PgConnection`, `SqliteConnection`, `AnyConnection`, or a transaction of sqlx
/// (pass `&mut *tx`).
///
/// Implemented by this crate alone.
#[diagnostic::on_unimplemented(
    message = "`{Self}` is no connection that an outbox can be written by",
    note = "pass `&mut *tx` of a transaction, or a `&mut PgConnection`, `&mut SqliteConnection` or `&mut AnyConnection`",
    note = "they are behind the features `postgres`, `sqlite` and `any` of larder-outbox"
)]
pub trait Session: Send + sealed::Sealed {
    /// What it speaks to; `None` if that is neither PostgreSQL nor SQLite.
    #[doc(hidden)]
    fn dialect(&self) -> Option<Dialect>;

    /// Runs one statement and returns its rows.
    #[doc(hidden)]
    fn ask<'c>(
        &'c mut self,
        sql: &'static str,
        arguments: Vec<Option<String>>,
    ) -> BoxFuture<'c, Result<Vec<Cells>, sqlx::Error>>;
}

/// A pool that the relay takes connections from: `PgPool`, `SqlitePool` or `AnyPool`.
///
/// Implemented by this crate alone.
#[diagnostic::on_unimplemented(
    message = "`{Self}` is no pool that an outbox can be relayed by",
    note = "pass a `PgPool`, `SqlitePool` or `AnyPool`; they are behind the features `postgres`, `sqlite` and `any`"
)]
pub trait ConnectionPool: fmt::Debug + Send + Sync + sealed::Sealed + 'static {
    /// A connection.
    #[doc(hidden)]
    fn lend(&self) -> BoxFuture<'_, Result<Box<dyn Lent>, sqlx::Error>>;
}

/// A connection of a pool.
#[doc(hidden)]
pub trait Lent: Send {
    fn session(&mut self) -> &mut dyn Session;

    /// Takes it out of the pool for good.
    fn keep(self: Box<Self>) -> Box<dyn Session>;
}

macro_rules! driver {
    ($feature:literal, $database:ident, $connection:ident, $dialect:expr) => {
        #[cfg(feature = $feature)]
        const _: () = {
            use sqlx::pool::PoolConnection;
            use sqlx::{Pool, Row, Transaction, $connection, $database};

            impl sealed::Sealed for $connection {}
            impl sealed::Sealed for Transaction<'_, $database> {}
            impl sealed::Sealed for Pool<$database> {}

            impl Session for $connection {
                fn dialect(&self) -> Option<Dialect> {
                    let dialect: fn(&$connection) -> Option<Dialect> = $dialect;
                    dialect(self)
                }

                fn ask<'c>(
                    &'c mut self,
                    sql: &'static str,
                    arguments: Vec<Option<String>>,
                ) -> BoxFuture<'c, Result<Vec<Cells>, sqlx::Error>> {
                    Box::pin(async move {
                        let mut query = sqlx::query::<$database>(sql);
                        for argument in arguments {
                            query = query.bind(argument);
                        }
                        let rows = query.fetch_all(self).await?;
                        rows.iter()
                            .map(|row| (0..row.len()).map(|column| row.try_get(column)).collect())
                            .collect()
                    })
                }
            }

            impl Session for Transaction<'_, $database> {
                fn dialect(&self) -> Option<Dialect> {
                    Session::dialect(&**self)
                }

                fn ask<'c>(
                    &'c mut self,
                    sql: &'static str,
                    arguments: Vec<Option<String>>,
                ) -> BoxFuture<'c, Result<Vec<Cells>, sqlx::Error>> {
                    Session::ask(&mut **self, sql, arguments)
                }
            }

            impl ConnectionPool for Pool<$database> {
                fn lend(&self) -> BoxFuture<'_, Result<Box<dyn Lent>, sqlx::Error>> {
                    Box::pin(async move { Ok(Box::new(self.acquire().await?) as Box<dyn Lent>) })
                }
            }

            impl Lent for PoolConnection<$database> {
                fn session(&mut self) -> &mut dyn Session {
                    &mut **self
                }

                fn keep(self: Box<Self>) -> Box<dyn Session> {
                    Box::new(self.detach())
                }
            }
        };
    };
}

driver!("postgres", Postgres, PgConnection, |_| Some(Dialect::Postgres));
driver!("sqlite", Sqlite, SqliteConnection, |_| Some(Dialect::Sqlite));
driver!("any", Any, AnyConnection, |connection| match connection.backend_name() {
    "PostgreSQL" => Some(Dialect::Postgres),
    "SQLite" => Some(Dialect::Sqlite),
    _ => None,
});
