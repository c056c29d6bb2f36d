//! What is told to whom.

use serde_json::json;

use crate::support::Server;

#[tokio::test]
async fn an_event_reaches_every_connection_of_its_tenant_once_in_order_and_no_other() {
    let server = Server::start().await;
    let mut acme =
        [server.live("acme", "1").await, server.live("acme", "1").await, server.live("acme", "2").await];
    let mut globex = server.live("globex", "1").await;
    let last = server.publish("acme", 50).await;
    server.publish("globex", 1).await;
    for client in &mut acme {
        for number in 1..=50 {
            let event = client.expect("event").await;
            assert_eq!(event["offset"], number);
            assert_eq!(event["epoch"], last.epoch());
            assert_eq!(event["data"]["n"], number);
            assert_eq!(event["kind"], "thing.changed");
            assert_eq!(event["room"], "tenant");
            assert!(event["ts"].as_u64().unwrap() > 1_700_000_000_000);
            assert!(event["eid"].is_string());
            assert!(event.get("replay").is_none());
        }
    }
    let event = globex.expect("event").await;
    assert_eq!((event["offset"].as_u64(), event["data"]["n"].as_u64()), (Some(1), Some(1)));
}

#[tokio::test]
async fn rooms_are_heard_by_those_who_are_in_them() {
    let server = Server::start().await;
    let (mut one, mut two) = (server.live("acme", "1").await, server.live("acme", "2").await);
    one.send(&json!({"id": 2, "type": "sub", "rooms": ["orders", "user:2", "bad room", "orders"]})).await;
    let ok = one.expect("ok").await;
    assert_eq!(
        ok,
        json!({"id": 2, "type": "ok", "subs": {"orders": {"offset": 0}, "user:2": {"error": "forbidden"},
               "bad room": {"error": "bad_request"}}})
    );
    server.publish_to("acme", "orders", json!({"n": 1})).await;
    server.publish("acme", 1).await;
    assert_eq!(one.expect("event").await["room"], "orders");
    assert_eq!(one.expect("event").await["offset"], 2);
    assert_eq!(two.expect("event").await["offset"], 2);

    one.send(&json!({"id": 3, "type": "unsub", "rooms": ["orders", "tenant", "user:1", "never"]})).await;
    assert_eq!(one.expect("ok").await, json!({"id": 3, "type": "ok"}));
    server.publish_to("acme", "orders", json!({"n": 1})).await;
    server.publish_to("acme", "user:1", json!({"n": 1})).await;
    server.publish("acme", 1).await;
    assert_eq!(one.expect("event").await["room"], "user:1");
    assert_eq!(one.expect("event").await["room"], "tenant");
}

#[tokio::test]
async fn what_a_client_publishes_is_logged_with_its_sender_and_only_once_for_a_key() {
    let server = Server::start().await;
    let (mut one, _) = server.join("acme", "1", "rooms=chat:1").await;
    one.expect("synced").await;
    let (mut two, _) = server.join("acme", "2", "rooms=chat:1").await;
    two.expect("synced").await;
    for id in [4, 5] {
        one.send(&json!({"id": id, "type": "pub", "room": "chat:1", "data": {"text": "hi"}, "key": "k1"}))
            .await;
    }
    let mut offsets = Vec::new();
    let mut events = Vec::new();
    while offsets.len() < 2 || events.is_empty() {
        let message = one.next().await;
        if message["type"] == "ok" { offsets.push(message["offset"].clone()) } else { events.push(message) }
    }
    assert_eq!(offsets, [json!(1), json!(1)]);
    let told = two.expect("event").await;
    assert_eq!(told, events[0]);
    assert_eq!(told["from"], "1");
    assert_eq!(told["kind"], "message");
    assert_eq!(told["eid"], "u:1:k1");
    assert_eq!(told["data"], json!({"text": "hi"}));
    server.publish("acme", 1).await;
    assert_eq!(two.expect("event").await["offset"], 2);
}

#[tokio::test]
async fn a_message_to_a_user_reaches_all_connections_of_that_user() {
    let server = Server::start().await;
    let mut sender = server.live("acme", "1").await;
    let mut tabs = [server.live("acme", "7").await, server.live("acme", "7").await];
    let mut stranger = server.live("acme", "8").await;
    sender.send(&json!({"id": 1, "type": "pub", "to": "user:7", "data": "psst"})).await;
    assert_eq!(sender.expect("ok").await["offset"], 1);
    for tab in &mut tabs {
        let told = tab.expect("event").await;
        assert_eq!((told["room"].as_str(), told["data"].as_str()), (Some("user:7"), Some("psst")));
    }
    server.publish("acme", 1).await;
    assert_eq!(stranger.expect("event").await["offset"], 2);
}

#[tokio::test]
async fn an_ephemeral_message_has_no_offset_and_is_not_recovered() {
    let server = Server::start().await;
    let (mut one, hello) = server.join("acme", "1", "rooms=chat:1").await;
    one.expect("synced").await;
    one.send(&json!({"id": 1, "type": "pub", "room": "chat:1", "data": {"typing": true}, "ephemeral": true}))
        .await;
    let mut seen = [one.next().await, one.next().await];
    seen.sort_by_key(|message| message["type"].as_str().unwrap().to_owned());
    assert_eq!(
        seen[0],
        json!({"type": "message", "room": "chat:1", "kind": "message", "from": "1", "data": {"typing": true}})
    );
    assert_eq!(seen[1], json!({"id": 1, "type": "ok"}));
    let pos = format!("pos={}:0&rooms=chat:1", hello["epoch"].as_str().unwrap());
    let (mut late, _) = server.join("acme", "2", &pos).await;
    assert_eq!(late.expect("synced").await["replayed"], 0);
}

#[tokio::test]
async fn a_token_says_where_its_bearer_may_publish() {
    let server = Server::start().await;
    let token = json!({"tenant": "acme", "user": "1", "pub": ["chat:*", "user:7"]}).to_string();
    let (mut client, _) = server.join_with("acme", &token, "").await;
    client.expect("synced").await;
    for (message, is) in [
        (json!({"room": "chat:1"}), "ok"),
        (json!({"to": "user:7"}), "ok"),
        (json!({"room": "orders"}), "forbidden"),
        (json!({"to": "user:8"}), "forbidden"),
        (json!({"room": "tenant"}), "forbidden"),
        (json!({"to": "chat:1"}), "bad_request"),
        (json!({"room": "chat:1", "to": "user:7"}), "bad_request"),
        (json!({}), "bad_request"),
        (json!({"room": "chat:1", "key": ""}), "bad_request"),
        (json!({"room": "chat:1", "key": "k".repeat(65)}), "bad_request"),
    ] {
        let mut message = message;
        message["type"] = json!("pub");
        client.send(&message).await;
        let mut answer = client.next().await;
        if answer["type"] == "event" {
            answer = client.next().await;
        }
        let told = if answer["type"] == "ok" { "ok" } else { answer["code"].as_str().unwrap() };
        assert_eq!(told, is, "{message}");
    }
}

#[tokio::test]
async fn history_gives_a_rooms_events_after_a_position() {
    let server = Server::start().await;
    let (mut client, hello) = server.join("acme", "1", "").await;
    client.expect("synced").await;
    for number in 1..=5 {
        server.publish_to("acme", "chat:1", json!({"n": number})).await;
        server.publish_to("acme", "other", json!({"n": 0})).await;
    }
    let mut since = json!({"epoch": hello["epoch"], "offset": 2});
    let mut numbers = Vec::new();
    loop {
        client.send(&json!({"id": 8, "type": "history", "room": "chat:1", "since": since, "limit": 3})).await;
        let page = client.expect("history").await;
        assert_eq!(page["id"], 8);
        for event in page["events"].as_array().unwrap() {
            assert_eq!(event["room"], "chat:1");
            numbers.push(event["data"]["n"].as_u64().unwrap());
        }
        if page["more"] == false {
            break;
        }
        since = json!({"epoch": page["epoch"], "offset": page["offset"]});
    }
    assert_eq!(numbers, [2, 3, 4, 5]);
    client
        .send(
            &json!({"id": 9, "type": "history", "room": "chat:1", "since": {"epoch": "other", "offset": 1}}),
        )
        .await;
    assert_eq!(client.expect("error").await["code"], "unrecoverable");
    client.send(&json!({"id": 9, "type": "history", "room": "user:7", "since": since})).await;
    assert_eq!(client.expect("error").await["code"], "forbidden");
}

#[tokio::test]
async fn an_operator_ends_the_connections_of_a_user_or_a_token() {
    let server = Server::start().await;
    let (mut one, _) = server.join_with("acme", r#"{"tenant":"acme","user":"1","jti":"t1"}"#, "").await;
    let (mut two, _) = server.join_with("acme", r#"{"tenant":"acme","user":"1","jti":"t2"}"#, "").await;
    let mut other = server.live("acme", "2").await;
    let mut elsewhere = server.live("globex", "1").await;
    server.live.kick("acme", larder_live::Kick::Token("t1".into())).await.unwrap();
    assert_eq!(one.closed().await.0, 4505);
    server.live.kick("acme", larder_live::Kick::User("1".into())).await.unwrap();
    assert_eq!(two.closed().await.0, 4505);
    server.publish("acme", 1).await;
    assert_eq!(other.number().await, 1);
    server.live.kick("acme", larder_live::Kick::Everybody).await.unwrap();
    assert_eq!(other.closed().await.0, 4505);
    server.publish("globex", 1).await;
    assert_eq!(elsewhere.number().await, 1);
}

#[tokio::test]
async fn a_kick_by_token_ends_those_that_were_renewed_with_it_too() {
    let server = Server::start().await;
    let token = |id: &str| json!({"tenant": "acme", "user": "1", "jti": id}).to_string();
    let mut clients = Vec::new();
    for _ in 0..2 {
        let (mut client, _) = server.join_with("acme", &token("t0"), "").await;
        client.expect("synced").await;
        client.send(&json!({"id": 1, "type": "auth", "token": token("t1")})).await;
        client.expect("ok").await;
        clients.push(client);
    }
    let (mut stays, _) = server.join_with("acme", &token("t2"), "").await;
    stays.expect("synced").await;
    let mut renewed = clients.pop().unwrap();
    for number in 2..9 {
        renewed.send(&json!({"id": number, "type": "auth", "token": token(&format!("n{number}"))})).await;
        renewed.expect("ok").await;
    }
    // The opening one was nine tokens ago.
    server.live.kick("acme", larder_live::Kick::Token("t0".into())).await.unwrap();
    assert_eq!(clients[0].closed().await.0, 4505);
    server.publish("acme", 1).await;
    assert_eq!(renewed.number().await, 1);
    server.live.kick("acme", larder_live::Kick::Token("t1".into())).await.unwrap();
    assert_eq!(renewed.closed().await.0, 4505);
    assert_eq!(stays.number().await, 1);
    server.publish("acme", 1).await;
    assert_eq!(stays.number().await, 1);
}

#[tokio::test]
async fn an_ephemeral_message_brings_what_was_sent_to_the_letter() {
    use tokio_tungstenite::tungstenite::Message;
    let server = Server::start().await;
    let mut sender = server.live("acme", "1").await;
    let mut receiver = server.live("acme", "7").await;
    let data = r#"{"z":12345678901234567890123,"a":1.10}"#;
    sender.text(&format!(r#"{{"type":"pub","to":"user:7","ephemeral":true,"data":{data}}}"#)).await;
    match receiver.message().await.unwrap() {
        Message::Text(text) => assert!(text.contains(data), "{text}"),
        other => panic!("{other:?}"),
    }
}

#[tokio::test]
async fn a_user_who_publishes_too_much_is_told_on_all_connections_and_others_go_on() {
    let server = Server::start().await;
    let mut windows = Vec::new();
    for _ in 0..10 {
        windows.push(server.live("acme", "1").await);
    }
    let mut other = server.live("acme", "2").await;
    let mut refused = json!(null);
    // A window has a bound of its own, which none of these comes to.
    for id in 0..300 {
        let window = &mut windows[id % 10];
        window.send(&json!({"id": id, "type": "pub", "room": "chat:1", "data": id})).await;
        let answer = window.next().await;
        if answer["type"] == "error" {
            refused = answer;
            break;
        }
    }
    assert_eq!((&refused["code"], &refused["retry"]), (&json!("too_many"), &json!(true)), "{refused}");
    assert!(refused["retry_after_ms"].as_u64().unwrap() > 0, "{refused}");
    other.send(&json!({"id": 1, "type": "pub", "room": "chat:1", "data": 1})).await;
    other.expect("ok").await;
    for window in &mut windows {
        window.send(&json!({"id": 1, "type": "unsub", "rooms": []})).await;
        window.expect("ok").await;
    }
}
