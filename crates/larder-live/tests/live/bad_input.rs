//! What is wrong has its code, and concerns nobody else.

use std::time::Duration;

use futures_util::SinkExt;
use serde_json::json;
use tokio::io::AsyncWriteExt;
use tokio_tungstenite::tungstenite::Message;

use crate::support::Server;

/// Others go on as if nothing had happened.
async fn others_go_on(server: &Server, other: &mut crate::support::Client) {
    let place = server.publish("acme", 1).await;
    assert_eq!(other.expect("event").await["offset"], place.offset());
}

#[tokio::test]
async fn a_binary_frame_is_closed_with_1003() {
    let server = Server::start().await;
    let mut other = server.live("acme", "2").await;
    let mut client = server.live("acme", "1").await;
    client.socket.send(Message::binary(vec![1, 2, 3])).await.unwrap();
    assert_eq!(client.closed().await.0, 1003);
    others_go_on(&server, &mut other).await;
}

#[tokio::test]
async fn a_message_of_64_kib_is_taken_and_one_byte_more_is_closed_with_1009() {
    let server = Server::start().await;
    let mut other = server.live("acme", "2").await;
    let mut client = server.live("acme", "1").await;
    let frame = |bytes: usize| {
        let empty = json!({"id": 1, "type": "unsub", "rooms": [""]}).to_string();
        json!({"id": 1, "type": "unsub", "rooms": ["x".repeat(bytes - empty.len())]}).to_string()
    };
    assert_eq!(frame(65_536).len(), 65_536);
    client.text(&frame(65_536)).await;
    client.expect("ok").await;
    client.text(&frame(65_537)).await;
    assert_eq!(client.closed().await.0, 1009);
    others_go_on(&server, &mut other).await;
}

#[tokio::test]
async fn a_message_in_fragments_is_bounded_as_a_whole() {
    use tokio_tungstenite::tungstenite::protocol::frame::Frame;
    use tokio_tungstenite::tungstenite::protocol::frame::coding::{Data, OpCode};
    let server = Server::start().await;
    let mut client = server.live("acme", "1").await;
    let part = |opcode, last| Message::Frame(Frame::message(vec![b'x'; 40_000], OpCode::Data(opcode), last));
    client.socket.feed(part(Data::Text, false)).await.unwrap();
    client.socket.feed(part(Data::Continue, false)).await.unwrap();
    client.socket.flush().await.unwrap();
    assert_eq!(client.closed().await.0, 1009);
}

/// Parts of a message, each of so many bytes, as a client sends them: masked, here by zeros.
fn parts(first: bool, last: bool, bytes: usize, count: usize) -> Vec<u8> {
    let length = u8::try_from(bytes).unwrap();
    assert!(length < 126, "longer ones have their length elsewhere");
    let part = |number: usize| {
        let opcode = if first && number == 0 { 1 } else { 0 };
        let end = if last && number + 1 == count { 0x80 } else { 0 };
        let mut part = vec![opcode | end, 0x80 | length, 0, 0, 0, 0];
        part.resize(6 + bytes, b' ');
        part
    };
    (0..count).flat_map(part).collect()
}

#[tokio::test]
async fn empty_parts_without_end_are_closed_with_1009() {
    let server = Server::start().await;
    let mut other = server.live("acme", "2").await;
    let mut client = server.live("acme", "1").await;
    client.socket.get_mut().write_all(&parts(true, false, 0, 1)).await.unwrap();
    // Pings between them are no messages.
    for _ in 0..10 {
        client.socket.send(Message::Ping("x".into())).await.unwrap();
        client.socket.get_mut().write_all(&parts(false, false, 0, 10_000)).await.unwrap();
    }
    assert_eq!(client.closed().await.0, 1009);
    others_go_on(&server, &mut other).await;
}

#[tokio::test]
async fn large_messages_in_small_parts_are_taken_one_after_the_other() {
    let server = Server::start().await;
    let mut client = server.live("acme", "1").await;
    for _ in 0..10 {
        // Blanks are no JSON, but they are a message.
        client.socket.get_mut().write_all(&parts(true, true, 4, 16_000)).await.unwrap();
        assert_eq!(client.expect("error").await["code"], "bad_request");
        client.send(&json!({"id": 1, "type": "unsub", "rooms": []})).await;
        client.expect("ok").await;
    }
}

#[tokio::test]
async fn a_flood_of_pongs_is_closed_with_4006() {
    let server = Server::start().await;
    let mut client = server.live("acme", "1").await;
    for _ in 0..100 {
        client.socket.feed(Message::Pong("x".into())).await.unwrap();
    }
    client.socket.flush().await.unwrap();
    assert_eq!(client.closed().await, (4006, Some("too_many".into())));
}

#[tokio::test]
async fn text_that_is_not_utf_8_is_closed_with_1007() {
    use tokio_tungstenite::tungstenite::protocol::frame::Frame;
    use tokio_tungstenite::tungstenite::protocol::frame::coding::{Data, OpCode};
    let server = Server::start().await;
    let mut client = server.live("acme", "1").await;
    let frame = Frame::message(vec![0xc3, 0x28], OpCode::Data(Data::Text), true);
    client.socket.send(Message::Frame(frame)).await.unwrap();
    assert_eq!(client.closed().await.0, 1007);
}

#[tokio::test]
async fn an_unknown_type_is_told_and_the_fifth_in_a_row_closed_with_4502() {
    let server = Server::start().await;
    let mut other = server.live("acme", "2").await;
    let mut client = server.live("acme", "1").await;
    for id in 0..4 {
        client.send(&json!({"id": id, "type": "dance"})).await;
        let error = client.expect("error").await;
        assert_eq!((error["id"].as_u64(), error["code"].as_str()), (Some(id), Some("bad_request")));
    }
    client.text("nonsense").await;
    assert_eq!(client.closed().await, (4502, Some("bad_request".into())));
    others_go_on(&server, &mut other).await;
}

#[tokio::test]
async fn the_129th_room_is_refused_and_the_others_stay() {
    let server = Server::start().await;
    let mut client = server.live("acme", "1").await;
    let rooms: Vec<String> = (1..=129).map(|number| format!("room:{number}")).collect();
    client.send(&json!({"id": 1, "type": "sub", "rooms": rooms})).await;
    let ok = client.expect("ok").await;
    assert_eq!(ok["subs"]["room:128"], json!({"offset": 0}));
    assert_eq!(ok["subs"]["room:129"], json!({"error": "limit"}));
    server.publish_to("acme", "room:129", json!({"n": 129})).await;
    server.publish_to("acme", "room:128", json!({"n": 128})).await;
    assert_eq!(client.number().await, 128);
    // A room that was left makes room for another.
    client.send(&json!({"id": 2, "type": "unsub", "rooms": ["room:1"]})).await;
    client.expect("ok").await;
    client.send(&json!({"id": 3, "type": "sub", "rooms": ["room:129"]})).await;
    assert_eq!(client.expect("ok").await["subs"]["room:129"], json!({"offset": 2}));
    // The same at the handshake.
    let (_, hello) = server.join("acme", "2", &format!("rooms={}", rooms.join(","))).await;
    assert_eq!(hello["rooms"].as_array().unwrap().len(), 130);
    assert_eq!(hello["refused"], json!({"room:129": "limit"}));
}

#[tokio::test]
async fn a_flood_of_commands_is_closed_with_4006() {
    let server = Server::start().await;
    let mut other = server.live("acme", "2").await;
    let mut client = server.live("acme", "1").await;
    for id in 0..100 {
        let command = json!({"id": id, "type": "unsub", "rooms": []}).to_string();
        client.socket.feed(Message::text(command)).await.unwrap();
    }
    client.socket.flush().await.unwrap();
    assert_eq!(client.closed().await, (4006, Some("too_many".into())));
    others_go_on(&server, &mut other).await;
}

#[tokio::test]
async fn a_half_open_peer_is_given_up_with_4004() {
    let server = Server::with(|config| {
        config.ping = Duration::from_millis(100);
        config.silence = Duration::from_millis(300);
    })
    .await;
    let mut other = server.live("acme", "2").await;
    // It reads nothing, so it answers no ping either.
    let silent = server.live("acme", "1").await;
    larder_testkit::assert_eventually!(
        {
            // Whoever reads, and so answers pings, stays.
            let told = tokio::time::timeout(Duration::from_millis(20), other.message()).await;
            assert!(!matches!(told, Ok(Err(_))), "{told:?}");
            server.live.numbers().closes.contains(&(4004, 1))
        },
        crate::support::PATIENCE,
        "the silent peer is given up"
    );
    drop(silent);
    let place = server.publish("acme", 1).await;
    loop {
        let message = other.next().await;
        if message["type"] == "event" {
            assert_eq!(message["offset"], place.offset());
            break;
        }
        assert_eq!(message["type"], "ping");
    }
}

#[tokio::test]
async fn a_reader_that_never_reads_is_closed_with_4003_and_holds_no_memory() {
    let server = Server::start().await;
    let mut other = server.live("acme", "2").await;
    let slow = server.live("acme", "1").await;
    let data = "x".repeat(60_000);
    let mut sent = 0;
    while !server.live.numbers().closes.contains(&(4003, 1)) {
        server.publish_to("acme", "tenant", json!({"n": sent, "data": data})).await;
        assert_eq!(other.number().await, sent);
        sent += 1;
        assert!(sent < 1000, "60 MB are more than sockets and queue hold");
    }
    drop(slow);
    others_go_on(&server, &mut other).await;
}

#[tokio::test]
async fn the_21st_connection_of_a_user_is_closed_with_4504_and_a_full_tenant_with_4008() {
    let server = Server::with(|config| config.tenant_connections = 22).await;
    let mut clients = Vec::new();
    for _ in 0..20 {
        clients.push(server.live("acme", "1").await);
    }
    let mut request = server.request("acme", "");
    let bearer = |user: &str| format!("Bearer {}", crate::support::token("acme", user)).parse().unwrap();
    request.headers_mut().insert("authorization", bearer("1"));
    let mut more = server.dial(request.clone()).await.unwrap();
    assert_eq!(more.closed().await, (4504, Some("limit".into())));
    clients.push(server.live("acme", "2").await);
    clients.push(server.live("acme", "3").await);
    request.headers_mut().insert("authorization", bearer("4"));
    let mut more = server.dial(request).await.unwrap();
    assert_eq!(more.closed().await, (4008, Some("limit".into())));
    // Another tenant has its own bound, and who leaves makes room.
    server.live("globex", "1").await;
    clients.pop();
    larder_testkit::assert_eventually!(
        {
            let mut request = server.request("acme", "");
            request.headers_mut().insert("authorization", bearer("5"));
            server.dial(request).await.unwrap().next().await["type"] == "hello"
        },
        crate::support::PATIENCE,
        "there is room again"
    );
}

#[tokio::test]
async fn a_full_node_answers_503_and_connecting_too_fast_429() {
    let server = Server::with(|config| config.node_connections = 1).await;
    let _one = server.live("acme", "1").await;
    match server.dial(server.request("acme", "")).await {
        Err(tokio_tungstenite::tungstenite::Error::Http(response)) => {
            assert_eq!(response.status(), 503);
            assert_eq!(response.headers()["retry-after"], "30");
        }
        other => panic!("{:?}", other.err()),
    }
    let server = Server::with(|config| config.connects_per_second = 1).await;
    let _one = server.live("acme", "1").await;
    let mut request = server.request("acme", "");
    let token = format!("Bearer {}", crate::support::token("acme", "2"));
    request.headers_mut().insert("authorization", token.parse().unwrap());
    match server.dial(request).await {
        Err(tokio_tungstenite::tungstenite::Error::Http(response)) => assert_eq!(response.status(), 429),
        other => panic!("{:?}", other.err()),
    }
}

#[tokio::test]
async fn what_is_no_handshake_is_told_so() {
    let server = Server::start().await;
    let mut stream = tokio::net::TcpStream::connect(server.address).await.unwrap();
    let request = "GET /ws/notifications/acme HTTP/1.1\r\nhost: x\r\nconnection: close\r\n\r\n";
    stream.write_all(request.as_bytes()).await.unwrap();
    let answer = crate::support::read_all(stream).await;
    assert!(answer.starts_with("HTTP/1.1 426"), "{answer}");
    assert!(answer.contains("upgrade: websocket"), "{answer}");
}
