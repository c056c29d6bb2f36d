//! Those who can't sign in, and those who can.

use serde_json::json;

use crate::streams::{Events, bearer};
use crate::support::{Server, token};

#[tokio::test]
async fn who_has_no_token_takes_no_place_and_no_connect_of_who_has_one() {
    let server = Server::with(|config| {
        config.connects_per_second = 2;
        config.unsigned_connections = 1;
    })
    .await;
    let wrong = [vec![], vec![("authorization", "Bearer nonsense")]];
    for headers in wrong.iter().cycle().take(10) {
        let refused = Events::open(&server, "/sse/notifications/acme", headers).await;
        assert!(refused.head.starts_with("HTTP/1.0 401"), "{}", refused.head);
    }
    let mut waiting = server.connect("acme").await;
    assert!(server.dial(server.request("acme", "")).await.is_err(), "one may wait");
    server.live("acme", "1").await;
    let path = "/sse/notifications/acme";
    let events = Events::open(&server, path, &[("authorization", &bearer("2"))]).await;
    assert!(events.head.starts_with("HTTP/1.0 200"), "{}", events.head);
    // Who signs in makes room for the next.
    waiting.send(&json!({"id": 1, "type": "auth", "token": token("acme", "3")})).await;
    waiting.expect("hello").await;
    server.connect("acme").await;
    let refused = server.live.numbers().refused;
    assert!(refused.contains(&("unauthorized", 10)) && refused.contains(&("full", 1)), "{refused:?}");
}
