//! The way to a connection, and how many wait there.

use std::sync::atomic::{AtomicU64, Ordering::Relaxed};

use futures_util::future::BoxFuture;
use futures_util::stream::{self, BoxStream};
use futures_util::{StreamExt, TryFutureExt, TryStreamExt};
use sqlx::any::{AnyQueryResult, AnyRow, AnyStatement, AnyTypeInfo};
use sqlx::pool::PoolConnection;
use sqlx::{Any, AnyPool, Either, Error, Execute, Executor, SqlStr};

/// Who waits for a connection, counted. The outbox has its own way and is not among them.
#[derive(Debug, Default)]
pub(super) struct Waits {
    waiting: AtomicU64,
    timeouts: AtomicU64,
}

/// One who waits. Dropped, it does so no longer.
struct Waiting<'a>(&'a Waits);

impl Drop for Waiting<'_> {
    fn drop(&mut self) {
        self.0.waiting.fetch_sub(1, Relaxed);
    }
}

impl Waits {
    /// Waits for what a pool is asked for.
    pub(super) async fn during<T>(&self, asked: impl Future<Output = Result<T, Error>>) -> Result<T, Error> {
        self.waiting.fetch_add(1, Relaxed);
        let _until_it_is_there = Waiting(self);
        let answer = asked.await;
        if matches!(answer, Err(Error::PoolTimedOut)) {
            self.timeouts.fetch_add(1, Relaxed);
        }
        answer
    }

    pub(super) fn waiting(&self) -> u64 {
        self.waiting.load(Relaxed)
    }

    pub(super) fn timeouts(&self) -> u64 {
        self.timeouts.load(Relaxed)
    }
}

/// A connection of a pool for one statement, which waits for it.
#[derive(Debug, Clone, Copy)]
pub struct Pooled<'a> {
    pub(super) pool: &'a AnyPool,
    pub(super) waits: &'a Waits,
}

impl Pooled<'_> {
    /// The connection itself.
    pub(super) async fn acquire(self) -> Result<PoolConnection<Any>, Error> {
        self.waits.during(self.pool.acquire()).await
    }
}

impl<'c> Executor<'c> for Pooled<'c> {
    type Database = Any;

    fn execute<'e, 'q: 'e, E>(self, query: E) -> BoxFuture<'e, Result<AnyQueryResult, Error>>
    where
        'c: 'e,
        E: 'q + Execute<'q, Any>,
    {
        Box::pin(async move { self.acquire().await?.execute(query).await })
    }

    fn fetch_many<'e, 'q: 'e, E>(
        self,
        query: E,
    ) -> BoxStream<'e, Result<Either<AnyQueryResult, AnyRow>, Error>>
    where
        'c: 'e,
        E: 'q + Execute<'q, Any>,
    {
        let all = async move {
            let mut connection = self.acquire().await?;
            connection.fetch_many(query).try_collect::<Vec<_>>().await
        };
        all.map_ok(|steps| stream::iter(steps.into_iter().map(Ok))).try_flatten_stream().boxed()
    }

    fn fetch_all<'e, 'q: 'e, E>(self, query: E) -> BoxFuture<'e, Result<Vec<AnyRow>, Error>>
    where
        'c: 'e,
        E: 'q + Execute<'q, Any>,
    {
        Box::pin(async move { self.acquire().await?.fetch_all(query).await })
    }

    fn fetch_optional<'e, 'q: 'e, E>(self, query: E) -> BoxFuture<'e, Result<Option<AnyRow>, Error>>
    where
        'c: 'e,
        E: 'q + Execute<'q, Any>,
    {
        Box::pin(async move { self.acquire().await?.fetch_optional(query).await })
    }

    fn prepare_with<'e>(
        self,
        sql: SqlStr,
        parameters: &'e [AnyTypeInfo],
    ) -> BoxFuture<'e, Result<AnyStatement, Error>>
    where
        'c: 'e,
    {
        Box::pin(async move { self.acquire().await?.prepare_with(sql, parameters).await })
    }
}
