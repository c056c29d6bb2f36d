//! Coming back.

use serde_json::json;

use crate::support::{Server, publish, token};

fn at(hello: &serde_json::Value, offset: u64) -> String {
    format!("pos={}:{offset}", hello["epoch"].as_str().unwrap())
}

#[tokio::test]
async fn whoever_comes_back_with_a_position_gets_what_it_missed_in_order_and_once() {
    let server = Server::start().await;
    let (mut client, hello) = server.join("acme", "1", "").await;
    client.expect("synced").await;
    server.publish("acme", 3).await;
    for number in 1..=3 {
        assert_eq!(client.number().await, number);
    }
    drop(client);
    server.publish("acme", 4).await;
    let (mut again, _) = server.join("acme", "1", &at(&hello, 3)).await;
    for offset in 4..=7 {
        let event = again.expect("event").await;
        assert_eq!((event["offset"].as_u64(), &event["replay"]), (Some(offset), &json!(true)));
    }
    let synced = again.expect("synced").await;
    assert_eq!((synced["offset"].as_u64(), synced["replayed"].as_u64()), (Some(7), Some(4)));
    server.publish("acme", 1).await;
    let event = again.expect("event").await;
    assert_eq!(event["offset"], 8);
    assert!(event.get("replay").is_none());
}

#[tokio::test]
async fn a_position_may_come_with_the_first_message_too() {
    let server = Server::start().await;
    let last = server.publish("acme", 3).await;
    let mut client = server.connect("acme").await;
    let pos = json!({"epoch": last.epoch(), "offset": 1});
    client.send(&json!({"type": "auth", "token": token("acme", "1"), "pos": pos})).await;
    client.expect("hello").await;
    assert_eq!(client.number().await, 2);
    assert_eq!(client.number().await, 3);
    client.expect("synced").await;
}

#[tokio::test]
async fn only_events_of_its_rooms_are_replayed_and_the_cursor_passes_the_others() {
    let server = Server::start().await;
    let first = server.publish("acme", 1).await;
    for (room, number) in
        [("orders", 2), ("chat", 3), ("user:1", 4), ("user:2", 5), ("orders", 6), ("chat", 7)]
    {
        server.publish_to("acme", room, json!({"n": number})).await;
    }
    let (mut client, _) = server.join("acme", "1", &format!("pos={first}&rooms=orders")).await;
    for number in [2, 4, 6] {
        assert_eq!(client.number().await, number);
    }
    assert_eq!(client.expect("synced").await["offset"], 7);
}

#[tokio::test]
async fn a_gap_of_three_hundred_is_made_good_and_one_more_is_a_reset() {
    let server = Server::start().await;
    let (mut witness, hello) = server.join("acme", "2", "").await;
    witness.expect("synced").await;
    server.publish("acme", 301).await;
    for number in 1..=301 {
        assert_eq!(witness.number().await, number);
    }
    let (mut fine, _) = server.join("acme", "1", &at(&hello, 1)).await;
    for number in 2..=301 {
        assert_eq!(fine.number().await, number);
    }
    assert_eq!(fine.expect("synced").await["replayed"], 300);
    let (mut late, _) = server.join("acme", "1", &at(&hello, 0)).await;
    let reset = late.expect("reset").await;
    assert_eq!((reset["reason"].as_str(), reset["offset"].as_u64()), (Some("limit"), Some(301)));
    server.publish("acme", 1).await;
    assert_eq!(late.expect("event").await["offset"], 302);
}

#[tokio::test]
async fn a_gap_of_ten_thousand_events_is_a_reset_and_never_silence() {
    let server = Server::start().await;
    let first = server.publish("acme", 1).await;
    let tenant = server.cache.tenant("acme");
    let mut waiting = Vec::new();
    for _ in 0..10_000 {
        let mut publication = tenant.publish(larder::Event::new("a.b").data(json!(1)));
        let logged = publication.logged();
        publication.await.unwrap();
        waiting.push(logged);
        if waiting.len() == 100 {
            for logged in waiting.drain(..) {
                logged.await.unwrap();
            }
        }
    }
    let (mut client, _) = server.join("acme", "1", &format!("pos={first}")).await;
    let reset = client.expect("reset").await;
    assert_eq!(reset["offset"], 10_001);
}

#[tokio::test]
async fn positions_of_another_log_and_those_that_are_none_are_resets() {
    let server = Server::start().await;
    let (_, hello) = server.join("acme", "1", "").await;
    for pos in
        ["pos=elsewhere:1".to_owned(), "pos=nonsense".to_owned(), "pos=a:b:1".to_owned(), at(&hello, 7)]
    {
        let (mut client, _) = server.join("acme", "1", &pos).await;
        let reset = client.expect("reset").await;
        assert_eq!(reset["reason"], "epoch", "{pos}");
        assert_eq!(reset["epoch"], hello["epoch"]);
    }
}

#[tokio::test]
async fn clients_that_join_while_events_flow_miss_none_and_get_none_twice() {
    const EVENTS: u64 = 400;
    let server = Server::with(|config| config.user_connections = 100).await;
    let first = server.publish("acme", 1).await;
    let cache = server.cache.clone();
    // The publisher is never so far ahead that it would be a reset.
    let may = std::sync::Arc::new(tokio::sync::Semaphore::new(100));
    let granted = std::sync::Arc::clone(&may);
    let publisher = tokio::spawn(async move {
        for number in 2..=EVENTS {
            granted.acquire().await.unwrap().forget();
            let event = larder::Event::new("thing.changed").data(json!({"n": number}));
            publish(&cache, "acme", event).await;
        }
    });
    let mut from = 1;
    while from < EVENTS {
        // Each comes back where the one before it was, reads a little and goes.
        let (mut client, _) = server.join("acme", "1", &format!("pos={}:{from}", first.epoch())).await;
        for _ in 0..7 {
            let message = client.next().await;
            match message["type"].as_str().unwrap() {
                "event" => {
                    assert_eq!(message["offset"].as_u64(), Some(from + 1), "{message}");
                    from += 1;
                    may.add_permits(1);
                }
                "synced" => assert_eq!(message["offset"].as_u64(), Some(from), "{message}"),
                _ => panic!("{message}"),
            }
            if from == EVENTS {
                break;
            }
        }
    }
    publisher.await.unwrap();
}
