//! Going away.

use std::time::Duration;

use crate::support::{PATIENCE, Server};

#[tokio::test]
async fn a_drain_asks_everybody_to_come_back_and_lets_nobody_in() {
    let server = Server::start().await;
    let mut clients = Vec::new();
    for user in 0..30 {
        clients.push(server.live("acme", &user.to_string()).await);
    }
    let mut waiting = server.connect("acme").await;
    let live = server.live.clone();
    let drain = tokio::spawn(async move { live.drain().await });
    for client in &mut clients {
        let bye = client.expect("bye").await;
        assert_eq!(bye["code"], 4000);
        assert!(bye["retry_ms"].as_u64().unwrap() <= 1000, "{bye}");
        assert_eq!(client.closed().await.0, 4000);
    }
    assert_eq!(waiting.closed().await.0, 4000, "those who have not signed in, too");
    match server.dial(server.request("acme", "")).await {
        Err(tokio_tungstenite::tungstenite::Error::Http(response)) => {
            assert_eq!(response.status(), 503);
            assert!(response.headers().contains_key("retry-after"));
        }
        other => panic!("{:?}", other.err()),
    }
    assert!(server.live.is_draining());
    drop(clients);
    drop(waiting);
    tokio::time::timeout(PATIENCE, drain).await.expect("it ends").unwrap();
    assert_eq!(server.live.numbers().websockets, 0);
    assert!(server.live.numbers().closes.contains(&(4000, 31)));
}

#[tokio::test]
async fn what_was_queued_before_a_drain_is_still_told() {
    let server = Server::start().await;
    let mut client = server.live("acme", "1").await;
    server.publish("acme", 20).await;
    let live = server.live.clone();
    let drain = tokio::spawn(async move { live.drain().await });
    let mut last = 0;
    loop {
        let message = client.next().await;
        match message["type"].as_str().unwrap() {
            "event" => {
                last += 1;
                assert_eq!(message["offset"], last);
            }
            "bye" => break,
            _ => panic!("{message}"),
        }
    }
    // What the node had not told yet, the next one does: by position.
    assert!(last <= 20);
    assert_eq!(client.closed().await.0, 4000);
    drop(client);
    tokio::time::timeout(PATIENCE, drain).await.expect("it ends").unwrap();
}

#[tokio::test]
async fn a_drain_without_connections_takes_no_time() {
    let server = Server::start().await;
    tokio::time::timeout(Duration::from_secs(2), server.live.drain()).await.expect("nobody is waited for");
}

#[tokio::test]
async fn a_tenant_that_nobody_listens_to_is_forgotten_and_found_again() {
    let server = Server::with(|config| config.linger = Duration::from_millis(30)).await;
    for round in 1..=3 {
        let mut client = server.live("acme", "1").await;
        server.publish("acme", 1).await;
        assert_eq!(client.expect("event").await["offset"], round);
        drop(client);
        larder_testkit::assert_eventually!(server.live.numbers().websockets == 0, PATIENCE, "it has gone");
        tokio::time::timeout(Duration::from_millis(100), std::future::pending::<()>()).await.unwrap_err();
    }
}
