//! The tables, to be put into the application's own migrations.

use crate::session::Dialect;

/// The tables for PostgreSQL, in version 1. This text never changes: what comes later is another constant.
pub const POSTGRES: &str = include_str!("sql/postgres.sql");

/// The tables for SQLite, in version 1. This text never changes: what comes later is another constant.
pub const SQLITE: &str = include_str!("sql/sqlite.sql");

/// The tables for a database of this kind.
#[must_use]
pub const fn of(dialect: Dialect) -> &'static str {
    match dialect {
        Dialect::Postgres => POSTGRES,
        Dialect::Sqlite => SQLITE,
    }
}
