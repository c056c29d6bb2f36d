//! The one error type of this crate.

use std::error::Error as StdError;
use std::fmt;

/// Why a call failed. Its message holds no data of an event, no key and no password.
#[derive(Debug)]
pub struct Error {
    kind: ErrorKind,
    detail: String,
    source: Option<Box<dyn StdError + Send + Sync>>,
}

/// The kinds of [`Error`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum ErrorKind {
    /// A field of the event is too long or not valid; the message names it. Nothing was written.
    InvalidEvent,
    /// A trigger can't be made so; the message names all that is wrong.
    InvalidTrigger,
    /// sqlx's `Any` speaks to a database that is neither PostgreSQL nor SQLite.
    UnknownDatabase,
    /// The database refused or is out of reach: the source is sqlx's error.
    Database,
    /// The cache refused: the source is its error.
    Cache,
}

impl Error {
    pub(crate) fn new(kind: ErrorKind, detail: impl Into<String>) -> Self {
        Self { kind, detail: detail.into(), source: None }
    }

    /// What kind of failure this is.
    #[must_use]
    pub fn kind(&self) -> ErrorKind {
        self.kind
    }

    /// The error of the database, where it is one: whoever wraps transactions wants to see it as if their own statement
    /// had failed.
    ///
    /// # Errors
    /// The error itself, where it is another.
    pub fn into_database(self) -> Result<sqlx::Error, Self> {
        match self.source.map(<dyn StdError + Send + Sync>::downcast::<sqlx::Error>) {
            Some(Ok(error)) => Ok(*error),
            Some(Err(source)) => Err(Self { kind: self.kind, detail: self.detail, source: Some(source) }),
            None => Err(Self { kind: self.kind, detail: self.detail, source: None }),
        }
    }
}

impl From<sqlx::Error> for Error {
    fn from(error: sqlx::Error) -> Self {
        let detail = "the database refused the outbox".to_owned();
        Self { kind: ErrorKind::Database, detail, source: Some(Box::new(error)) }
    }
}

impl From<larder::Error> for Error {
    fn from(error: larder::Error) -> Self {
        let detail = "the cache refused the event".to_owned();
        Self { kind: ErrorKind::Cache, detail, source: Some(Box::new(error)) }
    }
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.detail)
    }
}

impl StdError for Error {
    fn source(&self) -> Option<&(dyn StdError + 'static)> {
        self.source.as_deref().map(|source| source as &(dyn StdError + 'static))
    }
}
