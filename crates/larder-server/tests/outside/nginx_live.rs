//! Notifications through the repository's nginx configuration: upgrade, streams, recovery over a rolling restart.

use crate::client::Client;
use crate::live::Socket;
use crate::nginx::{Front, Load, Pair, restart_both, somebody};
use crate::routes::a_campaign;
use larder_testkit::assert_eventually;
use std::collections::BTreeSet;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;
use tokio::net::TcpStream;
use tokio_tungstenite::tungstenite::{self, client::IntoClientRequest};

const PATIENCE: Duration = Duration::from_secs(60);

#[tokio::test]
async fn an_upgrade_passes_and_what_one_server_is_told_comes_by_both() {
    let pair = Pair::start().await;
    let acme = pair.front.client().sign_in("owner@acme.test").await;
    let mut sockets = Vec::new();
    let mut nodes = BTreeSet::new();
    for _ in 0..2 {
        let mut socket = Socket::open(&acme, &pair.front.url, "acme", "").await;
        let hello = socket.expect("hello").await;
        nodes.insert(hello["node"].to_string());
        socket.expect("synced").await;
        sockets.push(socket);
    }
    assert_eq!(nodes.len(), 2, "the one with fewer connections has the next: {nodes:?}");
    acme.post("/api/v1/campaigns", a_campaign("one")).await.expect(201);
    for socket in &mut sockets {
        assert_eq!(socket.expect("event").await["kind"], "campaign.created");
    }
}

/// A WebSocket for a page of `origin`, asked of nginx by the name `shop.example` and its port.
async fn connect(front: &Front, token: &str, origin: &str) -> Result<(), tungstenite::Error> {
    let port = front.url.rsplit(':').next().unwrap();
    let mut request = format!("ws://shop.example:{port}/ws/notifications/acme").into_client_request()?;
    request.headers_mut().insert("authorization", format!("Bearer {token}").parse().unwrap());
    request.headers_mut().insert("origin", format!("{origin}:{port}").parse().unwrap());
    let stream = TcpStream::connect(front.url.trim_start_matches("http://")).await?;
    tokio_tungstenite::client_async(request, stream).await.map(drop)
}

#[tokio::test]
async fn a_page_that_came_through_nginx_may_connect_whatever_the_port_and_a_foreign_one_may_not() {
    let pair = Pair::start().await;
    let acme = pair.front.client().sign_in("owner@acme.test").await;
    let token = acme.token.as_deref().unwrap();
    connect(&pair.front, token, "http://shop.example").await.expect("it is the server's own page");
    match connect(&pair.front, token, "http://evil.example").await {
        Err(tungstenite::Error::Http(response)) => assert_eq!(response.status(), 403),
        other => panic!("{other:?}"),
    }
}

/// Somebody who comes back with the position of the last event, as PROTOCOL.md §6 asks, for as long as the test runs.
struct Follower {
    task: tokio::task::JoinHandle<()>,
    seen: Arc<Seen>,
}

#[derive(Default)]
struct Seen {
    /// Offset of the last event.
    last: AtomicU64,
    /// How many connections it took.
    connections: AtomicU64,
    /// How often it was asked to come back.
    byes: AtomicU64,
}

impl Follower {
    fn start(client: Client, url: String) -> Self {
        let seen = Arc::new(Seen::default());
        Self { seen: Arc::clone(&seen), task: tokio::spawn(follow(client, url, seen)) }
    }
}

/// Goes on from place to place. It panics where an event is missing, comes twice or is void.
async fn follow(client: Client, url: String, seen: Arc<Seen>) {
    let (mut epoch, mut cursor) = (String::new(), None);
    loop {
        let query = cursor.map(|offset: u64| format!("pos={epoch}:{offset}")).unwrap_or_default();
        let opened = Socket::try_open(&client, &url, "acme", &query).await;
        let mut socket = opened.unwrap_or_else(|error| panic!("a connection is refused: {error}"));
        seen.connections.fetch_add(1, Ordering::Relaxed);
        let mut pause = Duration::ZERO;
        loop {
            let message = socket.next_within(Duration::from_secs(3600)).await;
            let offset = message["offset"].as_u64();
            match message["type"].as_str() {
                Some("hello" | "synced") if cursor.is_none() => {
                    (epoch, cursor) = (message["epoch"].as_str().unwrap().to_owned(), offset);
                    seen.last.store(offset.unwrap(), Ordering::Relaxed);
                }
                Some("event") => {
                    let due = cursor.map(|cursor| cursor + 1);
                    assert_eq!((offset, message["epoch"].as_str()), (due, Some(epoch.as_str())), "{message}");
                    cursor = offset;
                    seen.last.store(offset.unwrap(), Ordering::Relaxed);
                }
                Some("bye") => {
                    seen.byes.fetch_add(1, Ordering::Relaxed);
                    pause = Duration::from_millis(message["retry_ms"].as_u64().unwrap());
                }
                Some("hello" | "synced") => {}
                None if message.get("closed").is_some() => break,
                _ => panic!("{message}"),
            }
        }
        tokio::time::sleep(pause).await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_rolling_restart_loses_no_request_and_no_event() {
    let pair = Pair::start().await;
    let acme = pair.front.client().sign_in("owner@acme.test").await;
    let followers: Vec<Follower> = (0..8)
        .map(|number| Follower::start(acme.from(somebody(20 + number)), pair.front.url.clone()))
        .collect();
    let connected = |follower: &Follower| follower.seen.connections.load(Ordering::Relaxed);
    assert_eventually!(
        followers.iter().all(|follower| connected(follower) > 0),
        PATIENCE,
        "all are connected"
    );
    let load = Load::start(&acme);
    let restarted = restart_both(pair.servers, &pair.stack, &load).await;
    let (requests, failed) = load.end().await;
    assert!(failed.is_empty(), "{} of {requests}: {failed:#?}", failed.len());

    // One more, whose place says how far everybody has to come.
    let mut beside = Socket::open(&acme, restarted[0].url(), "acme", "").await;
    beside.expect("hello").await;
    beside.expect("synced").await;
    acme.post("/api/v1/campaigns", a_campaign("the last")).await.expect(201);
    let last = loop {
        let event = beside.expect("event").await;
        if event["data"].to_string().contains("the last") {
            break event["offset"].as_u64().unwrap();
        }
    };
    assert!(last > requests / 5, "every fifth request was a change: {last} of {requests}");
    for follower in &followers {
        let here = || follower.seen.last.load(Ordering::Relaxed) >= last || follower.task.is_finished();
        assert_eventually!(here(), PATIENCE, "{} of {last}", follower.seen.last.load(Ordering::Relaxed));
        let byes = follower.seen.byes.load(Ordering::Relaxed);
        assert!(byes > 0 && connected(follower) > 1, "it was asked to come back: {byes}");
    }
    for follower in followers {
        follower.task.abort();
        assert!(follower.task.await.unwrap_err().is_cancelled(), "it has seen every event once and in order");
    }
}
