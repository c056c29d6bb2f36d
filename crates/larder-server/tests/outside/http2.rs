//! HTTP/2, whose streams share a connection.

use std::time::Duration;

use bytes::Bytes;
use http_body_util::{BodyExt, Empty};
use hyper::body::Incoming;
use hyper::client::conn::http2::{Builder, SendRequest};
use hyper::{Request, Response};
use hyper_util::rt::{TokioExecutor, TokioIo};
use larder_testkit::assert_eventually;
use serde_json::{Value, json};
use tokio::net::TcpStream;

use crate::client::Client;
use crate::live::Socket;
use crate::stack::{Kind, Stack};

/// The server waits for 10 s before it takes a client for one that reads nothing, and some more until it ends its stream.
const PATIENCE: Duration = Duration::from_secs(60);
/// What a server may send of one stream before the client asks for more.
const WINDOW: u32 = 65_535;

/// A connection of somebody who is signed in.
struct Connection<'a> {
    sender: SendRequest<Empty<Bytes>>,
    who: &'a Client,
    url: &'a str,
}

impl<'a> Connection<'a> {
    async fn to(url: &'a str, who: &'a Client) -> Self {
        let stream = TcpStream::connect(url.trim_start_matches("http://")).await.unwrap();
        let mut builder = Builder::new(TokioExecutor::new());
        builder.initial_stream_window_size(WINDOW).initial_connection_window_size(1 << 20);
        let (sender, connection) = builder.handshake(TokioIo::new(stream)).await.unwrap();
        tokio::spawn(connection);
        Self { sender, who, url }
    }

    async fn get(&mut self, path: &str) -> Response<Incoming> {
        let bearer = format!("Bearer {}", self.who.token.as_deref().unwrap());
        let request = Request::get(format!("{}{path}", self.url)).header("authorization", bearer);
        self.sender.ready().await.expect("the connection is open");
        let response = self.sender.send_request(request.body(Empty::new()).unwrap()).await.unwrap();
        assert_eq!(response.status(), 200, "{path}");
        response
    }

    /// An event stream of `acme` with the room `r`.
    async fn events(&mut self) -> Events {
        let body = self.get("/sse/notifications/acme?rooms=r").await.into_body();
        Events { body, text: String::new() }
    }
}

/// An event stream. What it does not read, its client does not ask the server for.
struct Events {
    body: Incoming,
    text: String,
}

impl Events {
    /// The next message of this kind.
    async fn next(&mut self, kind: &str) -> Value {
        loop {
            if let Some((block, rest)) = self.text.split_once("\n\n") {
                let (block, rest) = (block.to_owned(), rest.to_owned());
                self.text = rest;
                let field = |name: &str| block.lines().find_map(|line| line.strip_prefix(name));
                if field("event: ") == Some(kind) {
                    return serde_json::from_str(field("data: ").unwrap()).unwrap();
                }
                continue;
            }
            let frame = tokio::time::timeout(PATIENCE, self.body.frame()).await.expect("something comes");
            let data = frame.expect("the stream goes on").unwrap().into_data().unwrap();
            self.text.push_str(std::str::from_utf8(&data).unwrap());
        }
    }

    /// Reads what there is: how many bytes came, and the error at their end, if they end with one.
    async fn rest(mut self) -> (usize, Option<hyper::Error>) {
        let mut read = 0;
        loop {
            match tokio::time::timeout(PATIENCE, self.body.frame()).await.expect("it is over") {
                Some(Ok(frame)) => read += frame.into_data().unwrap().len(),
                Some(Err(error)) => return (read, Some(error)),
                None => return (read, None),
            }
        }
    }
}

/// Publishes 60 kB to the room `r`, and reads them.
async fn tell(socket: &mut Socket, number: u64) {
    let data = json!({"n": number, "data": "x".repeat(60_000)});
    socket.send(&json!({"id": number, "type": "pub", "room": "r", "data": data})).await;
    let mut left = vec!["event", "ok"];
    while !left.is_empty() {
        let message = socket.next().await;
        assert!(message["type"] != "event" || message["data"]["n"] == number, "{message}");
        left.retain(|kind| message["type"] != *kind);
    }
}

#[tokio::test]
async fn an_event_stream_that_nobody_reads_is_reset_and_the_others_of_its_connection_go_on() {
    let stack = Stack::start(Kind::MemorySqlite).await;
    let (acme, url) = (stack.acme().await, stack.server.url());
    let mut connection = Connection::to(url, &acme).await;
    let (unread, mut beside) = (connection.events().await, connection.events().await);
    let mut socket = Socket::open(&acme, url, "acme", "rooms=r").await;
    socket.expect("hello").await;
    socket.expect("synced").await;
    beside.next("synced").await;
    // Together more than the window, what hyper holds, and what may wait for a connection.
    for number in 1..=12 {
        tell(&mut socket, number).await;
        assert_eq!(beside.next("event").await["data"]["n"], number);
    }
    let metrics = || async { stack.anyone().get("/metrics").await.text() };
    assert_eventually!(
        metrics().await.contains("larder_live_closes_total{code=\"4003\"} 1\n"),
        PATIENCE,
        "it is too slow"
    );
    assert_eventually!(
        metrics().await.contains("larder_connections{kind=\"sse\"} 1\n"),
        PATIENCE,
        "nothing is kept for it"
    );
    // The stream beside it on its connection, and another connection.
    tell(&mut socket, 13).await;
    assert_eq!(beside.next("event").await["data"]["n"], 13);
    connection.get("/health").await;
    connection.events().await.next("hello").await;
    let (read, error) = unread.rest().await;
    let error = format!("{:?}", error.expect("it has not come to its end"));
    assert!(error.contains("CANCEL") && error.contains("Remote"), "{error}");
    assert!(read <= WINDOW as usize, "{read} bytes were sent, of which none was asked for");
}
