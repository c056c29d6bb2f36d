//! What the database can answer instead of rows.

use larder_http::Problem;
use std::time::Duration;

/// A statement failed. What a client sees of it says nothing about the statement.
#[derive(Debug, thiserror::Error)]
#[error("database")]
pub struct DbError(#[from] sqlx::Error);

/// Codes of what passes. SQLite: locked by another process. PostgreSQL: stopping, starting, too many connections,
/// a deadlock, a transaction that lost against another.
const TEMPORARY: &[&str] =
    &["5", "6", "261", "262", "517", "57P01", "57P02", "57P03", "53300", "40P01", "40001"];

impl DbError {
    /// Whether a row with this key is there already.
    #[must_use]
    pub fn is_duplicate(&self) -> bool {
        matches!(&self.0, sqlx::Error::Database(e) if e.is_unique_violation())
    }

    /// Whether it may work a moment later: no connection was free, or the database was out of reach.
    #[must_use]
    pub fn is_temporary(&self) -> bool {
        match &self.0 {
            sqlx::Error::PoolTimedOut | sqlx::Error::PoolClosed | sqlx::Error::Io(_) => true,
            sqlx::Error::Database(e) => e.code().is_some_and(|code| TEMPORARY.contains(&code.as_ref())),
            _ => false,
        }
    }
}

impl DbError {
    /// What the outbox says; its own refusals are bugs of whoever made the event.
    pub(crate) fn of_outbox(error: larder_outbox::Error) -> Problem {
        match error.into_database() {
            Ok(error) => Self(error).into(),
            Err(error) => {
                tracing::error!(%error, "an event can't be written");
                Problem::internal()
            }
        }
    }
}

impl From<&DbError> for Problem {
    fn from(error: &DbError) -> Self {
        if error.is_temporary() {
            tracing::warn!(error = %error.0, "database unavailable");
            return Problem::unavailable("the database does not answer right now")
                .retry_after(Duration::from_secs(1));
        }
        tracing::error!(error = %error.0, "database error");
        Problem::internal()
    }
}

impl From<DbError> for Problem {
    fn from(error: DbError) -> Self {
        Self::from(&error)
    }
}

/// Why the backend could not start. Names the database by its URL without a password.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum StartError {
    /// The URL is none that is understood.
    #[error("DATABASE_URL {url}: expected sqlite://path or postgres://user@host/database")]
    Url {
        /// The URL without its password.
        url: String,
    },
    /// The database can't be reached.
    #[error("the database {url} can't be opened: {source}; {hint}")]
    Open {
        /// The URL without its password.
        url: String,
        /// What to look at.
        hint: &'static str,
        /// What the driver says.
        source: sqlx::Error,
    },
    /// Its tables can't be brought up to date.
    #[error("the tables of {url} can't be brought up to date: {source}{}", pooler(&source.to_string()))]
    Migrate {
        /// The URL without its password.
        url: String,
        /// What the migrator says.
        source: sqlx::migrate::MigrateError,
    },
    /// The sample rows or settings can't be written.
    #[error("the database can't be prepared: {0:?}{hint}", hint = pooler(&.0.0.to_string()))]
    Prepare(DbError),
    /// The configuration contradicts itself.
    #[error("{0}")]
    Config(String),
    /// The built-in seller-data API can't listen.
    #[error("the built-in seller-data API can't listen on loopback: {0}")]
    Listen(std::io::Error),
}

/// What to look at where the session of the server is another than that in which the driver has prepared its statement.
fn pooler(said: &str) -> &'static str {
    if said.contains("prepared statement \"sqlx_s_") {
        "; is there a pooler in transaction mode? It has to follow prepared statements (PgBouncer 1.21 and later, \
         max_prepared_statements above 0); an older one works in session mode"
    } else {
        ""
    }
}

impl From<DbError> for StartError {
    fn from(error: DbError) -> Self {
        Self::Prepare(error)
    }
}

impl StartError {
    pub(super) fn open(url: &str, source: sqlx::Error) -> Self {
        let hint = if url.starts_with("sqlite") {
            "does its directory exist, and may it be written?"
        } else {
            "is the server running there, and are user, password and database right?"
        };
        Self::Open { url: redacted(url), hint, source }
    }

    pub(super) fn migrate(url: &str, source: sqlx::migrate::MigrateError) -> Self {
        Self::Migrate { url: redacted(url), source }
    }

    pub(super) fn url(url: &str) -> Self {
        Self::Url { url: redacted(url) }
    }
}

/// A URL as it may be shown: without its password.
#[must_use]
pub fn redacted(url: &str) -> String {
    match url::Url::parse(url) {
        Ok(mut parsed) if parsed.password().is_some() => {
            let hidden = parsed.set_password(Some("***")).is_ok();
            if hidden { parsed.into() } else { "***".to_owned() }
        }
        Ok(_) => url.to_owned(),
        // What can't be parsed may hold a password anywhere.
        Err(_) => {
            url.split_once("://").map_or_else(|| "***".to_owned(), |(scheme, _)| format!("{scheme}://***"))
        }
    }
}

#[cfg(test)]
mod tests {
    use super::redacted;

    #[test]
    fn a_url_is_shown_without_its_password() {
        assert_eq!(redacted("postgres://larder:s3cret@db/larder"), "postgres://larder:***@db/larder");
        assert_eq!(redacted("sqlite://larder.db"), "sqlite://larder.db");
        assert_eq!(redacted("postgres://u:p@[broken"), "postgres://***");
    }
}
