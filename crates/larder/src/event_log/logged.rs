//! An event as it stands in the log: encoded once, by the node that publishes it, and passed on as it is.

use super::position::Position;
use crate::error::{Error, ErrorKind};
use crate::event::Event;
use crate::limits::{MAX_EVENT_BYTES, MAX_EVENT_ID_BYTES, MAX_KIND_BYTES, MAX_ROOM_BYTES, MAX_SENDER_BYTES};
use bytes::Bytes;
use serde::Deserialize;
use serde::de::IgnoredAny;
use std::borrow::Cow;
use std::ops::Range;
use std::sync::Arc;

/// An event in a tenant's log.
#[derive(Clone, Debug)]
pub struct LoggedEvent {
    tenant: Arc<str>,
    position: Position,
    room: Text,
    kind: Text,
    id: Text,
    from: Option<Text>,
    ts_ms: u64,
    json: Bytes,
}

/// A string of the event: as a rule it stands in its JSON as it is.
#[derive(Clone, Debug)]
enum Text {
    Within(Range<usize>),
    Own(Box<str>),
}

/// What is read of an event's JSON. All of it is read, so that what is passed on is well-formed.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Header<'a> {
    #[serde(borrow)]
    room: Cow<'a, str>,
    #[serde(borrow)]
    eid: Cow<'a, str>,
    #[serde(borrow)]
    kind: Cow<'a, str>,
    ts: u64,
    #[serde(borrow, default)]
    from: Option<Cow<'a, str>>,
    #[serde(default, rename = "subject")]
    _subject: Option<IgnoredAny>,
    #[serde(rename = "data")]
    _data: IgnoredAny,
}

impl LoggedEvent {
    /// Reads what was [encoded](encode); `None` if it was not.
    pub(crate) fn read(tenant: &Arc<str>, epoch: &Arc<str>, offset: u64, json: Bytes) -> Option<Self> {
        // Frames are made by putting members before its first: so it has to begin as it was written.
        let header: Header<'_> = json.starts_with(b"{\"").then(|| serde_json::from_slice(&json).ok())??;
        let text = |text: &Cow<'_, str>| match text {
            Cow::Borrowed(text) => {
                let start = text.as_ptr() as usize - json.as_ptr() as usize;
                Text::Within(start..start + text.len())
            }
            Cow::Owned(text) => Text::Own(text.as_str().into()),
        };
        Some(Self {
            tenant: Arc::clone(tenant),
            position: Position { epoch: Arc::clone(epoch), offset },
            room: text(&header.room),
            kind: text(&header.kind),
            id: text(&header.eid),
            from: header.from.as_ref().map(text),
            ts_ms: header.ts,
            json: json.clone(),
        })
    }

    fn text<'a>(&'a self, text: &'a Text) -> &'a str {
        match text {
            Text::Within(range) => {
                std::str::from_utf8(&self.json[range.clone()]).expect("it was text when it was read")
            }
            Text::Own(text) => text,
        }
    }

    /// The tenant; empty for shared data.
    pub fn tenant(&self) -> &str {
        &self.tenant
    }

    /// Its place in the tenant's log.
    pub fn position(&self) -> &Position {
        &self.position
    }

    /// The room it is for; `tenant` is the one in which everybody is.
    pub fn room(&self) -> &str {
        self.text(&self.room)
    }

    /// Its kind (`campaign.updated`).
    pub fn kind(&self) -> &str {
        self.text(&self.kind)
    }

    /// Its id: the idempotency key, or one that larder has made. Whoever sees an id twice has seen the event before.
    pub fn id(&self) -> &str {
        self.text(&self.id)
    }

    /// Who sent it, if it was a user.
    pub fn from(&self) -> Option<&str> {
        self.from.as_ref().map(|from| self.text(from))
    }

    /// When it was published, in milliseconds since 1970 by the wall clock of the node that did.
    pub fn ts_ms(&self) -> u64 {
        self.ts_ms
    }

    /// The JSON object `{"room","eid","kind","ts","from"?,"subject"?,"data"}`, as the publishing node has encoded it, without
    /// blanks. Messages to clients are made by putting further members before its first.
    pub fn json(&self) -> &Bytes {
        &self.json
    }

    /// Bytes that it takes in memory, about.
    pub(crate) fn weight(&self) -> usize {
        self.json.len() + size_of::<Self>()
    }
}

/// The JSON of an event.
///
/// # Errors
/// [`ErrorKind::InvalidRequest`], naming what is too long or missing.
pub(crate) fn encode(event: &Event, id: &str, ts_ms: u64) -> Result<Bytes, Error> {
    check("kind", event.kind.as_str(), 1, MAX_KIND_BYTES)?;
    check("room", event.room_name(), 1, MAX_ROOM_BYTES)?;
    check("idempotency key", id, 1, MAX_EVENT_ID_BYTES)?;
    if let Some(from) = &event.from {
        check("from", from, 1, MAX_SENDER_BYTES)?;
    }
    if let Some(subject) = &event.id {
        check("id", subject, 0, MAX_EVENT_ID_BYTES)?;
    }
    let mut out = Vec::with_capacity(256);
    let mut write = |name: &str, value: &dyn Encode| {
        out.extend_from_slice(if out.is_empty() { b"{\"" } else { b",\"" });
        out.extend_from_slice(name.as_bytes());
        out.extend_from_slice(b"\":");
        let before = out.len();
        value.encode(&mut out);
        out.len() - before
    };
    write("room", &event.room_name());
    write("eid", &id);
    write("kind", &event.kind.as_str());
    write("ts", &ts_ms);
    if let Some(from) = &event.from {
        write("from", &from.as_str());
    }
    if let Some(subject) = &event.id {
        write("subject", &subject.as_str());
    }
    let data = write("data", &event.data);
    if data > MAX_EVENT_BYTES {
        return Err(too_long("data", data, MAX_EVENT_BYTES));
    }
    out.push(b'}');
    Ok(out.into())
}

trait Encode {
    fn encode(&self, out: &mut Vec<u8>);
}

impl<T: serde::Serialize> Encode for T {
    fn encode(&self, out: &mut Vec<u8>) {
        serde_json::to_writer(out, self).expect("strings, numbers and JSON are written to memory");
    }
}

fn check(name: &str, text: &str, least: usize, most: usize) -> Result<(), Error> {
    match text.len() {
        bytes if bytes > most => Err(too_long(name, bytes, most)),
        bytes if bytes < least => {
            Err(Error::new(ErrorKind::InvalidRequest, format!("the event's {name} is empty")))
        }
        _ => Ok(()),
    }
}

fn too_long(name: &str, bytes: usize, most: usize) -> Error {
    let why = format!("the event's {name} has {bytes} bytes: at most {most}");
    Error::new(ErrorKind::InvalidRequest, why)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use serde_json::json;

    fn read(json: Bytes) -> Option<LoggedEvent> {
        LoggedEvent::read(&"acme".into(), &"e".into(), 7, json)
    }

    #[test]
    fn an_event_is_encoded_in_the_agreed_order_without_blanks() {
        let event = Event::new("campaign.updated").id("42").from("user 7").data(json!({"a": [1, null]}));
        let json = encode(&event, "ob-1", 1_790_000_000_123).unwrap();
        let expected = "{\"room\":\"tenant\",\"eid\":\"ob-1\",\"kind\":\"campaign.updated\",\"ts\":1790000000123,\
                        \"from\":\"user 7\",\"subject\":\"42\",\"data\":{\"a\":[1,null]}}";
        assert_eq!(json, expected);
        let event = read(json).unwrap();
        let told = (event.room(), event.id(), event.kind(), event.ts_ms(), event.from());
        assert_eq!(told, ("tenant", "ob-1", "campaign.updated", 1_790_000_000_123, Some("user 7")));
        assert_eq!((event.tenant(), event.position().to_string().as_str()), ("acme", "e:7"));
    }

    #[test]
    fn what_is_too_long_is_refused_by_name_and_what_is_just_within_is_not() {
        let fits = |event: Event| encode(&event, "i", 0);
        // A JSON string has two quotation marks.
        let data = |bytes: usize| Event::new("k").data(json!("x".repeat(bytes - 2)));
        assert!(fits(data(MAX_EVENT_BYTES)).is_ok());
        let room = |bytes: usize| Event::new("k").room("r".repeat(bytes));
        assert!(fits(room(MAX_ROOM_BYTES)).is_ok());
        for (event, name) in [
            (data(MAX_EVENT_BYTES + 1), "data has 65537 bytes"),
            (room(MAX_ROOM_BYTES + 1), "room"),
            (room(0), "room is empty"),
            (Event::new(""), "kind is empty"),
            (Event::new("k".repeat(MAX_KIND_BYTES + 1)), "kind"),
            (Event::new("k").from("f".repeat(MAX_SENDER_BYTES + 1)), "from"),
            (Event::new("k").id("f".repeat(MAX_EVENT_ID_BYTES + 1)), "id"),
        ] {
            let error = fits(event).unwrap_err();
            assert_eq!(error.kind(), ErrorKind::InvalidRequest);
            assert!(error.to_string().contains(name), "{error}");
        }
        assert!(encode(&Event::new("k"), &"i".repeat(MAX_EVENT_ID_BYTES + 1), 0).is_err());
    }

    #[test]
    fn what_can_be_written_can_be_read_however_deeply_it_is_nested() {
        let nested = (0..1000).fold(json!(1), |inner, _| json!([inner]));
        assert!(read(encode(&Event::new("k").data(nested), "i", 0).unwrap()).is_some());
    }

    #[test]
    fn what_is_no_event_is_not_read() {
        for bad in [
            "",
            "{}",
            "[]",
            "{ \"room\":\"r\"}",
            "{\"room\":\"r\",\"eid\":\"i\",\"kind\":\"k\",\"ts\":1,\"data\":{}",
        ] {
            assert!(read(Bytes::from_static(bad.as_bytes())).is_none(), "{bad}");
        }
    }

    proptest! {
        #[test]
        fn every_event_reads_back(room in "\\PC{1,20}", kind in ".{1,20}", id in ".{1,20}", from in ".{1,20}", data in ".{0,40}") {
            prop_assume!([&room, &kind, &id, &from].iter().all(|text| text.len() <= 100));
            let event = Event::new(kind.clone()).room(room.clone()).from(from.clone()).data(json!({"d": data}));
            let read = read(encode(&event, &id, 5).unwrap()).unwrap();
            prop_assert_eq!((read.room(), read.kind(), read.id(), read.from()), (&*room, &*kind, &*id, Some(&*from)));
            let value: serde_json::Value = serde_json::from_slice(read.json()).unwrap();
            prop_assert_eq!(&value["data"]["d"], &json!(data));
        }

        #[test]
        fn any_bytes_are_read_or_refused(bytes in proptest::collection::vec(any::<u8>(), 0..80)) {
            let mut ours = b"{\"room\":\"".to_vec();
            ours.extend(&bytes);
            let _ = (read(bytes.into()), read(ours.into()));
        }
    }
}
