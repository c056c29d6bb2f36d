//! One connection, as far as others have to do with it.

use std::collections::{HashMap, VecDeque};
use std::sync::Arc;

use parking_lot::Mutex;
use serde_json::value::RawValue;
use tokio::sync::mpsc;

use crate::limits::TOKEN_IDS;
use crate::queue::Queue;

/// A connection that is signed in.
#[derive(Debug)]
pub(crate) struct Conn {
    /// Its number on this node.
    pub(crate) key: u64,
    /// Its name everywhere: that of the node, a dot, and what can't be guessed.
    pub(crate) name: Arc<str>,
    pub(crate) user: Arc<str>,
    pub(crate) tokens: TokenIds,
    /// What goes to it.
    pub(crate) queue: Arc<Queue>,
    /// Where commands for it come in, if they can't by itself: it is an event stream.
    pub(crate) inbox: Option<mpsc::Sender<String>>,
}

/// The ids of the tokens by which a connection has signed in and gone on: the last of them.
#[derive(Debug, Default)]
pub(crate) struct TokenIds(Mutex<VecDeque<Box<str>>>);

impl TokenIds {
    pub(crate) fn add(&self, id: Option<&str>) {
        let Some(id) = id else { return };
        if self.has(id) {
            return;
        }
        let mut ids = self.0.lock();
        if ids.len() >= TOKEN_IDS {
            ids.pop_front();
        }
        ids.push_back(id.into());
    }

    pub(crate) fn has(&self, id: &str) -> bool {
        self.0.lock().iter().any(|own| **own == *id)
    }
}

/// The event streams of this node, by name: commands for them come by other requests.
#[derive(Debug, Default)]
pub(crate) struct Streams(Mutex<HashMap<Arc<str>, Arc<Conn>, ahash::RandomState>>);

/// What became of a command.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Handed {
    Taken,
    /// Too many wait already.
    Full,
    /// There is no such connection here.
    Unknown,
}

impl Streams {
    pub(crate) fn add(&self, conn: &Arc<Conn>) {
        self.0.lock().insert(Arc::clone(&conn.name), Arc::clone(conn));
    }

    pub(crate) fn remove(&self, conn: &Conn) {
        self.0.lock().remove(&conn.name);
    }

    /// Gives a command to a connection.
    pub(crate) fn hand(&self, name: &str, command: Box<RawValue>) -> Handed {
        let Some(conn) = self.0.lock().get(name).cloned() else { return Handed::Unknown };
        let Some(inbox) = &conn.inbox else { return Handed::Unknown };
        match inbox.try_send(Box::<str>::from(command).into()) {
            Ok(()) => Handed::Taken,
            Err(mpsc::error::TrySendError::Full(_)) => Handed::Full,
            Err(mpsc::error::TrySendError::Closed(_)) => Handed::Unknown,
        }
    }
}
