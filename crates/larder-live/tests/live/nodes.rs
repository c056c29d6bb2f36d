//! Two nodes on one Redis.

use std::time::Duration;

use larder::Cache;
use larder_testkit::{RedisServer, assert_eventually};
use serde_json::{Value, json};

use crate::support::{Client, PATIENCE, Server};

struct Pair {
    redis: RedisServer,
    one: Server,
    two: Server,
}

async fn node(redis: &RedisServer) -> Server {
    let cache = Cache::builder("live").redis(redis.url().as_str()).build().await.unwrap();
    cache.ready().await;
    Server::on(cache, |config| {
        config.presence_batch = Duration::from_millis(20);
        config.presence_leave = Duration::from_millis(50);
    })
    .await
}

impl Pair {
    async fn start() -> Self {
        let redis = RedisServer::start();
        let (one, two) = (node(&redis).await, node(&redis).await);
        Self { redis, one, two }
    }
}

/// The next of a type; the others are passed over.
async fn until(client: &mut Client, kind: &str) -> Value {
    loop {
        let message = client.next().await;
        if message["type"] == kind {
            return message;
        }
    }
}

#[tokio::test]
async fn events_of_both_nodes_reach_the_clients_of_both_in_one_order() {
    let pair = Pair::start().await;
    let mut clients = [pair.one.live("acme", "1").await, pair.two.live("acme", "2").await];
    let publish = |server: &Server, from: u64| {
        let cache = server.cache.clone();
        async move {
            for number in 0..50 {
                let event = larder::Event::new("thing.changed").data(json!({"n": from + number}));
                crate::support::publish(&cache, "acme", event).await;
            }
        }
    };
    tokio::join!(publish(&pair.one, 1000), publish(&pair.two, 2000));
    let mut heard = [Vec::new(), Vec::new()];
    for (client, heard) in clients.iter_mut().zip(&mut heard) {
        for offset in 1..=100 {
            let event = client.expect("event").await;
            assert_eq!(event["offset"], offset);
            heard.push(event["data"]["n"].as_u64().unwrap());
        }
    }
    assert_eq!(heard[0], heard[1]);
    for from in [1000, 2000] {
        let own = heard[0].iter().filter(|number| (from..from + 50).contains(*number));
        assert!(own.is_sorted(), "in the order of each node: {heard:?}");
    }
}

#[tokio::test]
async fn whoever_lost_a_node_goes_on_at_the_other_by_position() {
    let pair = Pair::start().await;
    let (mut client, hello) = pair.one.join("acme", "1", "").await;
    client.expect("synced").await;
    pair.two.publish("acme", 3).await;
    for number in 1..=3 {
        assert_eq!(client.number().await, number);
    }
    drop(client);
    pair.one.cache.shutdown().await;
    pair.two.publish("acme", 5).await;
    let pos = format!("pos={}:3", hello["epoch"].as_str().unwrap());
    // This node has had no connection of the tenant, so what was missed is in Redis only, or in its memory by now.
    let (mut client, _) = pair.two.join("acme", "1", &pos).await;
    for offset in 4..=8 {
        assert_eq!(client.expect("event").await["offset"], offset);
    }
    assert_eq!(client.expect("synced").await["offset"], 8);
    pair.two.publish("acme", 1).await;
    assert_eq!(client.expect("event").await["offset"], 9);
}

#[tokio::test]
async fn what_is_not_logged_crosses_nodes_too() {
    let pair = Pair::start().await;
    let (mut one, _) = pair.one.join("acme", "1", "rooms=chat").await;
    one.expect("synced").await;
    let (mut two, _) = pair.two.join("acme", "2", "rooms=chat").await;
    two.expect("synced").await;
    one.send(&json!({"id": 1, "type": "pub", "room": "chat", "data": 7, "ephemeral": true})).await;
    assert_eq!(two.expect("message").await["data"], 7);
    until(&mut one, "ok").await;

    for (client, id) in [(&mut one, 2), (&mut two, 3)] {
        client.send(&json!({"id": id, "type": "sub", "rooms": ["chat"], "presence": true})).await;
        until(client, "ok").await;
    }
    assert_eventually!(
        pair.one.cache.event_log().members("acme", "chat", 9).await.unwrap().total == 2,
        PATIENCE,
        "both are there"
    );
    two.send(&json!({"id": 4, "type": "presence", "room": "chat"})).await;
    let snapshot = until(&mut two, "presence").await;
    assert_eq!(snapshot["total"], 2);
    drop(two);
    loop {
        let diff = until(&mut one, "presence_diff").await;
        if diff["leave"] != json!([]) {
            assert_eq!(diff["leave"][0]["user"], "2");
            break;
        }
    }
    pair.two.live.kick("acme", larder_live::Kick::User("1".into())).await.unwrap();
    loop {
        if let tokio_tungstenite::tungstenite::Message::Close(frame) = one.message().await.unwrap() {
            assert_eq!(u16::from(frame.unwrap().code), 4505);
            break;
        }
    }
}

#[tokio::test]
async fn killed_subscribers_cost_no_event_and_an_emptied_redis_is_a_reset() {
    let pair = Pair::start().await;
    let mut client = pair.one.live("acme", "1").await;
    pair.two.publish("acme", 2).await;
    assert_eq!((client.number().await, client.number().await), (1, 2));
    for round in 0..5 {
        pair.redis.kill_clients("pubsub");
        let place = pair.two.publish("acme", 1).await;
        assert_eq!(place.offset(), 3 + round);
        assert_eq!(until(&mut client, "event").await["offset"], 3 + round);
    }
    pair.redis.kill();
    pair.redis.restart_empty();
    pair.two.publish("acme", 1).await;
    let reset = until(&mut client, "reset").await;
    let (epoch, mut offset) = (reset["epoch"].clone(), reset["offset"].as_u64().unwrap());
    let last = pair.two.publish("acme", 1).await;
    // It begins anew, and there is no gap from there.
    while offset < last.offset() {
        let message = client.next().await;
        match message["type"].as_str().unwrap() {
            "event" => {
                assert_eq!((&message["epoch"], message["offset"].as_u64()), (&epoch, Some(offset + 1)));
                offset += 1;
            }
            "reset" => {
                assert_eq!(message["epoch"].as_str(), Some(last.epoch()));
                break;
            }
            _ => {}
        }
    }
}
