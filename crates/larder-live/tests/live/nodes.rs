//! Two nodes on one Redis.

use std::time::Duration;

use larder::Cache;
use larder_testkit::{RedisServer, assert_eventually};
use serde_json::{Value, json};

use crate::streams::{Events, bearer, command, open, post};
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

async fn ticket(server: &Server) -> String {
    ticket_of(server, "42").await
}

async fn ticket_of(server: &Server, user: &str) -> String {
    let (status, body) = post(server, "/rt/acme/ticket", &[("authorization", &bearer(user))], "").await;
    assert_eq!(status, 200, "{body}");
    let said: Value = serde_json::from_str(&body).unwrap();
    said["ticket"].as_str().unwrap().to_owned()
}

/// Whether the ticket was taken.
async fn enters(server: &Server, ticket: &str) -> bool {
    let events = Events::open(server, &format!("/sse/notifications/acme?ticket={ticket}"), &[]).await;
    events.head.starts_with("HTTP/1.0 200")
}

#[tokio::test]
async fn a_ticket_is_good_once_also_on_two_nodes_at_the_same_moment() {
    let pair = Pair::start().await;
    for round in 0..30 {
        let given = if round % 2 == 0 { &pair.one } else { &pair.two };
        let ticket = ticket_of(given, &format!("u{round}")).await;
        let tried = [&pair.one, &pair.two, &pair.one, &pair.two].map(|server| enters(server, &ticket));
        let entered = futures_util::future::join_all(tried).await;
        assert_eq!(entered.iter().filter(|entered| **entered).count(), 1, "round {round}: {entered:?}");
        assert!(!enters(&pair.one, &ticket).await && !enters(&pair.two, &ticket).await);
    }
}

#[tokio::test]
async fn without_redis_a_ticket_is_refused_rather_than_taken_twice() {
    let pair = Pair::start().await;
    let shared = ticket(&pair.one).await;
    pair.redis.kill();
    for server in [&pair.one, &pair.two] {
        assert!(!enters(server, &shared).await, "nobody can say whether it was taken");
        assert_eventually!(
            !matches!(server.cache.redis_state(), larder::RedisState::Connected { .. }),
            PATIENCE,
            "it is noticed"
        );
        // One that is given out now is good on its node, once.
        let own = ticket(server).await;
        assert!(enters(server, &own).await);
        assert!(!enters(server, &own).await);
    }
}

#[tokio::test]
async fn a_command_for_a_stream_reaches_it_from_any_node_and_with_its_secret_only() {
    let pair = Pair::start().await;
    let (mut events, hello) = open(&pair.one, "", "42").await;
    events.expect("synced").await;
    let sub = |id: u32| json!({"id": id, "type": "sub", "rooms": ["a"]});
    let wrong = json!({"conn": hello["conn"], "secret": "wrong"});
    assert_eq!(command(&pair.two, &wrong, "42", sub(1)).await, 403, "whichever node is asked can tell");
    assert_eq!(command(&pair.two, &hello, "7", sub(2)).await, 403);
    let (status, _) = post(&pair.two, "/rt/acme/cmd", &[], &hello.to_string()).await;
    assert_eq!(status, 401);
    assert_eq!(command(&pair.two, &hello, "42", sub(3)).await, 202);
    let answer = events.expect("ok").await.data;
    assert_eq!((&answer["id"], answer["subs"].get("a").is_some()), (&json!(3), true), "{answer}");
}

#[tokio::test]
async fn a_command_as_long_as_hello_allows_reaches_the_other_node_whatever_is_in_it() {
    let pair = Pair::start().await;
    let (mut events, hello) = open(&pair.one, "", "42").await;
    events.expect("synced").await;
    let most = usize::try_from(hello["max_msg"].as_u64().unwrap()).unwrap();
    let message = |data: &str| json!({"id": 1, "type": "pub", "room": "a", "data": data, "ephemeral": true});
    let quotes = (most - message("").to_string().len()) / 2;
    assert_eq!(command(&pair.two, &hello, "42", message(&"\"".repeat(quotes))).await, 202);
    assert_eq!(events.expect("ok").await.data["id"], 1);
    assert_eq!(command(&pair.two, &hello, "42", message(&"\"".repeat(quotes + 200))).await, 413);
}

#[tokio::test]
async fn a_user_who_floods_the_streams_of_other_nodes_is_held_up_alone() {
    let pair = Pair::start().await;
    let (_events, hello) = open(&pair.one, "", "42").await;
    let (mut other, others) = open(&pair.one, "", "7").await;
    other.expect("synced").await;
    let unsub = || json!({"id": 1, "type": "unsub", "rooms": []});
    let mut last = 0;
    for _ in 0..2000 {
        last = command(&pair.two, &hello, "42", unsub()).await;
        if last == 429 {
            break;
        }
    }
    assert_eq!(last, 429);
    assert_eq!(command(&pair.two, &others, "7", unsub()).await, 202);
    other.expect("ok").await;
}

#[tokio::test]
async fn a_ticket_is_good_once_also_where_the_cache_is_switched_off() {
    let redis = RedisServer::start();
    let mut nodes = Vec::new();
    for _ in 0..2 {
        let cache = Cache::builder("live").redis(redis.url().as_str()).enabled(false).build().await.unwrap();
        cache.ready().await;
        nodes.push(Server::on(cache, |_| ()).await);
    }
    let ticket = ticket(&nodes[0]).await;
    assert!(enters(&nodes[1], &ticket).await);
    assert!(!enters(&nodes[0], &ticket).await && !enters(&nodes[1], &ticket).await);
}

#[tokio::test]
async fn rooms_and_messages_to_a_user_cross_nodes() {
    let pair = Pair::start().await;
    let (mut here, _) = pair.one.join("acme", "1", "rooms=orders").await;
    here.expect("synced").await;
    let (mut there, _) = pair.two.join("acme", "2", "rooms=orders").await;
    there.expect("synced").await;
    let mut elsewhere = pair.two.live("acme", "1").await;
    there.send(&json!({"id": 1, "type": "pub", "room": "orders", "data": 7, "key": "k"})).await;
    let event = here.expect("event").await;
    assert_eq!((&event["room"], &event["data"], &event["from"]), (&json!("orders"), &json!(7), &json!("2")));
    assert_eq!(until(&mut there, "ok").await["offset"], event["offset"]);
    there.send(&json!({"id": 2, "type": "pub", "to": "user:1", "data": 8, "key": "l"})).await;
    // Both windows of the user, whichever node they are on; the one that is in no room has heard nothing else.
    for window in [&mut here, &mut elsewhere] {
        let event = window.expect("event").await;
        assert_eq!((&event["room"], &event["data"]), (&json!("user:1"), &json!(8)));
    }
    // Nobody else: what they hear next is what was told after it.
    here.send(&json!({"id": 3, "type": "pub", "room": "orders", "data": 9, "key": "m"})).await;
    let mut next = until(&mut there, "event").await;
    if next["data"] == 7 {
        next = until(&mut there, "event").await;
    }
    assert_eq!((&next["room"], &next["data"]), (&json!("orders"), &json!(9)));
}
