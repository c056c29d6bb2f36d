//! Change events: one cause, and what follows from it. An event first invalidates what it touches, then reaches those
//! who listen in this process, and then, in the tenant's [log](crate::EventLog), those who listen anywhere.

use crate::inspect::matches;
use crate::scope::{Selection, Selector};
use std::sync::Arc;
use tokio::sync::broadcast;

/// Something changed.
#[derive(Clone, Debug)]
pub struct Event {
    pub(crate) kind: String,
    pub(crate) tenant: Arc<str>,
    pub(crate) id: Option<String>,
    pub(crate) room: Option<String>,
    pub(crate) key: Option<String>,
    pub(crate) from: Option<String>,
    pub(crate) data: serde_json::Value,
    pub(crate) invalidates: Vec<Selector>,
}

/// The room in which everybody of a tenant is.
const EVERYBODY: &str = "tenant";

impl Event {
    /// An event of this kind (`campaign.updated`), of the tenant that publishes it.
    #[must_use]
    pub fn new(kind: impl Into<String>) -> Self {
        Self {
            kind: kind.into(),
            tenant: Arc::from(""),
            id: None,
            room: None,
            key: None,
            from: None,
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

    /// The room it is for, of 1 to 200 bytes. Default `tenant`: all connections of the tenant.
    #[must_use]
    pub fn room(mut self, room: impl Into<String>) -> Self {
        self.room = Some(room.into());
        self
    }

    /// The name of this event among all of the tenant, of 1 to 256 bytes: within 10 minutes another event of the same name
    /// does not enter the tenant's log, and whoever publishes it is told the place of the first. What it invalidates is
    /// invalidated all the same. Default: a name of its own.
    #[must_use]
    pub fn idempotency_key(mut self, key: impl Into<String>) -> Self {
        self.key = Some(key.into());
        self
    }

    /// The user who caused it, of 1 to 128 bytes.
    #[must_use]
    pub fn from(mut self, user: impl Into<String>) -> Self {
        self.from = Some(user.into());
        self
    }

    /// What listeners are told besides. In the tenant's log it may have 64 KiB, encoded.
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

    /// The room it is for.
    pub fn room_name(&self) -> &str {
        self.room.as_deref().unwrap_or(EVERYBODY)
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

    /// The user who caused it.
    pub fn sender(&self) -> Option<&str> {
        self.from.as_deref()
    }

    /// What nobody may be served any more.
    pub fn selectors(&self) -> &[Selector] {
        &self.invalidates
    }

    pub(crate) fn take_selection(&mut self) -> Option<Selection> {
        let selectors = std::mem::take(&mut self.invalidates);
        (!selectors.is_empty()).then(|| selectors.into())
    }
}

/// Events of this process, in the order in which they were published.
#[derive(Debug)]
pub struct EventStream {
    events: broadcast::Receiver<Arc<Event>>,
    /// Which kinds; `None`: all.
    pattern: Option<Box<str>>,
}

/// What an [`EventStream`] brings.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub enum Next {
    /// An event.
    Event(Arc<Event>),
    /// This listener was too slow: so many events, of any kind, were dropped for it. The bound is 4,096.
    Missed(u64),
}

impl EventStream {
    pub(crate) fn new(events: broadcast::Receiver<Arc<Event>>, pattern: Option<&str>) -> Self {
        Self { events, pattern: pattern.map(Into::into) }
    }

    /// The next event; `None` when the cache is gone.
    ///
    /// # Cancel safety
    /// Nothing is lost if the future is dropped.
    pub async fn next(&mut self) -> Option<Next> {
        loop {
            match self.events.recv().await {
                Ok(event) if self.wants(&event) => return Some(Next::Event(event)),
                Ok(_) => {}
                Err(broadcast::error::RecvError::Lagged(missed)) => return Some(Next::Missed(missed)),
                Err(broadcast::error::RecvError::Closed) => return None,
            }
        }
    }

    fn wants(&self, event: &Event) -> bool {
        self.pattern.as_deref().is_none_or(|pattern| matches(pattern, &event.kind))
    }
}
