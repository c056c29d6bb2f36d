//! The ways in.

use serde_json::json;

use crate::support::{Server, bearer_protocol, token};

#[tokio::test]
async fn a_token_in_the_header_signs_in_and_hello_says_who() {
    let server = Server::start().await;
    let (mut client, hello) = server.join("acme", "42", "rooms=orders,user:7").await;
    assert_eq!(hello["tenant"], "acme");
    assert_eq!(hello["user"], "42");
    assert_eq!(hello["v"], 1);
    assert_eq!(hello["rooms"], json!(["tenant", "user:42", "orders"]));
    assert_eq!(hello["refused"], json!({"user:7": "forbidden"}));
    assert_eq!(hello["max_msg"], 65536);
    assert_eq!(hello["ping_ms"], 25000);
    assert!(hello["exp"].as_u64().unwrap() > 1_700_000_000);
    assert!(hello["conn"].as_str().unwrap().contains('.'));
    assert!(hello.get("id").is_none());
    let synced = client.expect("synced").await;
    assert_eq!(synced["epoch"], hello["epoch"]);
    assert_eq!(synced["offset"], hello["offset"]);
    assert_eq!(client.protocol, None);
}

#[tokio::test]
async fn a_token_among_the_sub_protocols_signs_in_and_only_ours_is_echoed() {
    let server = Server::start().await;
    let mut request = server.request("acme", "");
    let protocols = bearer_protocol(&token("acme", "42"));
    request.headers_mut().insert("sec-websocket-protocol", protocols.parse().unwrap());
    let mut client = server.dial(request).await.unwrap();
    assert_eq!(client.protocol.as_deref(), Some("larder.v1"));
    assert_eq!(client.expect("hello").await["user"], "42");
}

#[tokio::test]
async fn the_first_message_signs_in_with_rooms() {
    let server = Server::start().await;
    let mut client = server.connect("acme").await;
    client.text("ping").await;
    assert_eq!(client.next().await, "pong");
    let auth = json!({"id": 9, "type": "auth", "token": token("acme", "42"), "rooms": ["orders"]});
    client.send(&auth).await;
    let hello = client.expect("hello").await;
    assert_eq!(hello["id"], 9);
    assert_eq!(hello["rooms"], json!(["tenant", "user:42", "orders"]));
    client.expect("synced").await;
    client.text("ping").await;
    assert_eq!(client.next().await, "pong");
}

#[tokio::test]
async fn whoever_does_not_sign_in_in_time_is_closed_with_4501() {
    let server = Server::with(|config| config.sign_in = std::time::Duration::from_millis(100)).await;
    let mut client = server.connect("acme").await;
    assert_eq!(client.closed().await, (4501, Some("unauthorized".into())));
}

#[tokio::test]
async fn a_bad_an_expired_and_a_foreign_token_have_each_their_code() {
    let server = Server::start().await;
    let expired = json!({"tenant": "acme", "user": "42", "ttl": -1}).to_string();
    for (token, code, error) in [
        ("nonsense".to_owned(), 4500, "unauthorized"),
        (expired, 4002, "token_expired"),
        (token("globex", "42"), 4503, "forbidden"),
        (token("acme", ""), 4500, "unauthorized"),
        (token("acme", "two words"), 4500, "unauthorized"),
    ] {
        let mut request = server.request("acme", "");
        request.headers_mut().insert("authorization", format!("Bearer {token}").parse().unwrap());
        let mut by_header = server.dial(request).await.unwrap();
        assert_eq!(by_header.closed().await, (code, Some(error.into())), "{token} in the header");

        let mut request = server.request("acme", "");
        request.headers_mut().insert("sec-websocket-protocol", bearer_protocol(&token).parse().unwrap());
        let mut by_protocol = server.dial(request).await.unwrap();
        assert_eq!(by_protocol.closed().await, (code, Some(error.into())), "{token} as a sub-protocol");

        let mut by_message = server.connect("acme").await;
        by_message.sign_in(&token).await;
        assert_eq!(by_message.closed().await, (code, Some(error.into())), "{token} as a message");
    }
}

#[tokio::test]
async fn an_empty_bearer_is_a_bad_token_and_not_a_later_sign_in() {
    let server = Server::start().await;
    let mut request = server.request("acme", "");
    request.headers_mut().insert("authorization", "Basic abc".parse().unwrap());
    assert_eq!(server.dial(request).await.unwrap().closed().await.0, 4500);
}

#[tokio::test]
async fn a_client_of_another_protocol_is_closed_with_4506() {
    let server = Server::start().await;
    let mut request = server.request("acme", "");
    request.headers_mut().insert("sec-websocket-protocol", "graphql-ws".parse().unwrap());
    // This client library refuses a server that chooses none of its protocols, so the socket is looked at by hand.
    let answer = crate::support::raw(&server, request).await;
    assert!(answer.contains("101"), "{answer}");
    assert!(answer.contains("no common version"), "{answer:?}");
}

#[tokio::test]
async fn pages_of_foreign_origins_are_refused_before_the_upgrade() {
    let server = Server::start().await;
    let own = format!("http://{}", server.address);
    for (origin, fine) in [
        ("https://app.example", true),
        (own.as_str(), true),
        ("https://evil.example", false),
        ("null", false),
    ] {
        let mut request = server.request("acme", "");
        request.headers_mut().insert("origin", origin.parse().unwrap());
        match server.dial(request).await {
            Ok(_) => assert!(fine, "{origin}"),
            Err(tokio_tungstenite::tungstenite::Error::Http(response)) => {
                assert!(!fine, "{origin}");
                assert_eq!(response.status(), 403, "{origin}");
            }
            Err(error) => panic!("{error}"),
        }
    }
}

#[tokio::test]
async fn a_cookie_signs_in_only_a_page_that_may_connect() {
    let server = Server::with(|config| {
        config.cookie = Some("session".into());
        config.sign_in = std::time::Duration::from_millis(200);
    })
    .await;
    for (origin, fine) in [(Some("https://app.example"), true), (None, false)] {
        let mut request = server.request("acme", "");
        let cookie = format!("a=b; session={}", token("acme", "42"));
        request.headers_mut().insert("cookie", cookie.parse().unwrap());
        if let Some(origin) = origin {
            request.headers_mut().insert("origin", origin.parse().unwrap());
        }
        let mut client = server.dial(request).await.unwrap();
        if fine {
            client.expect("hello").await;
        } else {
            assert_eq!(client.closed().await.0, 4501);
        }
    }
}

#[tokio::test]
async fn a_new_token_lets_a_connection_go_on_and_another_users_does_not() {
    let server = Server::with(|config| config.token_grace = std::time::Duration::from_millis(300)).await;
    let short = json!({"tenant": "acme", "user": "42", "ttl": 1}).to_string();
    let (mut client, _) = server.join_with("acme", &short, "").await;
    client.expect("synced").await;
    let warned = client.expect("error").await;
    assert_eq!((warned["code"].as_str(), warned.get("id")), (Some("token_expired"), None));
    client.send(&json!({"id": 1, "type": "auth", "token": token("acme", "7")})).await;
    assert_eq!(client.next().await["code"], "forbidden");
    client.send(&json!({"id": 2, "type": "auth", "token": "nonsense"})).await;
    assert_eq!(client.next().await["code"], "unauthorized");
    client.send(&json!({"id": 3, "type": "auth", "token": token("acme", "42")})).await;
    let renewed = client.expect("ok").await;
    assert_eq!(renewed["id"], 3);
    assert!(renewed["exp"].as_u64().unwrap() > 1_700_000_000);
    server.publish("acme", 1).await;
    assert_eq!(client.number().await, 1);

    let (mut late, _) = server.join_with("acme", &short, "").await;
    late.expect("synced").await;
    server.publish("acme", 1).await;
    assert_eq!(late.number().await, 1);
    assert_eq!(late.closed().await, (4002, Some("token_expired".into())));
}

#[tokio::test]
async fn a_new_token_that_allows_less_ends_what_it_does_not_allow() {
    let server = Server::start().await;
    let (mut client, _) = server.join("acme", "42", "rooms=orders,chat:1").await;
    client.expect("synced").await;
    let less = json!({"tenant": "acme", "user": "42", "rooms": ["chat:*"]}).to_string();
    client.send(&json!({"id": 1, "type": "auth", "token": less})).await;
    assert_eq!(client.expect("ok").await["refused"], json!({"orders": "forbidden"}), "and it says so");
    client.send(&json!({"id": 2, "type": "auth", "token": less})).await;
    assert!(client.expect("ok").await.get("refused").is_none(), "nothing more");
    server.publish_to("acme", "orders", json!({"n": 1})).await;
    server.publish_to("acme", "chat:1", json!({"n": 2})).await;
    assert_eq!(client.number().await, 2);
}
