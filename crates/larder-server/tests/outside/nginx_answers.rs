//! Who answers through the repository's nginx configuration: nginx itself, with problems of its own, or a server, whose answer stays as it is.

use crate::client::{Answer, Body, Client};
use crate::nginx::{CONFIGURATION, Front, Pair, somebody};
use http::{HeaderMap, HeaderName, HeaderValue};
use serde_json::json;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};

/// What a hardened API says in every answer.
const HARDENED: [&str; 8] = [
    "x-content-type-options",
    "x-frame-options",
    "referrer-policy",
    "content-security-policy",
    "cross-origin-opener-policy",
    "cross-origin-resource-policy",
    "permissions-policy",
    "cache-control",
];

/// Asserts that the answer has each of the headers once, and no other twice.
#[track_caller]
pub(crate) fn each_header_once(answer: &Answer) {
    for name in answer.headers.keys() {
        let values: Vec<_> = answer.headers.get_all(name).iter().collect();
        assert_eq!(values.len(), 1, "{}: {name}: {values:?}", answer.what);
    }
    for name in HARDENED {
        assert!(answer.headers.contains_key(name), "{}: no {name} in {:?}", answer.what, answer.headers);
    }
}

/// Asserts that nginx has answered by itself, with this status.
#[track_caller]
fn own(answer: Answer, status: u16, retry_after: &str) {
    each_header_once(&answer);
    assert_eq!(answer.header("retry-after"), retry_after, "{}", answer.what);
    assert!(!answer.header("x-request-id").is_empty(), "{}", answer.what);
    assert_eq!(answer.header("strict-transport-security"), "", "not without TLS");
    answer.expect_problem(status);
}

/// Sends bytes that no client would, and reads one answer.
async fn raw(front: &Front, request: &str) -> Answer {
    let mut stream = TcpStream::connect(front.url.trim_start_matches("http://")).await.unwrap();
    stream.write_all(request.as_bytes()).await.unwrap();
    let mut bytes = Vec::new();
    loop {
        let read = stream.read_buf(&mut bytes).await.unwrap();
        if let Some(answer) = complete(request.lines().next().unwrap(), &bytes) {
            return answer;
        }
        assert!(read > 0, "{request}: {:?}", String::from_utf8_lossy(&bytes));
    }
}

/// What has come so far, if that is all of it.
fn complete(what: &str, bytes: &[u8]) -> Option<Answer> {
    let text = std::str::from_utf8(bytes).unwrap();
    let (head, body) = text.split_once("\r\n\r\n")?;
    let mut lines = head.lines();
    let status = lines.next()?.split(' ').nth(1).unwrap().parse().unwrap();
    let mut headers = HeaderMap::new();
    for (name, value) in lines.map(|line| line.split_once(": ").unwrap()) {
        headers.append(HeaderName::try_from(name).unwrap(), HeaderValue::try_from(value).unwrap());
    }
    let answer = Answer { what: what.to_owned(), status, headers, body: body.into() };
    (answer.header("content-length") == body.len().to_string()).then_some(answer)
}

#[tokio::test]
async fn what_nginx_refuses_by_itself_is_a_problem_as_of_a_server() {
    let pair = Pair::start().await;
    let (front, anyone) = (&pair.front, pair.front.client());
    own(anyone.get("/metrics").await, 404, "");
    own(anyone.get("/.problem").await, 404, "");
    own(raw(front, "no request at all\r\n\r\n").await, 400, "");
    own(raw(front, "TRACE / HTTP/1.1\r\nhost: x\r\nconnection: close\r\n\r\n").await, 405, "");
    let large =
        "POST /api/threats HTTP/1.1\r\nhost: x\r\nconnection: close\r\ncontent-length: 12000000\r\n\r\n";
    own(raw(front, large).await, 413, "");
    let long = format!("GET /{} HTTP/1.1\r\nhost: x\r\n\r\n", "x".repeat(40_000));
    own(raw(front, &long).await, 414, "");
    let heavy = format!("GET / HTTP/1.1\r\nhost: x\r\nx: {}\r\n\r\n", "x".repeat(40_000));
    own(raw(front, &heavy).await, 400, "");

    let greedy = anyone.from(somebody(20));
    let answers = futures_util::future::join_all((0..400).map(|_| greedy.get("/api/stats"))).await;
    let refused = answers.into_iter().find(|answer| answer.status == 429);
    own(refused.expect("400 at once are too many"), 429, "1");

    let Pair { servers, front, .. } = pair;
    for server in &servers {
        server.program().kill();
    }
    own(front.client().get("/api/stats").await, 502, "1");
}

#[tokio::test]
async fn a_server_that_says_nothing_ends_in_a_problem_of_nginx() {
    let silent = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let hasty = CONFIGURATION.replace("proxy_read_timeout 60s", "proxy_read_timeout 100ms");
    assert_ne!(hasty, CONFIGURATION);
    let port = silent.local_addr().unwrap().port();
    let front = Front::with(&[port], &hasty, |port| format!("listen 127.0.0.1:{port};")).await;
    own(front.client().get("/api/stats").await, 504, "1");
}

/// The answer without what no two answers have in common.
fn without_its_own(answer: &Answer) -> (u16, Vec<(String, String)>, String) {
    let own = [
        "server",
        "date",
        "connection",
        "x-request-id",
        "server-timing",
        "age",
        "cache-status",
        "content-length",
    ];
    let headers = answer.headers.iter().filter(|(name, _)| !own.contains(&name.as_str()));
    let mut headers: Vec<(String, String)> =
        headers.map(|(name, value)| (name.to_string(), value.to_str().unwrap().to_owned())).collect();
    headers.sort();
    (answer.status, headers, answer.text())
}

#[tokio::test]
async fn what_a_server_answers_comes_through_with_each_header_once_and_its_own_words() {
    let pair = Pair::start().await;
    let front = pair.front.client().sign_in("owner@acme.test").await;
    let server = front.at(pair.servers[0].url());
    let wrong = Body::Json(json!({"name": "", "channel": "pigeon"}));
    for (method, path, body, status) in [
        ("GET", "/docs", &Body::Nothing, 200),
        ("GET", "/api/v1/campaigns", &Body::Nothing, 200),
        ("GET", "/api/v1/campaigns?limit=0", &Body::Nothing, 422),
        ("POST", "/api/v1/campaigns", &wrong, 422),
        ("GET", "/nothing/here", &Body::Nothing, 404),
        ("GET", "/api/cache/keys", &Body::Nothing, 403),
        ("POST", "/api/v1/campaigns", &Body::Text("text/plain", "x".into()), 415),
    ] {
        // Warm on both.
        for _ in 0..2 {
            front.send(method, path, body).await.expect(status);
        }
        server.send(method, path, body).await.expect(status);
        for encoding in ["", "gzip"] {
            let encoding = [("accept-encoding", encoding)];
            let through = front.send_with(method, path, body, &encoding).await;
            each_header_once(&through);
            let direct = server.send_with(method, path, body, &encoding).await;
            assert_eq!(without_its_own(&through), without_its_own(&direct));
        }
    }
}

#[tokio::test]
async fn a_server_that_turns_somebody_away_says_so_in_its_own_words() {
    let pair = Pair::start().await;
    let wrong = json!({"email": "owner@acme.test", "password": "wrong"});
    let mut last = Client::new(&pair.front.url).post("/api/v1/auth/login", wrong.clone()).await;
    // Ten tries at each of the two.
    for _ in 0..20 {
        last = Client::new(&pair.front.url).post("/api/v1/auth/login", wrong.clone()).await;
    }
    each_header_once(&last);
    assert!(!last.header("retry-after").is_empty());
    let said = last.expect_problem(429).json()["detail"].as_str().unwrap().to_owned();
    assert!(!said.contains("too many requests from this address"), "{said}");
}
