//! Databases for tests, spoken to as a person at a terminal would.

use larder::{Cache, EventLog, Position, Replay};
use larder_outbox::{Dialect, Outbox, OutboxBuilder, schema};
use larder_testkit::{PostgresServer, RedisServer, assert_eventually};
use sqlx::any::install_default_drivers;
use sqlx::{AnyPool, AssertSqlSafe, Row};
use std::sync::Arc;
use tempfile::TempDir;

/// A database with the tables of the outbox.
pub(crate) struct Database {
    pub(crate) url: String,
    pub(crate) dialect: Dialect,
    pub(crate) pool: AnyPool,
    server: Option<Arc<PostgresServer>>,
    _home: Option<TempDir>,
}

impl Database {
    pub(crate) async fn postgres() -> Self {
        Self::postgres_on(PostgresServer::shared()).await
    }

    pub(crate) async fn postgres_on(server: Arc<PostgresServer>) -> Self {
        let url = server.fresh_database();
        server.execute(&url, schema::POSTGRES);
        let pool = pool(&url).await;
        Self { url, dialect: Dialect::Postgres, pool, server: Some(server), _home: None }
    }

    pub(crate) async fn sqlite() -> Self {
        let home = tempfile::tempdir().unwrap();
        let url = format!("sqlite://{}?mode=rwc", home.path().join("outbox.db").display());
        let pool = pool(&url).await;
        for pragma in ["PRAGMA journal_mode = WAL", "PRAGMA busy_timeout = 30000"] {
            sqlx::raw_sql(pragma).execute(&pool).await.unwrap();
        }
        sqlx::raw_sql(schema::SQLITE).execute(&pool).await.unwrap();
        Self { url, dialect: Dialect::Sqlite, pool, server: None, _home: Some(home) }
    }

    /// Runs SQL as somebody who does not know of larder: by psql, or on a connection of its own.
    pub(crate) async fn run(&self, sql: &str) -> String {
        match &self.server {
            Some(server) => server.execute(&self.url, sql),
            None => {
                let rows = sqlx::raw_sql(AssertSqlSafe(sql)).fetch_all(&self.pool).await.unwrap();
                let line = |row: &sqlx::any::AnyRow| {
                    let cells = (0..row.len()).map(|at| row.try_get::<Option<String>, _>(at).unwrap());
                    cells.map(Option::unwrap_or_default).collect::<Vec<_>>().join("|")
                };
                rows.iter().map(line).collect::<Vec<_>>().join("\n")
            }
        }
    }

    /// What waits in the outbox: tenant, kind and keys, and empties it.
    pub(crate) async fn written(&self) -> Vec<String> {
        let rows = self.run("SELECT tenant, kind, data FROM larder_outbox ORDER BY id").await;
        self.run("DELETE FROM larder_outbox").await;
        rows.lines()
            .map(|line| {
                let mut cells = line.splitn(3, '|');
                let (tenant, kind) = (cells.next().unwrap(), cells.next().unwrap());
                let data: serde_json::Value = serde_json::from_str(cells.next().unwrap()).unwrap();
                format!("{tenant} {kind} {}", data["keys"])
            })
            .collect()
    }
}

async fn pool(url: &str) -> AnyPool {
    install_default_drivers();
    // One connection: SQLite has one writer anyway.
    let most = if url.starts_with("sqlite") { 1 } else { 10 };
    sqlx::any::AnyPoolOptions::new().max_connections(most).connect(url).await.unwrap()
}

/// The same test on SQLite and PostgreSQL.
macro_rules! on_each_database {
    ($name:ident, $test:expr) => {
        mod $name {
            use super::*;

            #[tokio::test]
            async fn on_sqlite() {
                ($test)($crate::support::Database::sqlite().await).await
            }

            #[tokio::test]
            async fn on_postgres() {
                ($test)($crate::support::Database::postgres().await).await
            }
        }
    };
}
pub(crate) use on_each_database;

/// How long something may take on a busy machine.
pub(crate) const SOON: std::time::Duration = std::time::Duration::from_secs(30);

/// The events of a cache: tenant, id and kind.
pub(crate) struct Heard(larder::EventStream);

impl Heard {
    pub(crate) fn of(cache: &Cache) -> Self {
        Self(cache.subscribe())
    }

    pub(crate) async fn take(&mut self, count: usize) -> Vec<(String, String, String)> {
        let mut heard = Vec::new();
        while heard.len() < count {
            let next = tokio::time::timeout(SOON, self.0.next()).await;
            match next.unwrap_or_else(|_| panic!("{} of {count} came: {heard:?}", heard.len())) {
                Some(larder::Next::Event(event)) => heard.push((
                    event.tenant().to_owned(),
                    event.changed_id().unwrap_or_default().to_owned(),
                    event.kind().to_owned(),
                )),
                other => panic!("{other:?}"),
            }
        }
        heard
    }

    /// To be called when whoever publishes has stopped.
    pub(crate) async fn nothing_more(&mut self) {
        use futures_util::FutureExt;
        assert!(self.0.next().now_or_never().is_none(), "an event came twice");
    }
}

/// A process of its own as far as its tasks and connections are concerned: it can be killed.
pub(crate) struct Process {
    runtime: Option<tokio::runtime::Runtime>,
    pub(crate) cache: Cache,
    pub(crate) outbox: Outbox,
}

impl Process {
    /// With a cache of its own, which uses a Redis if one is given.
    pub(crate) async fn start(database: &Database, redis: Option<&RedisServer>) -> Self {
        let redis = redis.map(RedisServer::url);
        let cache = async move {
            let mut cache = Cache::builder("test");
            if let Some(redis) = &redis {
                cache = cache.redis(redis.as_str());
            }
            let cache = cache.build().await.unwrap();
            cache.ready().await;
            cache
        };
        Self::run(database, cache, |outbox| outbox).await
    }

    /// With the cache of another, so that both have one log.
    pub(crate) async fn beside(
        database: &Database,
        cache: &Cache,
        set: impl FnOnce(OutboxBuilder) -> OutboxBuilder + Send + 'static,
    ) -> Self {
        let cache = cache.clone();
        Self::run(database, async move { cache }, set).await
    }

    async fn run(
        database: &Database,
        cache: impl Future<Output = Cache> + Send + 'static,
        set: impl FnOnce(OutboxBuilder) -> OutboxBuilder + Send + 'static,
    ) -> Self {
        let runtime =
            tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build().unwrap();
        let url = database.url.clone();
        let parts = runtime.spawn(async move {
            let (pool, cache) = (pool(&url).await, cache.await);
            (cache.clone(), set(Outbox::builder(&cache, pool)).start())
        });
        let (cache, outbox) = parts.await.unwrap();
        Self { runtime: Some(runtime), cache, outbox }
    }

    /// All its tasks are dropped wherever they are, and its connections with them.
    pub(crate) fn kill(mut self) {
        self.runtime.take().unwrap().shutdown_background();
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        if let Some(runtime) = self.runtime.take() {
            runtime.shutdown_background();
        }
    }
}

/// A tenant's log from some place on.
pub(crate) struct Log {
    log: EventLog,
    tenant: &'static str,
    from: Position,
}

impl Log {
    /// What comes from now on.
    pub(crate) async fn of(cache: &Cache, tenant: &'static str) -> Self {
        let log = cache.event_log();
        let from = log.head(tenant).await.unwrap();
        Self { log, tenant, from }
    }

    /// The data of all events that have come, which are numbers.
    pub(crate) async fn numbers(&self) -> Vec<u64> {
        let (mut from, mut numbers) = (self.from.clone(), Vec::new());
        loop {
            let replay = self.log.after(self.tenant, &from, 1_000, 4 << 20).await.unwrap();
            let Replay::Events { events, more, .. } = replay else { panic!("{replay:?}") };
            for event in &events {
                let json: serde_json::Value = serde_json::from_slice(event.json()).unwrap();
                numbers.push(json["data"].as_u64().unwrap());
                from = event.position().clone();
            }
            if !more {
                return numbers;
            }
        }
    }

    /// Waits until so many have come: they are the numbers from 0 on, in their order, each once.
    pub(crate) async fn holds(&self, count: u64) {
        assert_eventually!(
            u64::try_from(self.numbers().await.len()).unwrap() >= count,
            SOON,
            "{count} events are in the log"
        );
        assert_eq!(self.numbers().await, (0..count).collect::<Vec<_>>());
    }
}
