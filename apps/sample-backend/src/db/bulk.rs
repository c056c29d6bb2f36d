//! Many rows in few statements.

use std::fmt::Write;

use sqlx::AssertSqlSafe;

use super::{DbError, Dialect, Tx};

/// Values in one statement: SQLite allows 32,766, PostgreSQL 65,535; more than this gains nothing.
const VALUES: usize = 4_000;

/// A value of a row.
#[derive(Debug, Clone)]
pub enum Arg {
    /// Text.
    Text(String),
    /// A word that is known at build time.
    Word(&'static str),
    /// A whole number.
    Int(i64),
    /// A number.
    Float(f64),
}

impl From<String> for Arg {
    fn from(value: String) -> Self {
        Self::Text(value)
    }
}

impl From<&'static str> for Arg {
    fn from(value: &'static str) -> Self {
        Self::Word(value)
    }
}

impl From<i64> for Arg {
    fn from(value: i64) -> Self {
        Self::Int(value)
    }
}

impl From<f64> for Arg {
    fn from(value: f64) -> Self {
        Self::Float(value)
    }
}

/// Collects rows for one table and inserts them some thousand values at a time.
#[derive(Debug)]
pub struct Bulk {
    head: &'static str,
    columns: usize,
    values: Vec<Arg>,
}

impl Bulk {
    /// `head` is the statement up to `VALUES`: `INSERT INTO leads (id, name)`.
    #[must_use]
    pub fn new(head: &'static str) -> Self {
        let columns = head.matches(',').count() + 1;
        Self { head, columns, values: Vec::with_capacity(VALUES) }
    }

    /// Adds a row, and writes when enough have come together.
    ///
    /// # Errors
    /// Where the database refuses.
    ///
    /// # Panics
    /// Where the row has not as many values as the statement has columns.
    ///
    /// # Cancel safety
    /// Cancelled, rows are lost: drop the transaction.
    pub async fn push(&mut self, tx: &mut Tx, row: impl IntoIterator<Item = Arg>) -> Result<(), DbError> {
        let before = self.values.len();
        self.values.extend(row);
        assert_eq!(self.values.len() - before, self.columns, "{}", self.head);
        if self.values.len() + self.columns > VALUES { self.flush(tx).await } else { Ok(()) }
    }

    /// Writes what is left. To be called after the last row.
    ///
    /// # Errors
    /// Where the database refuses.
    ///
    /// # Cancel safety
    /// Cancelled, rows are lost: drop the transaction.
    pub async fn flush(&mut self, tx: &mut Tx) -> Result<(), DbError> {
        if self.values.is_empty() {
            return Ok(());
        }
        let sql = self.statement(tx.dialect());
        let mut query = sqlx::query(AssertSqlSafe(sql));
        for value in self.values.drain(..) {
            query = match value {
                Arg::Text(text) => query.bind(text),
                Arg::Word(word) => query.bind(word),
                Arg::Int(number) => query.bind(number),
                Arg::Float(number) => query.bind(number),
            };
        }
        query.execute(tx.conn()).await?;
        Ok(())
    }

    fn statement(&self, dialect: Dialect) -> String {
        let mut sql = String::with_capacity(self.values.len() * 6 + 200);
        sql.push_str(self.head);
        sql.push_str(" VALUES ");
        for i in 0..self.values.len() {
            sql.push_str(match i % self.columns {
                0 if i == 0 => "(",
                0 => "),(",
                _ => ",",
            });
            match dialect {
                // SQLite searches named placeholders one after the other.
                Dialect::Sqlite => sql.push('?'),
                Dialect::Postgres => write!(sql, "${}", i + 1).expect("a string takes everything"),
            }
        }
        sql.push(')');
        sql
    }
}
