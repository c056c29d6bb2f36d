//! Event streams, tickets and commands by other requests.

use std::time::Duration;

use larder_testkit::assert_eventually;
use serde_json::{Value, json};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

use crate::support::{PATIENCE, Server, read_all, token};

/// An event stream, read as a browser does. HTTP/1.0, so that the body comes without chunks.
pub(crate) struct Events {
    stream: TcpStream,
    buffer: String,
    pub(crate) head: String,
}

/// One event.
#[derive(Debug)]
pub(crate) struct Told {
    event: String,
    pub(crate) data: Value,
    id: Option<String>,
}

impl Events {
    pub(crate) async fn open(server: &Server, path: &str, headers: &[(&str, &str)]) -> Self {
        let mut stream = TcpStream::connect(server.address).await.unwrap();
        let mut request = format!("GET {path} HTTP/1.0\r\nhost: {}\r\n", server.address);
        for (name, value) in headers {
            request.push_str(&format!("{name}: {value}\r\n"));
        }
        stream.write_all(format!("{request}\r\n").as_bytes()).await.unwrap();
        let mut events = Self { stream, buffer: String::new(), head: String::new() };
        events.head = events.block("\r\n\r\n").await;
        events
    }

    /// What comes before `end`.
    async fn block(&mut self, end: &str) -> String {
        loop {
            if let Some((block, rest)) = self.buffer.split_once(end) {
                let (block, rest) = (block.to_owned(), rest.to_owned());
                self.buffer = rest;
                return block;
            }
            let mut bytes = [0; 4096];
            let read =
                tokio::time::timeout(PATIENCE, self.stream.read(&mut bytes)).await.expect("something comes");
            let read = read.unwrap();
            assert!(read > 0, "it ended after {:?}", self.buffer);
            self.buffer.push_str(std::str::from_utf8(&bytes[..read]).unwrap());
        }
    }

    /// The next event; comments and `retry` are passed over.
    async fn next(&mut self) -> Told {
        loop {
            let block = self.block("\n\n").await;
            let field =
                |name: &str| block.lines().find_map(|line| line.strip_prefix(name).map(str::to_owned));
            if let (Some(event), Some(data)) = (field("event: "), field("data: ")) {
                let data: Value = serde_json::from_str(&data).unwrap();
                assert_eq!(data["type"], event.as_str());
                return Told { event, data, id: field("id: ") };
            }
        }
    }

    pub(crate) async fn expect(&mut self, event: &str) -> Told {
        let told = self.next().await;
        assert_eq!(told.event, event, "{told:?}");
        told
    }
}

pub(crate) async fn post(server: &Server, path: &str, headers: &[(&str, &str)], body: &str) -> (u16, String) {
    let mut stream = TcpStream::connect(server.address).await.unwrap();
    let mut request =
        format!("POST {path} HTTP/1.0\r\nhost: {}\r\ncontent-length: {}\r\n", server.address, body.len());
    for (name, value) in headers {
        request.push_str(&format!("{name}: {value}\r\n"));
    }
    stream.write_all(format!("{request}\r\n{body}").as_bytes()).await.unwrap();
    let answer = read_all(stream).await;
    let (head, body) = answer.split_once("\r\n\r\n").unwrap();
    (head.split(' ').nth(1).unwrap().parse().unwrap(), body.to_owned())
}

pub(crate) fn bearer(user: &str) -> String {
    format!("Bearer {}", token("acme", user))
}

pub(crate) async fn open(server: &Server, query: &str, user: &str) -> (Events, Value) {
    let path = format!("/sse/notifications/acme?{query}");
    let mut events = Events::open(server, &path, &[("authorization", &bearer(user))]).await;
    let hello = events.expect("hello").await.data;
    (events, hello)
}

#[tokio::test]
async fn an_event_stream_begins_with_hello_and_carries_positions_as_ids() {
    let server = Server::start().await;
    let (mut events, hello) = open(&server, "rooms=orders", "42").await;
    let head = events.head.to_lowercase();
    assert!(head.starts_with("http/1.0 200"), "{head}");
    for line in
        ["content-type: text/event-stream", "cache-control: no-cache, no-transform", "x-accel-buffering: no"]
    {
        assert!(head.contains(line), "{line} in {head}");
    }
    assert_eq!(hello["rooms"], json!(["tenant", "user:42", "orders"]));
    let synced = events.expect("synced").await;
    let place = server.publish_to("acme", "orders", json!({"n": 1})).await;
    let event = events.expect("event").await;
    assert_eq!(event.id, Some(place.to_string()));
    assert_eq!(event.data["data"]["n"], 1);
    assert!(synced.id.unwrap().ends_with(":0"));
}

#[tokio::test]
async fn an_event_stream_goes_on_after_the_last_event_id() {
    let server = Server::start().await;
    let last = server.publish("acme", 5).await;
    let at = |offset: u64| format!("{}:{offset}", last.epoch());
    // The header is what a browser sends by itself; it is newer than what the page has put into the URL.
    let path = format!("/sse/notifications/acme?last_event_id={}", at(1));
    let headers = [("authorization", bearer("1")), ("last-event-id", at(3))];
    let headers = headers.each_ref().map(|(name, value)| (*name, value.as_str()));
    let mut events = Events::open(&server, &path, &headers).await;
    events.expect("hello").await;
    for offset in 4..=5 {
        let event = events.expect("event").await;
        assert_eq!((event.id, &event.data["replay"]), (Some(at(offset)), &json!(true)));
    }
    assert_eq!(events.expect("synced").await.data["replayed"], 2);
    let (mut by_url, _) = open(&server, &format!("last_event_id={}", at(4)), "1").await;
    assert_eq!(by_url.expect("event").await.id, Some(at(5)));
    let (mut lost, _) = open(&server, "last_event_id=other:4", "1").await;
    let reset = lost.expect("reset").await;
    assert_eq!((reset.data["reason"].as_str(), reset.id), (Some("epoch"), Some(at(5))));
}

#[tokio::test]
async fn who_may_not_open_an_event_stream_gets_a_status() {
    let server = Server::start().await;
    let expired = format!("Bearer {}", json!({"tenant": "acme", "user": "1", "ttl": -1}));
    for (headers, status) in [
        (vec![], "401"),
        (vec![("authorization", "Bearer nonsense")], "401"),
        (vec![("authorization", expired.as_str())], "401"),
        (vec![("authorization", "Bearer {\"tenant\":\"globex\",\"user\":\"1\"}")], "403"),
        (vec![("authorization", bearer("1").leak() as &str), ("origin", "https://evil.example")], "403"),
    ] {
        let events = Events::open(&server, "/sse/notifications/acme", &headers).await;
        assert!(events.head.starts_with(&format!("HTTP/1.0 {status}")), "{headers:?}: {}", events.head);
    }
    let events = Events::open(&server, "/sse/notifications/acme?ticket=0123456789abcdef", &[]).await;
    assert!(events.head.starts_with("HTTP/1.0 401"), "{}", events.head);
}

#[tokio::test]
async fn a_ticket_opens_one_stream_and_no_second() {
    let server = Server::start().await;
    let (status, body) = post(&server, "/rt/acme/ticket", &[("authorization", &bearer("42"))], "").await;
    assert_eq!(status, 200);
    let ticket: Value = serde_json::from_str(&body).unwrap();
    assert_eq!(ticket["expires_in"], 30);
    let path =
        |tenant: &str| format!("/sse/notifications/{tenant}?ticket={}", ticket["ticket"].as_str().unwrap());
    let mut events = Events::open(&server, &path("acme"), &[]).await;
    assert_eq!(events.expect("hello").await.data["user"], "42");
    let again = Events::open(&server, &path("acme"), &[]).await;
    assert!(again.head.starts_with("HTTP/1.0 401"), "{}", again.head);

    assert_eq!(post(&server, "/rt/globex/ticket", &[("authorization", &bearer("42"))], "").await.0, 403);
    assert_eq!(post(&server, "/rt/acme/ticket", &[], "").await.0, 401);
    let (_, body) = post(&server, "/rt/acme/ticket", &[("authorization", &bearer("42"))], "").await;
    let ticket: Value = serde_json::from_str(&body).unwrap();
    let elsewhere = format!("/sse/notifications/globex?ticket={}", ticket["ticket"].as_str().unwrap());
    assert!(Events::open(&server, &elsewhere, &[]).await.head.starts_with("HTTP/1.0 401"));
    // A WebSocket takes tickets, too.
    let (_, body) = post(&server, "/rt/acme/ticket", &[("authorization", &bearer("42"))], "").await;
    let ticket: Value = serde_json::from_str(&body).unwrap();
    let query = format!("ticket={}", ticket["ticket"].as_str().unwrap());
    let mut socket = server.dial(server.request("acme", &query)).await.unwrap();
    assert_eq!(socket.expect("hello").await["user"], "42");
    let mut again = server.dial(server.request("acme", &query)).await.unwrap();
    assert_eq!(again.closed().await, (4500, Some("unauthorized".into())));
}

#[tokio::test]
async fn a_user_who_takes_too_many_tickets_leaves_some_to_the_others() {
    let server = Server::start().await;
    let mut statuses = Vec::new();
    for _ in 0..200 {
        statuses.push(post(&server, "/rt/acme/ticket", &[("authorization", &bearer("42"))], "").await.0);
        if statuses.ends_with(&[429]) {
            break;
        }
    }
    assert!(statuses.len() > 20 && statuses.ends_with(&[429]), "{statuses:?}");
    assert_eq!(post(&server, "/rt/acme/ticket", &[("authorization", &bearer("7"))], "").await.0, 200);
    let large = json!({"tenant": "acme", "user": "8", "rooms": ["r".repeat(5000)]});
    let large = format!("Bearer {large}");
    assert_eq!(post(&server, "/rt/acme/ticket", &[("authorization", &large)], "").await.0, 422);
}

#[tokio::test]
async fn a_clear_of_the_tenant_takes_no_ticket_and_gives_none_back() {
    let server = Server::start().await;
    let (_, body) = post(&server, "/rt/acme/ticket", &[("authorization", &bearer("42"))], "").await;
    let ticket: Value = serde_json::from_str(&body).unwrap();
    let path = format!("/sse/notifications/acme?ticket={}", ticket["ticket"].as_str().unwrap());
    server.cache.tenant("acme").invalidate(larder::all()).await.unwrap();
    assert!(Events::open(&server, &path, &[]).await.head.starts_with("HTTP/1.0 200"));
    server.cache.tenant("acme").invalidate(larder::all()).await.unwrap();
    assert!(Events::open(&server, &path, &[]).await.head.starts_with("HTTP/1.0 401"));
}

/// Says something for the stream of `hello`, as the user `as_user`; the status.
pub(crate) async fn command(server: &Server, hello: &Value, as_user: &str, message: Value) -> u16 {
    let mut command = json!({"conn": hello["conn"], "secret": hello["secret"]});
    command.as_object_mut().unwrap().extend(message.as_object().unwrap().clone());
    post(server, "/rt/acme/cmd", &[("authorization", &bearer(as_user))], &command.to_string()).await.0
}

#[tokio::test]
async fn commands_for_a_stream_come_by_requests_and_are_answered_on_it() {
    let server = Server::start().await;
    let (mut events, hello) = open(&server, "", "42").await;
    events.expect("synced").await;
    let sub = json!({"id": 3, "type": "sub", "rooms": ["orders"]});
    assert_eq!(command(&server, &hello, "42", sub.clone()).await, 202);
    let ok = events.expect("ok").await.data;
    assert_eq!(ok, json!({"id": 3, "type": "ok", "subs": {"orders": {"offset": 0}}}));
    server.publish_to("acme", "orders", json!({"n": 1})).await;
    assert_eq!(events.expect("event").await.data["room"], "orders");

    drop(events);
    assert_eventually!(
        command(&server, &hello, "42", sub.clone()).await == 410 && server.live.numbers().streams == 0,
        PATIENCE,
        "a client that has gone is noticed"
    );
}

#[tokio::test]
async fn a_command_needs_a_token_of_the_streams_user_and_its_secret() {
    let server = Server::start().await;
    let (mut events, hello) = open(&server, "", "42").await;
    events.expect("synced").await;
    let sub = json!({"id": 3, "type": "sub", "rooms": ["orders"]});
    assert_eq!(command(&server, &hello, "7", sub.clone()).await, 403, "of another user");
    let wrong = json!({"conn": hello["conn"], "secret": "wrong"});
    assert_eq!(command(&server, &wrong, "42", sub.clone()).await, 403);
    let elsewhere = json!({"conn": "nope.x", "secret": hello["secret"]});
    assert_eq!(command(&server, &elsewhere, "42", sub.clone()).await, 403);

    let whole =
        json!({"conn": hello["conn"], "secret": hello["secret"], "type": "unsub", "rooms": []}).to_string();
    let own = bearer("42");
    let own: &[(&str, &str)] = &[("authorization", &own)];
    for (tenant, headers, body, status) in [
        ("acme", &[][..], whole.as_str(), 401),
        ("acme", &[("authorization", "Bearer nonsense")], &whole, 401),
        ("globex", own, &whole, 403),
        ("acme", own, "nonsense", 400),
        ("acme", own, "{}", 400),
        ("acme", own, &"x".repeat(65_409), 413),
    ] {
        let answer = post(&server, &format!("/rt/{tenant}/cmd"), headers, body).await;
        assert_eq!(answer.0, status, "{tenant} {headers:?} {}", &body[..body.len().min(100)]);
    }
    // Nothing came of any.
    assert_eq!(command(&server, &hello, "42", json!({"id": 9, "type": "unsub", "rooms": []})).await, 202);
    assert_eq!(events.expect("ok").await.data["id"], 9);
}

#[tokio::test]
async fn a_flood_of_commands_ends_an_event_stream_and_no_other() {
    let server = Server::start().await;
    let (mut events, hello) = open(&server, "", "1").await;
    let (mut other, _) = open(&server, "", "2").await;
    other.expect("synced").await;
    assert_eventually!(
        command(&server, &hello, "1", json!({"type": "unsub", "rooms": []})).await == 410,
        PATIENCE,
        "more than 20 a second are too many"
    );
    let mut last = events.next().await;
    while last.event != "error" {
        last = events.next().await;
    }
    assert_eq!(last.data["code"], "too_many");
    assert_eq!(events.stream.read(&mut [0; 1]).await.unwrap(), 0, "it is over");
    assert!(server.live.numbers().closes.contains(&(4006, 1)));
    server.publish("acme", 1).await;
    other.expect("event").await;
}

#[tokio::test]
async fn an_idle_stream_is_kept_alive_by_comments_and_pings() {
    let server = Server::with(|config| {
        config.heartbeat = Duration::from_millis(50);
        config.ping = Duration::from_millis(300);
    })
    .await;
    let (mut events, _) = open(&server, "", "42").await;
    events.expect("synced").await;
    assert_eq!(events.block("\n\n").await, ": hb");
    let place = server.publish_to("acme", "elsewhere", json!(1)).await;
    let ping = events.expect("ping").await;
    assert_eq!(ping.id, Some(place.to_string()), "the cursor moves though nothing was told");
}

#[tokio::test]
async fn a_stream_that_was_quiet_for_longer_than_a_reader_may_take_is_not_taken_for_unread() {
    let server = Server::with(|config| {
        config.write_stall = Duration::from_millis(50);
        config.ping = Duration::from_millis(300);
    })
    .await;
    let (mut events, _) = open(&server, "", "42").await;
    events.expect("synced").await;
    for _ in 0..4 {
        events.expect("ping").await;
    }
    assert!(!server.live.numbers().closes.contains(&(4003, 1)));
}

#[tokio::test]
async fn a_full_or_going_server_answers_200_and_tells_to_come_later() {
    let server = Server::with(|config| config.node_connections = 1).await;
    let (_one, _) = open(&server, "", "1").await;
    let mut stream = TcpStream::connect(server.address).await.unwrap();
    let request = format!("GET /sse/notifications/acme HTTP/1.0\r\nauthorization: {}\r\n\r\n", bearer("2"));
    stream.write_all(request.as_bytes()).await.unwrap();
    let answer = read_all(stream).await;
    assert!(answer.starts_with("HTTP/1.0 200"), "{answer}");
    assert!(
        answer.contains("\r\n\r\nretry: 30000\n\nevent: bye\ndata: {\"type\":\"bye\",\"code\":4000"),
        "{answer}"
    );
}

#[tokio::test]
async fn a_stream_that_nobody_reads_is_given_up_and_holds_no_memory() {
    let server = Server::with(|config| {
        config.write_stall = Duration::from_millis(200);
        config.ping = Duration::from_millis(100);
    })
    .await;
    let (events, _) = open(&server, "", "1").await;
    let mut other = server.live("acme", "2").await;
    let data = "x".repeat(60_000);
    let mut sent = 0;
    // What is queued is bounded by bytes; beyond that the connection is over, whoever notices first.
    while !server.live.numbers().closes.contains(&(4003, 1)) {
        server.publish_to("acme", "tenant", json!({"n": sent, "data": data})).await;
        loop {
            let message = other.next().await;
            if message["type"] == "event" {
                break;
            }
        }
        sent += 1;
        assert!(sent < 1000, "60 MB are more than sockets and queue hold");
    }
    drop(events);
    assert_eventually!(server.live.numbers().streams == 0, PATIENCE, "it is gone");
}
