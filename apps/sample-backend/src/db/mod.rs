//! One database, SQLite or PostgreSQL, behind the same SQL.
//!
//! Statements are written with `$1` placeholders, which both understand; ids are text, times and money are `BIGINT`,
//! and sums are cast, since PostgreSQL widens them to a type that only it has.
//! SQLite has one connection that writes and others that only read, PostgreSQL has one pool for both.

mod alone;
mod bulk;
mod error;
mod migrate;
mod pool;
mod pooled;

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use larder_http::ops::PoolUse;
use sqlx::AnyPool;
use sqlx::{Any, AnyConnection, Transaction};

pub use alone::Claim;
pub use bulk::{Arg, Bulk};
pub use error::{DbError, StartError, redacted};
pub use pooled::Pooled;

use crate::config::DatabaseConfig;
use pooled::Waits;

/// What kind of database it is, for the few statements that differ.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Dialect {
    /// SQLite.
    Sqlite,
    /// PostgreSQL.
    Postgres,
}

/// The database. Cheap to clone; clones share connections.
#[derive(Debug, Clone)]
pub struct Db {
    dialect: Dialect,
    read: AnyPool,
    /// The same pool as `read` on PostgreSQL, a single connection on SQLite.
    write: AnyPool,
    statements: Arc<AtomicU64>,
    waits: Arc<Waits>,
}

impl Db {
    /// Opens the database, creates it where it is a file that is missing, and brings its tables up to date.
    ///
    /// # Errors
    /// [`StartError`] where it can't be reached or its tables were made by a newer version.
    ///
    /// # Cancel safety
    /// Cancelled, the tables are as they were, or up to date.
    pub async fn open(config: &DatabaseConfig) -> Result<Self, StartError> {
        let (dialect, read, write) = pool::open(config).await?;
        let db = Self { dialect, read, write, statements: Arc::default(), waits: Arc::default() };
        migrate::run(&db).await.map_err(|e| StartError::migrate(&config.url, e))?;
        Ok(db)
    }

    /// A connection for one statement that reads; it is counted.
    #[must_use]
    pub fn read(&self) -> Pooled<'_> {
        self.pooled(&self.read)
    }

    /// A connection for one statement that writes; it is counted.
    #[must_use]
    pub fn write(&self) -> Pooled<'_> {
        self.pooled(&self.write)
    }

    fn pooled<'a>(&'a self, pool: &'a AnyPool) -> Pooled<'a> {
        self.statements.fetch_add(1, Ordering::Relaxed);
        Pooled { pool, waits: &self.waits }
    }

    /// The pool that writes, for the outbox: its statements are not counted.
    #[must_use]
    pub fn outbox_pool(&self) -> AnyPool {
        self.write.clone()
    }

    /// Begins a transaction that writes. Dropped without [`Tx::commit`], it leaves nothing behind.
    ///
    /// # Errors
    /// Where no connection is free in time or the database is out of reach.
    ///
    /// # Cancel safety
    /// Cancelled, nothing was begun.
    pub async fn begin(&self) -> Result<Tx, DbError> {
        // SQLite: take the write lock now; a transaction that reads first can't be promoted once another has written.
        let statement = match self.dialect {
            Dialect::Sqlite => "BEGIN IMMEDIATE",
            Dialect::Postgres => "BEGIN",
        };
        let inner = self.waits.during(self.write.begin_with(statement)).await?;
        Ok(Tx { inner, dialect: self.dialect, statements: Arc::clone(&self.statements) })
    }

    /// Asks the database for a sign of life.
    ///
    /// # Errors
    /// Where it doesn't answer.
    ///
    /// # Cancel safety
    /// Nothing is left behind.
    pub async fn ping(&self) -> Result<(), DbError> {
        sqlx::query("SELECT 1").execute(&self.read).await?;
        Ok(())
    }

    /// SQLite or PostgreSQL.
    #[must_use]
    pub fn dialect(&self) -> Dialect {
        self.dialect
    }

    /// Statements sent since the start.
    #[must_use]
    pub fn statements(&self) -> u64 {
        self.statements.load(Ordering::Relaxed)
    }

    /// How the connections are used at this moment. What the outbox waits for is not among `waiting`.
    #[must_use]
    pub fn pool_use(&self) -> PoolUse {
        let mut pools = vec![&self.read];
        if self.dialect == Dialect::Sqlite {
            pools.push(&self.write);
        }
        let (waiting, timeouts) = (self.waits.waiting(), self.waits.timeouts());
        pools.into_iter().fold(PoolUse { open: 0, idle: 0, max: 0, waiting, timeouts }, |sum, pool| PoolUse {
            open: sum.open + pool.size(),
            idle: sum.idle + u32::try_from(pool.num_idle()).unwrap_or(u32::MAX),
            max: sum.max + pool.options().get_max_connections(),
            ..sum
        })
    }

    /// How many connections the server has for users like this one; `None` on SQLite, which has no such bound.
    ///
    /// # Errors
    /// Where it doesn't answer.
    ///
    /// # Cancel safety
    /// Nothing is left behind.
    pub async fn server_connections(&self) -> Result<Option<i64>, DbError> {
        if self.dialect == Dialect::Sqlite {
            return Ok(None);
        }
        let kept_back = "current_setting('superuser_reserved_connections')";
        let statement = format!("SELECT current_setting('max_connections')::BIGINT - {kept_back}::BIGINT");
        let row = sqlx::query(sqlx::AssertSqlSafe(statement)).fetch_one(self.read()).await?;
        Ok(Some(sqlx::Row::try_get(&row, 0)?))
    }

    /// After many rows were written: tells the planner what is there, and on SQLite moves it all from the log into the
    /// file, since every read would look it up in both.
    ///
    /// # Errors
    /// Where the database is out of reach.
    ///
    /// # Cancel safety
    /// It may be called again.
    pub async fn compact(&self) -> Result<(), DbError> {
        sqlx::raw_sql("ANALYZE").execute(self.write()).await?;
        if self.dialect == Dialect::Sqlite {
            sqlx::raw_sql("PRAGMA wal_checkpoint(TRUNCATE)").execute(self.write()).await?;
        }
        Ok(())
    }

    /// Closes all connections after their work is done.
    ///
    /// # Cancel safety
    /// It may be called again.
    pub async fn close(&self) {
        self.read.close().await;
        self.write.close().await;
    }
}

/// A transaction that writes.
#[derive(Debug)]
pub struct Tx {
    inner: Transaction<'static, Any>,
    dialect: Dialect,
    statements: Arc<AtomicU64>,
}

impl Tx {
    /// The connection, for one statement; it is counted.
    pub fn conn(&mut self) -> &mut AnyConnection {
        self.statements.fetch_add(1, Ordering::Relaxed);
        &mut self.inner
    }

    /// The connection, for the outbox: its statements are not counted.
    pub(crate) fn outbox(&mut self) -> &mut AnyConnection {
        &mut self.inner
    }

    /// SQLite or PostgreSQL.
    #[must_use]
    pub fn dialect(&self) -> Dialect {
        self.dialect
    }

    /// Waits until no other transaction holds this lock, and holds it to the end of this one.
    ///
    /// On SQLite the transaction itself is that lock.
    ///
    /// # Errors
    /// Where the database is out of reach.
    ///
    /// # Cancel safety
    /// Cancelled, the lock may be held until the transaction ends.
    pub async fn lock(&mut self, lock: i64) -> Result<(), DbError> {
        if self.dialect == Dialect::Postgres {
            sqlx::query("SELECT pg_advisory_xact_lock($1)").bind(lock).execute(self.conn()).await?;
        }
        Ok(())
    }

    /// Makes it last.
    ///
    /// # Errors
    /// Where the database refuses or is out of reach; then nothing was written, as far as anyone can tell.
    ///
    /// # Cancel safety
    /// Cancelled, it was committed or not: nobody knows.
    pub async fn commit(self) -> Result<(), DbError> {
        Ok(self.inner.commit().await?)
    }
}

/// `$first, $first+1, …` for a list of `count` values.
#[must_use]
pub fn placeholders(first: usize, count: usize) -> String {
    let mut text = String::with_capacity(count * 5);
    for i in first..first + count {
        if i > first {
            text.push(',');
        }
        text.push('$');
        text.push_str(&i.to_string());
    }
    text
}
