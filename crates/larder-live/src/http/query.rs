//! What may stand in the URL of a connection.

use serde::Deserialize;

use crate::link::Pos;

/// The query of both kinds of connections.
#[derive(Debug, Default, Deserialize)]
pub(super) struct Query {
    /// The client's cursor.
    #[serde(default)]
    pos: Option<String>,
    /// The same, by the name that an event stream's clients know.
    #[serde(default)]
    last_event_id: Option<String>,
    /// Rooms, separated by commas.
    #[serde(default)]
    rooms: Option<String>,
    #[serde(default)]
    pub(super) ticket: Option<String>,
}

impl Query {
    pub(super) fn pos(&self) -> Option<Pos> {
        let text = self.last_event_id.as_deref().or(self.pos.as_deref())?;
        (!text.is_empty()).then(|| Pos::parse(text))
    }

    pub(super) fn rooms(&self) -> Vec<String> {
        let names = self.rooms.as_deref().unwrap_or_default().split(',');
        names.filter(|name| !name.is_empty()).map(str::to_owned).collect()
    }
}
