//! Who is in a room.

use std::time::Duration;

use serde_json::{Value, json};

use crate::support::{Client, Server};

async fn quick() -> Server {
    Server::with(|config| {
        config.presence_batch = Duration::from_millis(20);
        config.presence_leave = Duration::from_millis(100);
    })
    .await
}

async fn appear(server: &Server, user: &str) -> Client {
    let token = json!({"tenant": "acme", "user": user, "info": {"name": format!("n{user}")}}).to_string();
    let (mut client, _) = server.join_with("acme", &token, "").await;
    client.expect("synced").await;
    client.send(&json!({"id": 1, "type": "sub", "rooms": ["lobby"], "presence": true})).await;
    client.expect("ok").await;
    client
}

async fn who(client: &mut Client) -> Value {
    client.send(&json!({"id": 7, "type": "presence", "room": "lobby"})).await;
    loop {
        let message = client.next().await;
        if message["type"] == "presence" {
            return message;
        }
    }
}

fn users(list: &Value) -> Vec<&str> {
    list.as_array().unwrap().iter().map(|member| member["user"].as_str().unwrap()).collect()
}

#[tokio::test]
async fn those_who_appear_and_leave_are_told_in_numbered_diffs() {
    let server = quick().await;
    let mut one = appear(&server, "1").await;
    let mut joined = Vec::new();
    let mut seq = 0;
    let two = appear(&server, "2").await;
    while joined.len() < 2 {
        let diff = one.expect("presence_diff").await;
        assert_eq!(diff["seq"].as_u64(), Some(seq + 1));
        seq += 1;
        for member in diff["join"].as_array().unwrap() {
            assert_eq!(member["info"]["name"], format!("n{}", member["user"].as_str().unwrap()));
            joined.push(member["user"].as_str().unwrap().to_owned());
        }
    }
    joined.sort();
    assert_eq!(joined, ["1", "2"]);
    let snapshot = who(&mut one).await;
    assert_eq!(snapshot["seq"].as_u64(), Some(seq));
    assert_eq!(snapshot["total"], 2);
    assert_eq!(snapshot["truncated"], false);
    assert_eq!(snapshot["members"][1], json!({"user": "2", "conns": 1, "info": {"name": "n2"}}));
    drop(two);
    let diff = one.expect("presence_diff").await;
    assert_eq!((users(&diff["leave"]), diff["total"].as_u64()), (vec!["2"], Some(1)));
    assert_eq!(users(&who(&mut one).await["members"]), ["1"]);
}

#[tokio::test]
async fn a_page_that_is_loaded_anew_does_not_flap() {
    let server = quick().await;
    let mut one = appear(&server, "1").await;
    let two = appear(&server, "2").await;
    let mut seen = 0;
    while seen < 2 {
        seen += one.expect("presence_diff").await["join"].as_array().unwrap().len();
    }
    drop(two);
    let again = appear(&server, "2").await;
    // The first connection of user 2 is gone from the count, and nobody was told of anything.
    let log = server.cache.event_log();
    larder_testkit::assert_eventually!(
        log.members("acme", "lobby", 9).await.unwrap().members[1].conns == 1,
        crate::support::PATIENCE,
        "the first connection has left"
    );
    let mut three = appear(&server, "3").await;
    let diff = one.expect("presence_diff").await;
    assert_eq!((users(&diff["join"]), users(&diff["leave"])), (vec!["3"], vec![]));
    drop(again);
    let left = loop {
        let diff = three.expect("presence_diff").await;
        if diff["leave"] != json!([]) {
            break diff;
        }
    };
    assert_eq!(users(&left["leave"]), ["2"]);
}

#[tokio::test]
async fn unsub_goes_out_of_sight_and_the_room_of_everybody_has_presence_too() {
    let server = quick().await;
    let mut one = server.live("acme", "1").await;
    one.send(&json!({"id": 1, "type": "sub", "rooms": ["tenant"], "presence": true})).await;
    one.expect("ok").await;
    assert_eq!(users(&one.expect("presence_diff").await["join"]), ["1"]);
    let mut two = server.live("acme", "2").await;
    two.send(&json!({"id": 1, "type": "sub", "rooms": ["tenant"], "presence": true})).await;
    two.expect("ok").await;
    assert_eq!(users(&one.expect("presence_diff").await["join"]), ["2"]);
    two.send(&json!({"id": 2, "type": "unsub", "rooms": ["tenant"]})).await;
    assert_eq!(users(&one.expect("presence_diff").await["leave"]), ["2"]);
    server.publish("acme", 1).await;
    assert_eq!(one.number().await, 1);
    loop {
        let message = two.next().await;
        if message["type"] == "event" {
            break;
        }
    }
    let mut stranger = server.live("globex", "9").await;
    stranger.send(&json!({"id": 7, "type": "presence", "room": "tenant"})).await;
    assert_eq!(stranger.expect("presence").await["total"], 0);
    stranger.send(&json!({"id": 7, "type": "presence", "room": "user:7"})).await;
    assert_eq!(stranger.expect("error").await["code"], "forbidden");
}

#[tokio::test]
async fn who_leaves_a_room_and_is_back_at_once_stays_in_sight() {
    let server = Server::with(|config| {
        config.presence_batch = Duration::from_millis(20);
        config.presence_leave = Duration::from_millis(500);
    })
    .await;
    let mut one = appear(&server, "1").await;
    let mut two = appear(&server, "2").await;
    for (id, kind) in [(2, "unsub"), (3, "sub")] {
        two.send(&json!({"id": id, "type": kind, "rooms": ["lobby"], "presence": true})).await;
        while two.next().await["id"] != id {}
    }
    // Who leaves later is told later: by then the end of the second's first stay has come, and was none.
    let three = appear(&server, "3").await;
    drop(three);
    loop {
        let diff = one.expect("presence_diff").await;
        let left = users(&diff["leave"]);
        assert!(left.iter().all(|user| *user == "3"), "{diff}");
        if !left.is_empty() {
            break;
        }
    }
    assert_eq!(users(&who(&mut one).await["members"]), ["1", "2"]);
    // A later departure counts.
    drop(two);
    assert_eq!(users(&one.expect("presence_diff").await["leave"]), ["2"]);
}

#[tokio::test]
async fn a_user_who_watches_very_many_rooms_leaves_some_to_others_and_is_told() {
    let server = quick().await;
    let mut many = server.live("acme", "1").await;
    let mut more = server.live("acme", "1").await;
    let mut other = server.live("acme", "2").await;
    let rooms = |from: usize| (from..from + 128).map(|room| format!("r:{room}")).collect::<Vec<_>>();
    async fn sub(client: &mut Client, rooms: &[String]) -> Value {
        client.send(&json!({"id": 1, "type": "sub", "rooms": rooms, "presence": true})).await;
        loop {
            let message = client.next().await;
            if message["type"] == "ok" {
                return message["subs"].clone();
            }
        }
    }
    let unseen = |subs: &Value| {
        let subs = subs.as_object().unwrap().values();
        subs.filter(|answer| answer["presence"] == "limit" && answer["offset"].is_u64()).count()
    };
    assert_eq!(unseen(&sub(&mut many, &rooms(0)).await), 0);
    assert_eq!(unseen(&sub(&mut more, &rooms(128)).await), 126, "two more than one connection can be in");
    assert_eq!(unseen(&sub(&mut other, &["r:300".to_owned()]).await), 0, "others are not concerned");
    assert_eq!(unseen(&sub(&mut other, &["r:200".to_owned()]).await), 0);
    assert_eq!(unseen(&sub(&mut more, &["r:200".to_owned()]).await), 0, "where somebody watches already");
    // Who leaves makes room.
    many.send(&json!({"id": 2, "type": "unsub", "rooms": ["r:0"]})).await;
    while many.next().await["id"] != 2 {}
    assert_eq!(unseen(&sub(&mut more, &["r:201".to_owned()]).await), 0);
}
