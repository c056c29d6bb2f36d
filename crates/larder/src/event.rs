//! Change events: one cause, and what follows from it. An event first invalidates what it touches, then reaches those
//! who listen in this process.

use crate::scope::{Selection, Selector};
use std::sync::Arc;
use tokio::sync::broadcast;

/// Something changed.
#[derive(Clone, Debug)]
pub struct Event {
    pub(crate) kind: String,
    pub(crate) tenant: Arc<str>,
    pub(crate) id: Option<String>,
    pub(crate) data: serde_json::Value,
    pub(crate) invalidates: Vec<Selector>,
}

impl Event {
    /// An event of this kind (`campaign.updated`), of the tenant that publishes it.
    #[must_use]
    pub fn new(kind: impl Into<String>) -> Self {
        Self {
            kind: kind.into(),
            tenant: Arc::from(""),
            id: None,
            data: serde_json::Value::Null,
            invalidates: Vec::new(),
        }
    }

    /// What changed.
    #[must_use]
    pub fn id(mut self, id: impl Into<String>) -> Self {
        self.id = Some(id.into());
        self
    }

    /// What listeners are told besides.
    #[must_use]
    pub fn data(mut self, data: serde_json::Value) -> Self {
        self.data = data;
        self
    }

    /// What nobody may be served any more.
    #[must_use]
    pub fn invalidates(mut self, what: impl IntoIterator<Item = impl Into<Selector>>) -> Self {
        self.invalidates.extend(what.into_iter().map(Into::into));
        self
    }

    /// Its kind.
    pub fn kind(&self) -> &str {
        &self.kind
    }

    /// The tenant it belongs to; empty for shared data.
    pub fn tenant(&self) -> &str {
        &self.tenant
    }

    /// What changed.
    pub fn changed_id(&self) -> Option<&str> {
        self.id.as_deref()
    }

    /// What listeners are told besides.
    pub fn payload(&self) -> &serde_json::Value {
        &self.data
    }

    pub(crate) fn take_selection(&mut self) -> Option<Selection> {
        let selectors = std::mem::take(&mut self.invalidates);
        (!selectors.is_empty()).then(|| selectors.into())
    }
}

/// Events of this process, in the order in which they were published.
#[derive(Debug)]
pub struct EventStream(pub(crate) broadcast::Receiver<Arc<Event>>);

/// What an [`EventStream`] brings.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub enum Next {
    /// An event.
    Event(Arc<Event>),
    /// This listener was too slow: so many events were dropped for it. The bound is 4,096.
    Missed(u64),
}

impl EventStream {
    /// The next event; `None` when the cache is gone.
    ///
    /// # Cancel safety
    /// Nothing is lost if the future is dropped.
    pub async fn next(&mut self) -> Option<Next> {
        match self.0.recv().await {
            Ok(event) => Some(Next::Event(event)),
            Err(broadcast::error::RecvError::Lagged(missed)) => Some(Next::Missed(missed)),
            Err(broadcast::error::RecvError::Closed) => None,
        }
    }
}
