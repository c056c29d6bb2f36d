//! What the server says, encoded once for however many are told.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::sync::{Arc, OnceLock};

use bytes::Bytes;
use larder::LoggedEvent;
use serde::Serialize;
use serde_json::value::RawValue;
use tokio_tungstenite::tungstenite::Utf8Bytes;

use super::{CloseCode, ErrorCode, Place};

/// Why events are missing for good.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Reset {
    Epoch,
    Window,
    Limit,
    Forced,
}

impl Reset {
    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Epoch => "epoch",
            Self::Window => "window",
            Self::Limit => "limit",
            Self::Forced => "forced",
        }
    }
}

/// One frame. Cheap to clone: all connections share its bytes.
#[derive(Clone, Debug)]
pub(crate) struct Frame(Arc<Encoded>);

#[derive(Debug)]
struct Encoded {
    text: Utf8Bytes,
    /// The `event:` of an event stream.
    name: &'static str,
    /// Where it puts the client's cursor.
    place: Option<Place>,
    /// May be dropped when too much waits.
    ephemeral: bool,
    /// For event streams; made by the first that needs it.
    sse: OnceLock<Bytes>,
}

/// The fields of `hello`.
#[derive(Serialize)]
pub(crate) struct Hello<'a> {
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) id: Option<u32>,
    #[serde(rename = "type")]
    pub(crate) kind: &'static str,
    pub(crate) v: u32,
    pub(crate) conn: &'a str,
    pub(crate) secret: &'a str,
    pub(crate) node: &'a str,
    pub(crate) tenant: &'a str,
    pub(crate) user: &'a str,
    pub(crate) ping_ms: u64,
    pub(crate) max_msg: usize,
    pub(crate) exp: u64,
    pub(crate) epoch: &'a str,
    pub(crate) offset: u64,
    pub(crate) rooms: &'a [String],
    #[serde(skip_serializing_if = "refuses_nothing")]
    pub(crate) refused: &'a BTreeMap<String, &'static str>,
}

fn refuses_nothing(refused: &BTreeMap<String, &'static str>) -> bool {
    refused.is_empty()
}

impl Frame {
    fn new(name: &'static str, text: String, place: Option<Place>) -> Self {
        Self::made(name, text, place, false)
    }

    fn made(name: &'static str, text: String, place: Option<Place>, ephemeral: bool) -> Self {
        Self(Arc::new(Encoded { text: text.into(), name, place, ephemeral, sse: OnceLock::new() }))
    }

    /// What the WebSocket sends.
    pub(crate) fn text(&self) -> Utf8Bytes {
        self.0.text.clone()
    }

    pub(crate) fn as_str(&self) -> &str {
        &self.0.text
    }

    pub(crate) fn len(&self) -> usize {
        self.0.text.len()
    }

    pub(crate) fn is_ephemeral(&self) -> bool {
        self.0.ephemeral
    }

    /// What an event stream sends.
    pub(crate) fn sse(&self) -> Bytes {
        let encoded = &self.0;
        let made = encoded.sse.get_or_init(|| {
            let mut text = String::with_capacity(encoded.text.len() + 64);
            if let Some(place) = &encoded.place {
                let _ = writeln!(text, "id: {place}");
            }
            let _ = write!(text, "event: {}\ndata: {}\n\n", encoded.name, encoded.text.as_str());
            text.into()
        });
        made.clone()
    }

    /// An event of the log. `json` is the object that its publisher made; the position is put before it.
    pub(crate) fn event(place: &Place, json: &str, replay: bool) -> Self {
        let mut text = String::with_capacity(json.len() + place.epoch().len() + 64);
        begin(&mut text, "event", place);
        if replay {
            text.push_str(r#","replay":true"#);
        }
        let fields = json.strip_prefix('{').unwrap_or(json);
        if fields != "}" {
            text.push(',');
        }
        text.push_str(fields);
        Self::new("event", text, Some(place.clone()))
    }

    /// An event of the log, with its position.
    pub(crate) fn logged(event: &LoggedEvent, replay: bool) -> Self {
        let json = std::str::from_utf8(event.json()).expect("the log takes JSON only");
        Self::event(event.position(), json, replay)
    }

    /// An event that is not logged.
    pub(crate) fn message(room: &str, from: &str, data: &RawValue) -> Self {
        #[derive(Serialize)]
        struct Fields<'a> {
            r#type: &'static str,
            room: &'a str,
            kind: &'static str,
            from: &'a str,
            data: &'a RawValue,
        }
        let fields = Fields { r#type: "message", room, kind: "message", from, data };
        Self::made("message", json(&fields), None, true)
    }

    /// The answer to the text `ping`.
    pub(crate) fn pong() -> Self {
        static PONG: OnceLock<Frame> = OnceLock::new();
        PONG.get_or_init(|| Self::new("pong", "pong".to_owned(), None)).clone()
    }

    pub(crate) fn hello(hello: &Hello<'_>) -> Self {
        Self::new("hello", json(hello), None)
    }

    pub(crate) fn synced(place: &Place, replayed: usize) -> Self {
        let mut text = String::new();
        begin(&mut text, "synced", place);
        let _ = write!(text, r#","replayed":{replayed}}}"#);
        Self::new("synced", text, Some(place.clone()))
    }

    pub(crate) fn reset(why: Reset, place: &Place) -> Self {
        let mut text = String::new();
        begin(&mut text, "reset", place);
        let _ = write!(text, r#","reason":"{}"}}"#, why.name());
        Self::new("reset", text, Some(place.clone()))
    }

    pub(crate) fn ping(place: &Place) -> Self {
        let mut text = String::new();
        begin(&mut text, "ping", place);
        text.push('}');
        Self::new("ping", text, Some(place.clone()))
    }

    pub(crate) fn bye(code: CloseCode, retry_ms: u64) -> Self {
        let code = code.number();
        Self::new("bye", format!(r#"{{"type":"bye","code":{code},"retry_ms":{retry_ms}}}"#), None)
    }

    /// Changes of presence; the lists are JSON already.
    pub(crate) fn presence_diff(room: &str, seq: u64, join: &str, leave: &str, total: u64) -> Self {
        let room = json(room);
        let text = format!(
            r#"{{"type":"presence_diff","room":{room},"seq":{seq},"join":[{join}],"leave":[{leave}],"total":{total}}}"#
        );
        Self::new("presence_diff", text, None)
    }

    /// An answer: `ok` with `fields`, which is the inside of an object or nothing.
    pub(crate) fn ok(id: Option<u32>, fields: &str) -> Self {
        Self::answer("ok", id, fields)
    }

    /// The answer to a new token: until when it is good, and which rooms it ended.
    pub(crate) fn renewed(id: Option<u32>, expires_at: u64, refused: &BTreeMap<&str, &str>) -> Self {
        let mut fields = format!(r#""exp":{expires_at}"#);
        if !refused.is_empty() {
            let _ = write!(fields, r#","refused":{}"#, json(refused));
        }
        Self::ok(id, &fields)
    }

    pub(crate) fn answer(name: &'static str, id: Option<u32>, fields: &str) -> Self {
        let mut text = String::with_capacity(fields.len() + 48);
        text.push('{');
        if let Some(id) = id {
            let _ = write!(text, r#""id":{id},"#);
        }
        let comma = if fields.is_empty() { "" } else { "," };
        let _ = write!(text, r#""type":"{name}"{comma}{fields}}}"#);
        Self::new(name, text, None)
    }

    pub(crate) fn error(id: Option<u32>, code: ErrorCode, why: &str) -> Self {
        Self::error_after(id, code, why, None)
    }

    pub(crate) fn error_after(
        id: Option<u32>,
        code: ErrorCode,
        why: &str,
        retry_after_ms: Option<u64>,
    ) -> Self {
        let mut fields = format!(
            r#""code":"{}","number":{},"msg":{},"retry":{}"#,
            code.name(),
            code.number(),
            json(&why),
            code.retry()
        );
        if let Some(after) = retry_after_ms {
            let _ = write!(fields, r#","retry_after_ms":{after}"#);
        }
        Self::answer("error", id, &fields)
    }
}

fn begin(text: &mut String, name: &str, place: &Place) {
    let _ = write!(text, r#"{{"type":"{name}","epoch":{},"offset":{}"#, json(place.epoch()), place.offset());
}

/// Plain data with text keys, which is always JSON.
pub(crate) fn json<T: Serialize + ?Sized>(value: &T) -> String {
    serde_json::to_string(value).expect("plain data is JSON")
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::{Value, json};

    fn place() -> Place {
        "k3x:17".parse().unwrap()
    }

    fn value(frame: &Frame) -> Value {
        serde_json::from_str(frame.as_str()).unwrap()
    }

    #[test]
    fn an_event_is_the_publishers_object_with_its_position_before_it() {
        let json = r#"{"room":"tenant","eid":"e1","kind":"a.b","ts":5,"data":{"x":[1]}}"#;
        let live = value(&Frame::event(&place(), json, false));
        assert_eq!(
            live,
            json!({"type":"event","epoch":"k3x","offset":17,"room":"tenant","eid":"e1","kind":"a.b","ts":5,"data":{"x":[1]}})
        );
        let missed = value(&Frame::event(&place(), json, true));
        assert_eq!(missed["replay"], true);
        assert_eq!(value(&Frame::event(&place(), "{}", false))["offset"], 17);
    }

    #[test]
    fn every_frame_is_an_object_with_its_type() {
        let data = RawValue::from_string("[1]".to_owned()).unwrap();
        for (frame, is) in [
            (Frame::message("a", "4\"2", &data), "message"),
            (Frame::synced(&place(), 3), "synced"),
            (Frame::reset(Reset::Window, &place()), "reset"),
            (Frame::ping(&place()), "ping"),
            (Frame::bye(CloseCode::Drain, 7), "bye"),
            (Frame::ok(Some(3), ""), "ok"),
            (Frame::ok(None, r#""exp":1"#), "ok"),
            (Frame::error(Some(1), ErrorCode::Forbidden, "no \"entry\""), "error"),
        ] {
            assert_eq!(value(&frame)["type"], is);
        }
    }

    #[test]
    fn an_answer_carries_the_id_and_an_error_its_number() {
        assert_eq!(value(&Frame::ok(Some(3), r#""offset":4"#)), json!({"id":3,"type":"ok","offset":4}));
        let error = value(&Frame::error_after(None, ErrorCode::TooMany, "slow down", Some(50)));
        assert_eq!(
            error,
            json!({"type":"error","code":"too_many","number":111,"msg":"slow down","retry":true,"retry_after_ms":50})
        );
    }

    #[test]
    fn on_an_event_stream_what_moves_the_cursor_has_it_as_its_id() {
        let synced = Frame::synced(&"k:4".parse().unwrap(), 0);
        let text = String::from_utf8(synced.sse().to_vec()).unwrap();
        let line = synced.as_str();
        assert_eq!(text, format!("id: k:4\nevent: synced\ndata: {line}\n\n"));
        assert!(Frame::ok(None, "").sse().starts_with(b"event: ok\n"));
    }
}
