//! Live notifications of the program: PROTOCOL.md of larder-live, with the backend's tokens and changes.

use std::time::Duration;

use futures_util::{SinkExt, StreamExt};
use larder_testkit::assert_eventually;
use serde_json::{Value, json};
use tokio::net::{TcpSocket, TcpStream};
use tokio_tungstenite::WebSocketStream;
use tokio_tungstenite::tungstenite::client::IntoClientRequest;
use tokio_tungstenite::tungstenite::{self, Message};

use crate::client::Client;
use crate::routes::a_campaign;
use crate::server::{Dir, Server, begin};
use crate::stack::{Kind, Stack, on_every_stack};

const PATIENCE: Duration = Duration::from_secs(20);

/// A WebSocket of somebody who is signed in.
pub(crate) struct Socket(WebSocketStream<TcpStream>);

impl Socket {
    pub(crate) async fn open(client: &Client, url: &str, tenant: &str, query: &str) -> Self {
        Self::try_open(client, url, tenant, query).await.unwrap()
    }

    /// From the client's own address. An answer that is no upgrade is an error.
    pub(crate) async fn try_open(
        client: &Client,
        url: &str,
        tenant: &str,
        query: &str,
    ) -> Result<Self, tungstenite::Error> {
        let url = format!("{}/ws/notifications/{tenant}?{query}", url.replace("http://", "ws://"));
        let mut request = url.into_client_request()?;
        let bearer = format!("Bearer {}", client.token.as_deref().unwrap());
        request.headers_mut().insert("authorization", bearer.parse().unwrap());
        let server = request.uri().authority().unwrap().as_str().parse().unwrap();
        let socket = TcpSocket::new_v4()?;
        if let Some(address) = client.address {
            socket.bind((address, 0).into())?;
        }
        let (socket, _) = tokio_tungstenite::client_async(request, socket.connect(server).await?).await?;
        Ok(Self(socket))
    }

    pub(crate) async fn send(&mut self, message: &Value) {
        self.0.send(Message::text(message.to_string())).await.unwrap();
    }

    /// The next message, aside of pings.
    pub(crate) async fn next(&mut self) -> Value {
        self.next_within(PATIENCE).await
    }

    pub(crate) async fn next_within(&mut self, patience: Duration) -> Value {
        loop {
            match tokio::time::timeout(patience, self.0.next()).await.expect("a message comes") {
                Some(Ok(Message::Text(text))) => {
                    let message: Value = serde_json::from_str(&text).unwrap_or_else(|_| json!(text.as_str()));
                    if message["type"] != "ping" {
                        return message;
                    }
                }
                Some(Ok(Message::Close(frame))) => return json!({"closed": u16::from(frame.unwrap().code)}),
                Some(Ok(_)) => {}
                other => panic!("{other:?} instead of a message"),
            }
        }
    }

    pub(crate) async fn expect(&mut self, kind: &str) -> Value {
        let message = self.next().await;
        assert_eq!(message["type"], kind, "{message}");
        message
    }
}

on_every_stack!(a_change_reaches_its_tenant_in_order_and_who_reads_again_sees_it);

async fn a_change_reaches_its_tenant_in_order_and_who_reads_again_sees_it(stack: Stack) {
    let (acme, globex) = (stack.acme().await, stack.globex().await);
    let url = stack.server.url();
    let mut here = Socket::open(&acme, url, "acme", "").await;
    let hello = here.expect("hello").await;
    here.expect("synced").await;
    let mut there = Socket::open(&globex, url, "globex", "").await;
    there.expect("hello").await;
    there.expect("synced").await;

    let made = acme.post("/api/v1/campaigns", a_campaign("first")).await.expect(201).json();
    let path = format!("/api/v1/campaigns/{}", made["id"].as_str().unwrap());
    let event = here.expect("event").await;
    assert_eq!((event["kind"].as_str(), event["room"].as_str()), (Some("campaign.created"), Some("tenant")));
    let mut offset = event["offset"].as_u64().unwrap();
    for name in ["second", "third"] {
        acme.get(&path).await.expect(200);
        acme.put(&path, a_campaign(name)).await.expect(200);
        let event = here.expect("event").await;
        assert_eq!(
            (event["kind"].as_str(), event["offset"].as_u64()),
            (Some("campaign.updated"), Some(offset + 1))
        );
        offset += 1;
        assert_eq!(
            acme.get(&path).await.expect(200).json()["name"],
            name,
            "who has seen the event reads the new value"
        );
    }
    drop(here);
    // The answer does not wait for the log: somebody else sees that the event is there.
    let mut beside = Socket::open(&acme, url, "acme", "").await;
    beside.expect("hello").await;
    beside.expect("synced").await;
    acme.delete(&path).await.expect(204);
    assert_eq!(beside.expect("event").await["kind"], "campaign.deleted");
    let back = format!("pos={}:{offset}", hello["epoch"].as_str().unwrap());
    let mut here = Socket::open(&acme, url, "acme", &back).await;
    here.expect("hello").await;
    let missed = here.expect("event").await;
    assert_eq!(
        (missed["kind"].as_str(), missed["offset"].as_u64(), &missed["replay"]),
        (Some("campaign.deleted"), Some(offset + 1), &json!(true))
    );
    here.expect("synced").await;

    globex.post("/api/v1/campaigns", a_campaign("theirs")).await.expect(201);
    let first = there.expect("event").await;
    assert_eq!(first["kind"], "campaign.created", "nothing of the other tenant came before");
}

#[tokio::test]
async fn a_token_of_another_tenant_is_closed_with_4503_and_a_foreign_origin_refused() {
    let stack = Stack::start(Kind::MemorySqlite).await;
    let acme = stack.acme().await;
    let mut socket = Socket::open(&acme, stack.server.url(), "globex", "").await;
    assert_eq!(socket.next().await["code"], "forbidden");
    assert_eq!(socket.next().await, json!({"closed": 4503}));
    let answer = stack.anyone().get("/sse/notifications/acme").await;
    assert_eq!(answer.status, 401);
    assert_eq!(answer.header("content-type"), "application/problem+json");
    assert_eq!(acme.get("/sse/notifications/globex").await.status, 403);

    let url = format!("{}/ws/notifications/acme", stack.server.url().replace("http://", "ws://"));
    let mut request = url.into_client_request().unwrap();
    request.headers_mut().insert("origin", "https://evil.example".parse().unwrap());
    match tokio_tungstenite::connect_async(request).await {
        Err(tokio_tungstenite::tungstenite::Error::Http(response)) => assert_eq!(response.status(), 403),
        other => panic!("{other:?}"),
    }
}

#[tokio::test]
async fn connections_are_counted_and_count_in_no_limit_on_requests() {
    let stack = Stack::with(
        Kind::MemorySqlite,
        larder_testkit::RedisServer::builder(),
        &[("MAX_CONCURRENT_REQUESTS", "1"), ("METRICS_TOKEN", "scrape")],
    )
    .await;
    let acme = stack.acme().await;
    let mut sockets = Vec::new();
    for _ in 0..3 {
        let mut socket = Socket::open(&acme, stack.server.url(), "acme", "").await;
        socket.expect("hello").await;
        sockets.push(socket);
    }
    acme.get("/api/v1/campaigns").await.expect(200);
    let metrics = stack.anyone().with_token("scrape").get("/metrics").await.expect(200).text();
    assert!(metrics.contains("larder_connections{kind=\"websocket\"} 3\n"), "{metrics}");
    assert!(metrics.contains("larder_live_closes_total{code=\"4000\"} 0\n"), "{metrics}");
    sockets.clear();
    let scraper = stack.anyone().with_token("scrape");
    assert_eventually!(
        scraper.get("/metrics").await.text().contains("larder_connections{kind=\"websocket\"} 0\n"),
        PATIENCE,
        "those that have gone are not counted"
    );
}

#[tokio::test]
async fn a_server_that_stops_asks_its_clients_to_come_back_and_ends_well() {
    let stack = Stack::start(Kind::MemorySqlite).await;
    let acme = stack.acme().await;
    let mut socket = Socket::open(&acme, stack.server.url(), "acme", "").await;
    socket.expect("hello").await;
    socket.expect("synced").await;
    let Stack { server, .. } = stack;
    server.program().terminate();
    let bye = socket.expect("bye").await;
    assert_eq!(bye["code"], 4000);
    assert!(bye["retry_ms"].is_u64());
    assert_eq!(socket.next().await, json!({"closed": 4000}));
    drop(socket);
    assert!(server.stop().success());
}

#[tokio::test]
async fn a_text_ping_is_answered_before_sign_in() {
    let stack = Stack::start(Kind::MemorySqlite).await;
    let url = format!("{}/ws/notifications/acme", stack.server.url().replace("http://", "ws://"));
    let server = TcpStream::connect(stack.server.url().trim_start_matches("http://")).await.unwrap();
    let (socket, _) = tokio_tungstenite::client_async(url, server).await.unwrap();
    let mut socket = Socket(socket);
    socket.0.send(Message::text("ping")).await.unwrap();
    assert_eq!(socket.next().await, "pong");
}

#[tokio::test(flavor = "multi_thread")]
async fn tail_prints_what_came_after_a_position_and_ends_when_told() {
    let stack = Stack::start(Kind::MemorySqlite).await;
    let acme = stack.acme().await;
    // It begins at a position, so nothing depends on who is quicker.
    let mut socket = Socket::open(&acme, stack.server.url(), "acme", "").await;
    let hello = socket.expect("hello").await;
    let since = format!("{}:{}", hello["epoch"].as_str().unwrap(), hello["offset"]);
    for name in ["one", "two"] {
        acme.post("/api/v1/campaigns", a_campaign(name)).await.expect(201);
    }
    let token = acme.token.clone().unwrap();
    let printed = |arguments: &[&str]| {
        let output = stack.server.command(&token, arguments);
        assert!(output.status.success(), "{output:?}");
        String::from_utf8(output.stdout).unwrap()
    };
    let lines = printed(&["tail", "acme", "--since", &since, "--count", "2", "--json"]);
    let offsets: Vec<Value> =
        lines.lines().map(|line| serde_json::from_str::<Value>(line).unwrap()["offset"].clone()).collect();
    let first = hello["offset"].as_u64().unwrap() + 1;
    assert_eq!(offsets, [json!(first), json!(first + 1)], "{lines}");
    let people = printed(&["tail", "acme", "--since", &since, "--count", "1"]);
    assert!(people.contains("  campaign.created  tenant  {"), "{people}");
    let refused = stack.server.command(&token, &["tail", "globex"]);
    assert!(!refused.status.success());
    assert!(String::from_utf8(refused.stderr).unwrap().contains("403"));
}

/// `larder tail acme` while its server comes and goes.
struct Tail {
    program: larder_testkit::Program,
    dir: Dir,
}

impl Tail {
    /// It begins where the log ends now: whoever is quicker, nothing is missed.
    async fn start(server: &Server, acme: &Client) -> Self {
        let dir = Dir::new();
        let hello = Socket::open(acme, server.url(), "acme", "").await.expect("hello").await;
        let since = format!("{}:{}", hello["epoch"].as_str().unwrap(), hello["offset"]);
        let env = [("LARDER_URL", server.url()), ("LARDER_TOKEN", acme.token.as_deref().unwrap())];
        let program = begin(&dir, &env, &["tail", "acme", "--since", &since]);
        Self { program, dir }
    }

    /// Waits for so many events, and returns what was said besides.
    async fn printed(&self, events: usize) -> String {
        assert_eventually!(
            self.program.output().lines().count() >= events,
            PATIENCE,
            "{events} events are printed: {}",
            self.program.output()
        );
        assert_eq!(self.program.output().lines().count(), events);
        self.said()
    }

    fn said(&self) -> String {
        std::fs::read_to_string(self.dir.path().join("errors.txt")).unwrap()
    }
}

async fn listened_to(server: &Server) {
    let anyone = Client::new(server.url());
    assert_eventually!(
        anyone.get("/metrics").await.text().contains("larder_connections{kind=\"sse\"} 1\n"),
        PATIENCE,
        "somebody listens"
    );
}

#[tokio::test]
async fn tail_connects_again_when_its_server_has_restarted_and_says_that_events_are_missing() {
    let dir = Dir::new();
    let server = Server::start_in(&dir, &[]).await;
    let address = server.url().trim_start_matches("http://").to_owned();
    let acme = Client::new(server.url()).sign_in("owner@acme.test").await;
    let tail = Tail::start(&server, &acme).await;
    acme.post("/api/v1/campaigns", a_campaign("before")).await.expect(201);
    assert_eq!(tail.printed(1).await, "");
    server.program().kill();
    drop(server);
    // Without Redis its log has ended with it.
    let _server = Server::start_in(&dir, &[("LISTEN", &address)]).await;
    assert_eventually!(tail.said().contains("events are missing"), PATIENCE, "it is said: {}", tail.said());
    acme.post("/api/v1/campaigns", a_campaign("after")).await.expect(201);
    // The first may be there twice: its row waited in the outbox until the event was in the log, and the server was killed.
    let output = || tail.program.output();
    assert_eventually!(output().contains("\"after\""), PATIENCE, "it is printed: {}", output());
    assert!(tail.said().contains("connecting again"), "{}", tail.said());
}

#[tokio::test]
async fn tail_prints_what_it_missed_while_its_server_was_away() {
    let stack = Stack::start(Kind::RedisSqlite).await;
    let node = stack.second().await;
    let address = node.url().trim_start_matches("http://").to_owned();
    let acme = stack.acme().await;
    let tail = Tail::start(&node, &acme).await;
    acme.post("/api/v1/campaigns", a_campaign("before")).await.expect(201);
    tail.printed(1).await;
    node.program().kill();
    let mut beside = Socket::open(&acme, stack.server.url(), "acme", "").await;
    beside.expect("hello").await;
    beside.expect("synced").await;
    for name in ["meanwhile", "and again"] {
        acme.post("/api/v1/campaigns", a_campaign(name)).await.expect(201);
        // It enters the log when the lease of the killed node has run out: before that nothing has been missed.
        beside.expect("event").await;
    }
    let _node = stack.another(&[("LISTEN", &address)]).await;
    let said = tail.printed(3).await;
    assert!(said.contains("connecting again") && !said.contains("missing"), "{said}");
    let offsets: Vec<u64> = tail
        .program
        .output()
        .lines()
        .map(|line| line.split_whitespace().nth(1).unwrap().parse().unwrap())
        .collect();
    assert!(offsets.windows(2).all(|two| two[1] == two[0] + 1), "{offsets:?}");
}

/// Sends messages of 60 kB to the room `r` from another connection, which is not in it; a connection may send 35 at once.
async fn shout(acme: &Client, url: &str, messages: u64) {
    let mut socket = Socket::open(acme, url, "acme", "").await;
    let data = "x".repeat(60_000);
    for id in 0..messages {
        let message = json!({"id": id, "type": "pub", "room": "r", "data": data});
        socket.send(&message).await;
        // Beyond the rate of a user it is refused, and the next attempt says more.
        while !matches!(socket.next().await["type"].as_str(), Some("ok" | "error")) {}
    }
}

#[tokio::test]
async fn an_event_stream_whose_client_reads_nothing_is_ended_and_its_connection_closed() {
    use tokio::io::{AsyncReadExt, AsyncWriteExt};
    let stack = Stack::start(Kind::MemorySqlite).await;
    let (acme, url) = (stack.acme().await, stack.server.url());
    let socket = tokio::net::TcpSocket::new_v4().unwrap();
    socket.set_recv_buffer_size(4096).unwrap();
    let mut stream = socket.connect(url.trim_start_matches("http://").parse().unwrap()).await.unwrap();
    let token = acme.token.clone().unwrap();
    let request = format!(
        "GET /sse/notifications/acme?rooms=r HTTP/1.1\r\nhost: localhost\r\nauthorization: Bearer {token}\r\n\r\n"
    );
    stream.write_all(request.as_bytes()).await.unwrap();
    listened_to(&stack.server).await;
    // The kernel takes some 100 KB; what is more waits in the server, up to a bound. 2 MB are more than both.
    shout(&acme, url, 35).await;
    let metrics = || async { stack.anyone().get("/metrics").await.text() };
    let is_ended = async || {
        shout(&acme, url, 4).await;
        metrics().await.contains("larder_live_closes_total{code=\"4003\"} 1\n")
    };
    assert_eventually!(is_ended().await, Duration::from_secs(60), "it is too slow");
    assert_eventually!(
        metrics().await.contains("larder_connections{kind=\"sse\"} 0\n"),
        Duration::from_secs(60),
        "nothing is kept for it"
    );
    // Whoever reads at last finds the end, in the middle of something.
    let mut rest = Vec::new();
    let read = tokio::time::timeout(PATIENCE, stream.read_to_end(&mut rest)).await.expect("it is over");
    assert!(read.is_err() || !rest.ends_with(b"0\r\n\r\n"));
}

#[tokio::test]
async fn refused_connections_are_counted_and_fill_no_log() {
    let server = Server::start(&[("LOG", "info")]).await;
    let client = Client::new(server.url());
    for _ in 0..100 {
        client.get("/sse/notifications/acme").await.expect_problem(401);
    }
    client.get("/health").await.expect(200);
    let metrics = client.get("/metrics").await.text();
    assert!(metrics.contains("larder_live_refused_total{reason=\"unauthorized\"} 100"), "{metrics}");
    let (printed, log) = (server.printed(), server.log());
    let lines =
        printed.lines().chain(log.lines()).filter(|line| line.contains("/sse/notifications/acme")).count();
    assert_eq!(lines, 0, "{log}");
    assert!(
        printed.contains("connections were refused") || log.contains("connections were refused"),
        "{log}"
    );
}
