//! What nodes tell each other beside the log. It may be lost.

use bytes::Bytes;
use serde::{Deserialize, Serialize};
use serde_json::value::RawValue;

/// A message to all nodes that have connections of the tenant.
#[derive(Debug, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum Signal {
    /// An ephemeral message.
    Message { room: String, from: String, data: Box<RawValue> },
    /// Connections end.
    Kick(Kick),
    /// Somebody's first connection has come to a room, or the last has gone.
    Presence {
        room: String,
        user: String,
        #[serde(default, skip_serializing_if = "Option::is_none")]
        info: Option<Box<RawValue>>,
        here: bool,
        total: u64,
    },
    /// A command for an event stream, which came in on another node: it has looked at the secret. As it came, since a text within a text
    /// can be twice as long.
    Command { conn: String, command: Box<RawValue> },
}

/// Whose connections end.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
#[non_exhaustive]
pub enum Kick {
    /// Those of one user.
    User(String),
    /// Those that were opened or renewed with the token of this id (`jti`), one of their last eight.
    Token(String),
    /// All of the tenant.
    Everybody,
}

impl Signal {
    pub(crate) fn encode(&self) -> Bytes {
        serde_json::to_vec(self).expect("plain data is JSON").into()
    }

    /// `None` for what a newer version says.
    pub(crate) fn decode(bytes: &[u8]) -> Option<Self> {
        serde_json::from_slice(bytes).ok()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::limits::COMMAND_BYTES;

    #[test]
    fn signals_survive_and_what_is_none_is_nothing() {
        let data = RawValue::from_string(r#"{"x":[1]}"#.to_owned()).unwrap();
        for signal in [
            Signal::Message { room: "chat:1".into(), from: "7".into(), data },
            Signal::Presence { room: "r".into(), user: "7".into(), info: None, here: true, total: 3 },
            Signal::Kick(Kick::User("7".into())),
            Signal::Kick(Kick::Everybody),
            Signal::Command { conn: "n.c".into(), command: RawValue::from_string("{}".into()).unwrap() },
        ] {
            let again = Signal::decode(&signal.encode()).unwrap();
            assert_eq!(format!("{again:?}"), format!("{signal:?}"));
        }
        for bad in ["", "{}", "[]", r#"{"dance":{}}"#, r#"{"message":{"room":1}}"#] {
            assert!(Signal::decode(bad.as_bytes()).is_none(), "{bad}");
        }
    }

    #[test]
    fn the_longest_command_fits_into_what_nodes_tell_each_other() {
        let quotes = r#"\""#.repeat(30_000);
        let text = format!(r#"{{"data":"{quotes}{}"}}"#, "x".repeat(COMMAND_BYTES - quotes.len() - 11));
        assert_eq!(text.len(), COMMAND_BYTES);
        let conn = format!("{}.{}", "n".repeat(12), crate::random::secret());
        let signal = Signal::Command { conn, command: RawValue::from_string(text).unwrap() };
        assert!(signal.encode().len() <= larder::limits::MAX_SIGNAL_BYTES, "{}", signal.encode().len());
    }
}
