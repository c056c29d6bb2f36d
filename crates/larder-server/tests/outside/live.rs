//! Live notifications of the program: PROTOCOL.md of larder-live, with the backend's tokens and changes.

use std::time::Duration;

use futures_util::{SinkExt, StreamExt};
use larder_testkit::assert_eventually;
use serde_json::{Value, json};
use tokio::net::TcpStream;
use tokio_tungstenite::tungstenite::Message;
use tokio_tungstenite::tungstenite::client::IntoClientRequest;
use tokio_tungstenite::{MaybeTlsStream, WebSocketStream};

use crate::client::Client;
use crate::routes::a_campaign;
use crate::stack::{Kind, Stack, on_every_stack};

const PATIENCE: Duration = Duration::from_secs(20);

/// A WebSocket of somebody who is signed in.
pub(crate) struct Socket(WebSocketStream<MaybeTlsStream<TcpStream>>);

impl Socket {
    pub(crate) async fn open(client: &Client, url: &str, tenant: &str, query: &str) -> Self {
        let url = format!("{}/ws/notifications/{tenant}?{query}", url.replace("http://", "ws://"));
        let mut request = url.into_client_request().unwrap();
        let bearer = format!("Bearer {}", client.token.as_deref().unwrap());
        request.headers_mut().insert("authorization", bearer.parse().unwrap());
        let (socket, _) = tokio_tungstenite::connect_async(request).await.unwrap();
        Self(socket)
    }

    /// The next message, aside of pings.
    pub(crate) async fn next(&mut self) -> Value {
        loop {
            match tokio::time::timeout(PATIENCE, self.0.next()).await.expect("a message comes") {
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

    async fn expect(&mut self, kind: &str) -> Value {
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
    let (socket, _) = tokio_tungstenite::connect_async(url).await.unwrap();
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
