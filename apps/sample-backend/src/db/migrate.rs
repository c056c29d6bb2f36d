//! Bringing the tables up to date, by one process at a time and all or nothing.

use sqlx::SqlSafeStr;
use sqlx::migrate::{Migration, MigrationType, Migrator};

use super::{Db, Dialect};

/// Every step, in order, for SQLite and PostgreSQL. A step that was released is never changed: a new one is added.
const STEPS: &[(i64, &str, [&str; 2])] = &[
    (1, "initial", [include_str!("../../migrations/0001_initial.sql"); 2]),
    (2, "threats", [include_str!("../../migrations/0002_threats.sql"); 2]),
    (3, "outbox", [larder_outbox::schema::SQLITE, larder_outbox::schema::POSTGRES]),
];

/// The advisory lock on PostgreSQL ("larder" in ASCII).
const LOCK: i64 = 0x6c61_7264_6572;

pub(super) async fn run(db: &Db) -> Result<(), sqlx::migrate::MigrateError> {
    let steps = STEPS
        .iter()
        .map(|&(version, name, [sqlite, postgres])| {
            let sql = match db.dialect() {
                Dialect::Sqlite => sqlite,
                Dialect::Postgres => postgres,
            };
            Migration::new(version, name.into(), MigrationType::Simple, sql.into_sql_str(), false)
        })
        .collect();
    let mut migrator = Migrator::with_migrations(steps);
    // The transaction around all of it is the lock.
    migrator.set_locking(false);
    let mut tx = db.begin().await.map_err(into_migrate)?;
    tx.lock(LOCK).await.map_err(into_migrate)?;
    migrator.run_direct(None, tx.conn(), false).await?;
    tx.commit().await.map_err(into_migrate)
}

fn into_migrate(error: super::DbError) -> sqlx::migrate::MigrateError {
    sqlx::migrate::MigrateError::Source(Box::new(error))
}
