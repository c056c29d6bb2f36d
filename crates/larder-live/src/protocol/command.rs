//! What a client may say.

use super::Place;
use serde::Deserialize;
use serde_json::value::RawValue;

/// A place in the log, as a client writes it.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
pub(crate) struct Pos {
    pub(crate) epoch: String,
    pub(crate) offset: u64,
}

impl Pos {
    /// The place that is meant; nothing where it can't be one of ours.
    pub(crate) fn place(&self) -> Option<Place> {
        format!("{}:{}", self.epoch, self.offset).parse().ok()
    }
}

/// A message of the client: PROTOCOL.md §3.
#[derive(Debug)]
pub(crate) struct Message {
    /// Comes back in the answer.
    pub(crate) id: Option<u32>,
    pub(crate) command: Command,
}

#[derive(Debug, Deserialize)]
#[serde(tag = "type", rename_all = "snake_case")]
pub(crate) enum Command {
    Auth(Auth),
    Sub {
        rooms: Vec<String>,
        #[serde(default)]
        presence: bool,
    },
    Unsub {
        rooms: Vec<String>,
    },
    Pub(Publish),
    Presence {
        room: String,
    },
    History {
        room: String,
        since: Pos,
        #[serde(default)]
        limit: Option<usize>,
    },
}

#[derive(Debug, Deserialize)]
pub(crate) struct Auth {
    pub(crate) token: String,
    #[serde(default)]
    pub(crate) pos: Option<Pos>,
    #[serde(default)]
    pub(crate) rooms: Vec<String>,
}

#[derive(Debug, Deserialize)]
pub(crate) struct Publish {
    #[serde(default)]
    pub(crate) room: Option<String>,
    /// `user:{id}`.
    #[serde(default)]
    pub(crate) to: Option<String>,
    /// As it came: whoever reads it shall get what was sent. Read by itself, since what stands beside a tag is read as values.
    #[serde(skip)]
    pub(crate) data: Box<RawValue>,
    #[serde(default)]
    pub(crate) key: Option<String>,
    #[serde(default)]
    pub(crate) ephemeral: bool,
}

/// What can be told of a message that can't be understood.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Misunderstood {
    pub(crate) id: Option<u32>,
    pub(crate) why: &'static str,
}

#[derive(Deserialize)]
struct Data<'a> {
    #[serde(borrow, default)]
    data: Option<&'a RawValue>,
}

#[derive(Deserialize)]
struct Id {
    #[serde(default)]
    id: Option<u32>,
}

impl Message {
    /// Reads one text frame. The id is read first, so that a refusal can carry it.
    pub(crate) fn parse(text: &str) -> Result<Self, Misunderstood> {
        let raw: &RawValue =
            serde_json::from_str(text).map_err(|_| Misunderstood { id: None, why: "this is no JSON" })?;
        let Id { id } = serde_json::from_str(raw.get()).map_err(|_| Misunderstood {
            id: None,
            why: "a message is a JSON object whose id, if it has one, is an integer below 2^32",
        })?;
        let command = Self::command(raw).map_err(|_| Misunderstood {
            id,
            why: "unknown type, or its fields are missing or of wrong types",
        })?;
        Ok(Self { id, command })
    }

    fn command(raw: &RawValue) -> Result<Command, serde_json::Error> {
        let mut command = serde_json::from_str(raw.get())?;
        if let Command::Pub(publish) = &mut command
            && let Data { data: Some(data) } = serde_json::from_str(raw.get())?
        {
            publish.data = on_one_line(data);
        }
        Ok(command)
    }
}

/// An event stream ends a field where a line ends. In JSON a line can end between words only, where a blank is as good.
fn on_one_line(json: &RawValue) -> Box<RawValue> {
    if !json.get().contains(['\n', '\r']) {
        return json.to_owned();
    }
    let text = json.get().replace(['\n', '\r'], " ");
    RawValue::from_string(text).expect("blanks are as good as line ends")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_documented_message_is_understood() {
        for (text, is) in [
            (r#"{"id":1,"type":"auth","token":"t","pos":{"epoch":"k","offset":7},"rooms":["a"]}"#, "Auth"),
            (r#"{"type":"auth","token":"t"}"#, "Auth"),
            (r#"{"id":2,"type":"sub","rooms":["orders"],"presence":true}"#, "Sub"),
            (r#"{"id":3,"type":"unsub","rooms":["orders"],"unknown":1}"#, "Unsub"),
            (r#"{"id":4,"type":"pub","room":"chat:1","data":{"a":1},"key":"k"}"#, "Pub"),
            (r#"{"id":6,"type":"pub","to":"user:7","data":null}"#, "Pub"),
            (r#"{"id":7,"type":"presence","room":"chat:1"}"#, "Presence"),
            (r#"{"id":8,"type":"history","room":"c","since":{"epoch":"k","offset":1}}"#, "History"),
        ] {
            let message = Message::parse(text).unwrap();
            assert!(format!("{:?}", message.command).starts_with(is), "{text}");
        }
    }

    #[test]
    fn data_is_what_was_sent() {
        for data in ["12345678901234567890123", r#"{"z": 1.10, "a": [1e3]}"#, "null", r#""\u00e4""#] {
            let text = format!(r#"{{"data":{data},"type":"pub","room":"r"}}"#);
            let Command::Pub(publish) = Message::parse(&text).unwrap().command else { panic!("{text}") };
            assert_eq!(publish.data.get(), data);
        }
        let lines = "{\"data\":{\"a\":\r\n1},\"type\":\"pub\"}";
        let Command::Pub(publish) = Message::parse(lines).unwrap().command else { panic!("{lines}") };
        assert_eq!(publish.data.get(), r#"{"a":  1}"#, "on one line");
        let Command::Pub(publish) = Message::parse(r#"{"type":"pub","room":"r"}"#).unwrap().command else {
            panic!("a message without data")
        };
        assert_eq!(publish.data.get(), "null");
    }

    #[test]
    fn a_refusal_carries_the_id_where_there_is_one() {
        for (text, id) in [
            ("", None),
            ("nonsense", None),
            ("[]", None),
            ("7", None),
            (r#"{"id":"7","type":"sub"}"#, None),
            (r#"{"id":-1,"type":"sub","rooms":[]}"#, None),
            (r#"{"id":9}"#, Some(9)),
            (r#"{"id":9,"type":"dance"}"#, Some(9)),
            (r#"{"id":9,"type":"sub"}"#, Some(9)),
            (r#"{"id":9,"type":"sub","rooms":"a"}"#, Some(9)),
            (r#"{"id":9,"type":"history","room":"a","since":{"epoch":"k"}}"#, Some(9)),
        ] {
            assert_eq!(Message::parse(text).unwrap_err().id, id, "{text}");
        }
    }
}
