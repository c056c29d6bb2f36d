//! The one error type of the library.

use crate::journal::Ticket;
use std::{error::Error as StdError, fmt, sync::Arc};

/// Any error, as loaders may return it.
pub type BoxError = Box<dyn StdError + Send + Sync>;

/// Why a call failed. Cheap to clone: all waiters of one load share one error.
///
/// Its message holds no cached value, no password and no key.
#[derive(Clone)]
pub struct Error(Arc<Inner>);

struct Inner {
    kind: ErrorKind,
    detail: String,
    source: Option<BoxError>,
    ticket: Option<Ticket>,
}

/// The kinds of [`Error`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum ErrorKind {
    /// The key is empty or too long.
    InvalidKey,
    /// The tenant's name is empty or too long.
    InvalidTenant,
    /// A tag is empty, too long, or there are too many.
    InvalidTag,
    /// The policy contradicts itself or a limit.
    InvalidPolicy,
    /// The call asks for too much at once.
    InvalidRequest,
    /// The cache's configuration contradicts itself or a limit.
    Config,
    /// The loader failed; the source is its error.
    Load,
    /// The loader panicked.
    LoadPanicked,
    /// The loader did not end within its time-out.
    LoadTimeout,
    /// A load of the key failed a moment ago, on another node or for want of a record of its error on this one, and is
    /// not tried again yet.
    CoolingDown,
    /// Too many loads are in flight on this node.
    TooManyLoads,
    /// The invalidation is in force here; other nodes follow when Redis is back in reach: [`Error::ticket`].
    Deferred,
    /// A value could not be encoded.
    Codec,
    /// Redis is not configured or not in reach.
    Unavailable,
    /// The cache has been shut down.
    Closed,
}

impl Error {
    pub(crate) fn new(kind: ErrorKind, detail: impl Into<String>) -> Self {
        Self(Arc::new(Inner { kind, detail: detail.into(), source: None, ticket: None }))
    }

    pub(crate) fn with_source(
        kind: ErrorKind,
        detail: impl Into<String>,
        source: impl Into<BoxError>,
    ) -> Self {
        Self(Arc::new(Inner { kind, detail: detail.into(), source: Some(source.into()), ticket: None }))
    }

    pub(crate) fn deferred(detail: impl Into<String>, ticket: Ticket) -> Self {
        let (kind, detail) = (ErrorKind::Deferred, detail.into());
        Self(Arc::new(Inner { kind, detail, source: None, ticket: Some(ticket) }))
    }

    /// What kind of failure this is.
    pub fn kind(&self) -> ErrorKind {
        self.0.kind
    }

    /// Of an invalidation that was [`ErrorKind::Deferred`]: the promise that it will be delivered.
    pub fn ticket(&self) -> Option<&Ticket> {
        self.0.ticket.as_ref()
    }

    /// The loader's own error, if this is a failed load of that type. It is shared by all who waited for the load.
    pub fn load_error<E: StdError + 'static>(&self) -> Option<&E> {
        self.0.source.as_deref().and_then(|source| source.downcast_ref::<E>())
    }
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0.detail)
    }
}

impl fmt::Debug for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut out = f.debug_struct("Error");
        out.field("kind", &self.0.kind).field("detail", &self.0.detail);
        if let Some(source) = &self.0.source {
            out.field("source", source);
        }
        out.finish()
    }
}

impl StdError for Error {
    fn source(&self) -> Option<&(dyn StdError + 'static)> {
        self.0.source.as_deref().map(|source| source as &(dyn StdError + 'static))
    }
}

impl From<&Error> for Error {
    fn from(error: &Error) -> Self {
        error.clone()
    }
}
