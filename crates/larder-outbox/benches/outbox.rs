//! What does an outbox cost? Beside a bare insert, which is its rival, on PostgreSQL and SQLite:
//!
//! | question | how |
//! | --- | --- |
//! | a change | one row in a transaction of its own, by one writer and by eight: bare; with `emit`; with `emit` and `publish`; with a trigger |
//! | the relay | 20,000 rows of 100 tenants, and of one, that nobody published: until the table is empty |
//!
//! `cargo bench -p larder-outbox --bench outbox`. PostgreSQL is one of its own with `fsync` as its tests have it (off); what an
//! event adds is what it writes and asks, not what the disk takes. SQLite is in WAL mode with `synchronous = NORMAL`. The cache has no Redis.

#![expect(clippy::unwrap_used, reason = "a benchmark fails where it cannot go on")]
#![expect(clippy::print_stdout, reason = "it is what it is for")]

use std::time::{Duration, Instant};

use larder::{Cache, Event, tag};
use larder_outbox::{Dialect, Outbox, Trigger, emit, schema};
use larder_testkit::PostgresServer;
use sqlx::any::{AnyPoolOptions, install_default_drivers};
use sqlx::{AnyPool, AssertSqlSafe};

const CHANGES: usize = 2000;
const ROWS: u64 = 20_000;
const WRITERS: usize = 8;

/// How a change is made.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Way {
    Bare,
    Emit,
    EmitAndPublish,
    Trigger,
}

struct Database {
    name: &'static str,
    dialect: Dialect,
    pool: AnyPool,
}

#[tokio::main(flavor = "multi_thread", worker_threads = 2)]
async fn main() {
    install_default_drivers();
    let server = PostgresServer::start();
    let home = tempfile::tempdir().unwrap();
    let postgres = AnyPoolOptions::new().max_connections(20).connect(&server.fresh_database()).await.unwrap();
    let file = format!("sqlite://{}?mode=rwc", home.path().join("outbox.db").display());
    let sqlite = AnyPoolOptions::new().max_connections(1).connect(&file).await.unwrap();
    for pragma in ["PRAGMA journal_mode = WAL", "PRAGMA synchronous = NORMAL", "PRAGMA busy_timeout = 30000"]
    {
        sqlx::raw_sql(pragma).execute(&sqlite).await.unwrap();
    }
    for database in [
        Database { name: "PostgreSQL", dialect: Dialect::Postgres, pool: postgres },
        Database { name: "SQLite", dialect: Dialect::Sqlite, pool: sqlite },
    ] {
        database.prepare().await;
        for writers in [1, WRITERS] {
            let bare = database.changes(Way::Bare, writers).await;
            for way in [Way::Emit, Way::EmitAndPublish, Way::Trigger] {
                let with = database.changes(way, writers).await;
                println!(
                    "{}, {writers} writers, {way:?}: a change takes {:.0} us in the median and {:.0} at p99; bare {:.0} and {:.0}",
                    database.name, with.0, with.1, bare.0, bare.1
                );
            }
        }
        for tenants in [100, 1] {
            database.relay(tenants).await;
        }
    }
}

impl Database {
    async fn run(&self, sql: &str) {
        sqlx::raw_sql(AssertSqlSafe(sql)).execute(&self.pool).await.unwrap();
    }

    async fn prepare(&self) {
        self.run(schema::of(self.dialect)).await;
        for table in ["things", "watched"] {
            self.run(&format!("CREATE TABLE {table} (tenant TEXT, name TEXT)")).await;
        }
        let trigger =
            Trigger::on("watched").tenant_column("tenant").key_column("name").each_tag("thing-{key}");
        let sql = match self.dialect {
            Dialect::Postgres => trigger.postgres(),
            Dialect::Sqlite => trigger.sqlite(),
        };
        self.run(&sql.unwrap()).await;
    }

    /// Median and 99th percentile in microseconds, of what the application waits for.
    async fn changes(&self, way: Way, writers: usize) -> (f64, f64) {
        let cache = Cache::builder("bench").build().await.unwrap();
        // Nobody relays meanwhile, but where it belongs to the question.
        let outbox = (way == Way::EmitAndPublish).then(|| Outbox::builder(&cache, self.pool.clone()).start());
        let mut running = tokio::task::JoinSet::new();
        for writer in 0..writers {
            let (pool, tenant, outbox) =
                (self.pool.clone(), cache.tenant(format!("t{writer}").as_str()), outbox.clone());
            running.spawn(async move {
                let mut took = Vec::new();
                for number in 0..CHANGES / writers {
                    let begun = Instant::now();
                    change(&pool, way, &tenant, outbox.as_ref(), number).await;
                    took.push(begun.elapsed().as_secs_f64() * 1e6);
                }
                took
            });
        }
        let mut took: Vec<f64> = running.join_all().await.into_iter().flatten().collect();
        took.sort_by(f64::total_cmp);
        if let Some(outbox) = outbox {
            outbox.shutdown().await;
        }
        cache.shutdown().await;
        self.run("DELETE FROM larder_outbox").await;
        (took[took.len() / 2], took[took.len() * 99 / 100])
    }

    /// Rows that nobody has published, until none is left.
    async fn relay(&self, tenants: u64) {
        let insert = format!(
            "WITH RECURSIVE n (i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < {ROWS}) \
             INSERT INTO larder_outbox (tenant, kind, entity, data, invalidates) \
             SELECT 't' || (i % {tenants}), 'thing.changed', CAST(i AS TEXT), '{{\"n\":1}}', '[{{\"tag\":\"things\"}}]' FROM n"
        );
        self.run(&insert).await;
        let cache = Cache::builder("bench").build().await.unwrap();
        let begun = Instant::now();
        let outbox = Outbox::builder(&cache, self.pool.clone()).start();
        loop {
            let left: i64 =
                sqlx::query_scalar("SELECT COUNT(*) FROM larder_outbox").fetch_one(&self.pool).await.unwrap();
            if left == 0 {
                break;
            }
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
        let took = begun.elapsed().as_secs_f64();
        let relayed = outbox.stats().relayed;
        println!(
            "{}, {ROWS} rows of {tenants} tenants: relayed in {took:.2} s, {:.0} a second ({relayed} counted)",
            self.name,
            20_000.0 / took
        );
        assert_eq!(relayed, ROWS);
        outbox.shutdown().await;
        cache.shutdown().await;
    }
}

async fn change(pool: &AnyPool, way: Way, tenant: &larder::Tenant, outbox: Option<&Outbox>, number: usize) {
    let table = if way == Way::Trigger { "watched" } else { "things" };
    let mut changes = outbox.map(|outbox| outbox.changes(tenant));
    let mut tx = pool.begin().await.unwrap();
    let sql = format!("INSERT INTO {table} VALUES ('t', '{number}')");
    sqlx::raw_sql(AssertSqlSafe(sql)).execute(&mut *tx).await.unwrap();
    let event = || Event::new("thing.changed").id(number.to_string()).invalidates([tag("things")]);
    match &mut changes {
        Some(changes) => changes.emit(&mut *tx, event()).await.unwrap(),
        None if way == Way::Emit => emit(&mut *tx, tenant.name(), &event()).await.unwrap(),
        None => {}
    }
    tx.commit().await.unwrap();
    if let Some(changes) = changes {
        changes.publish().await.unwrap();
    }
}
