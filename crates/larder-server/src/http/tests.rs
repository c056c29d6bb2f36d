use std::net::SocketAddr;
use std::sync::Arc;

use axum::Router;
use axum::body::{Body, Bytes};
use axum::response::Response;
use axum::routing::{get, post};
use http::{Method, Request, StatusCode, header};
use http_body_util::BodyExt;
use tokio::sync::Notify;
use tower::ServiceExt;

use super::address::Peer;
use super::around;
use crate::config::of_test;

fn routes() -> Router {
    Router::new()
        .route("/health", get(|| async { "ok" }))
        .route("/long", get(|| async { "a line that repeats itself\n".repeat(100) }))
        .route(
            "/panic",
            get(|| async {
                if true {
                    panic!("hunter2")
                }
            }),
        )
        .route("/echo", post(|body: Bytes| async move { body.len().to_string() }))
        .route("/json", post(|body: axum::Json<Vec<u32>>| async move { body.0.len().to_string() }))
        .route(
            "/api/v1/campaigns/{id}/leads/import",
            post(|body: Bytes| async move { body.len().to_string() }),
        )
        .route("/api/threats", post(|| async { "inserted" }))
}

fn server(environment: &[(&str, &str)]) -> Router {
    around(routes(), Router::new(), &of_test(environment), |routes| routes)
}

fn from(peer: &str, request: http::request::Builder, body: Body) -> Request<Body> {
    request.extension(Peer(peer.parse::<SocketAddr>().unwrap())).body(body).unwrap()
}

async fn ask(server: &Router, request: http::request::Builder, body: impl Into<Body>) -> Response {
    server.clone().oneshot(from("198.51.100.7:1", request, body.into())).await.unwrap()
}

async fn get_path(server: &Router, path: &str) -> Response {
    ask(server, Request::get(path), Body::empty()).await
}

async fn problem(response: Response) -> serde_json::Value {
    assert_eq!(response.headers()[header::CONTENT_TYPE], "application/problem+json");
    let body: serde_json::Value = serde_json::from_slice(&bytes(response).await).unwrap();
    for field in ["type", "title", "status", "detail"] {
        assert!(!body[field].is_null(), "{field} is missing in {body}");
    }
    body
}

async fn bytes(response: Response) -> Bytes {
    response.into_body().collect().await.unwrap().to_bytes()
}

#[tokio::test]
async fn every_answer_has_a_request_id_and_the_headers_of_a_hardened_api() {
    let server = server(&[]);
    for path in ["/health", "/nowhere", "/panic"] {
        let response = get_path(&server, path).await;
        let headers = response.headers();
        assert!(!headers["x-request-id"].is_empty(), "{path}");
        assert_eq!(headers["x-content-type-options"], "nosniff", "{path}");
        assert_eq!(headers["x-frame-options"], "DENY", "{path}");
        assert_eq!(
            headers["content-security-policy"], "default-src 'none'; frame-ancestors 'none'",
            "{path}"
        );
        assert_eq!(headers["cache-control"], "no-store", "{path}");
        assert!(!headers.contains_key("strict-transport-security"), "{path}");
        assert!(!headers.contains_key("server"), "{path}");
    }
}

#[tokio::test]
async fn a_request_id_that_was_sent_is_echoed() {
    let response =
        ask(&server(&[]), Request::get("/health").header("x-request-id", "trace-42"), Body::empty()).await;
    assert_eq!(response.headers()["x-request-id"], "trace-42");
}

#[tokio::test]
async fn errors_that_no_handler_made_are_problems_too() {
    let server = server(&[]);
    let status = |response: &Response| response.status().as_u16();
    let missing = get_path(&server, "/nowhere").await;
    assert_eq!(status(&missing), 404);
    assert_eq!(problem(missing).await["status"], 404);
    let wrong_method = get_path(&server, "/echo").await;
    assert_eq!(status(&wrong_method), 405);
    assert_eq!(wrong_method.headers()["allow"], "POST");
    assert_eq!(problem(wrong_method).await["status"], 405);
    let no_type = ask(&server, Request::post("/json"), "[1]").await;
    assert_eq!(status(&no_type), 415);
    assert_eq!(problem(no_type).await["status"], 415);
    let malformed =
        ask(&server, Request::post("/json").header("content-type", "application/json"), "[1").await;
    assert_eq!(status(&malformed), 400);
    assert_eq!(problem(malformed).await["status"], 400);
    let panicked = get_path(&server, "/panic").await;
    assert_eq!(status(&panicked), 500);
    assert!(!problem(panicked).await.to_string().contains("hunter2"));
}

#[tokio::test]
async fn a_body_may_be_a_mebibyte_and_an_import_ten() {
    let server = server(&[]);
    let import = "/api/v1/campaigns/1/leads/import";
    for (path, size, status) in [
        ("/echo", 1 << 20, 200),
        ("/echo", (1 << 20) + 1, 413),
        (import, 10 << 20, 200),
        (import, (10 << 20) + 1, 413),
    ] {
        let announced = Request::post(path).header("content-length", size);
        let response = ask(&server, announced, vec![b'x'; size]).await;
        assert_eq!(response.status(), status, "{path} {size}");
        // Without a length, as a chunked body comes, it is found out while reading.
        let chunks = futures_util::stream::iter(vec![Ok::<_, std::io::Error>(vec![b'x'; size])]);
        let response = ask(&server, Request::post(path), Body::from_stream(chunks)).await;
        assert_eq!(response.status(), status, "{path} {size} in chunks");
        if status == 413 {
            assert_eq!(problem(response).await["status"], 413);
        }
    }
}

#[tokio::test]
async fn whoever_takes_no_encoding_gets_the_plain_answer() {
    let request = Request::get("/long").header(header::ACCEPT_ENCODING, "*;q=0");
    let response = ask(&server(&[]), request, Body::empty()).await;
    assert_eq!(response.status(), 200);
    assert!(!response.headers().contains_key(header::CONTENT_ENCODING));
}

#[tokio::test]
async fn bodies_are_compressed_as_the_client_can_take_them_unless_they_are_small() {
    let server = server(&[]);
    for (accepted, encoding) in [("gzip", "gzip"), ("br", "br"), ("zstd", "zstd"), ("gzip;q=0.5, br", "br")] {
        let response =
            ask(&server, Request::get("/long").header("accept-encoding", accepted), Body::empty()).await;
        assert_eq!(response.headers()["content-encoding"], encoding);
        assert!(bytes(response).await.len() < 1000, "{accepted}");
    }
    let plain = get_path(&server, "/long").await;
    assert!(!plain.headers().contains_key("content-encoding"));
    let small = ask(&server, Request::get("/health").header("accept-encoding", "gzip"), Body::empty()).await;
    assert!(!small.headers().contains_key("content-encoding"));
}

#[tokio::test]
async fn beyond_the_concurrency_limit_the_answer_is_503_at_once_but_health_goes_on() {
    let (entered, leave) = (Arc::new(Notify::new()), Arc::new(Notify::new()));
    let (in_handler, may_go) = (Arc::clone(&entered), Arc::clone(&leave));
    let slow = Router::new()
        .route(
            "/slow",
            get(|| async move {
                in_handler.notify_one();
                may_go.notified().await;
                "done"
            }),
        )
        .merge(routes());
    let server = around(slow, Router::new(), &of_test(&[("MAX_CONCURRENT_REQUESTS", "1")]), |routes| routes);
    let first = tokio::spawn({
        let server = server.clone();
        async move { get_path(&server, "/slow").await }
    });
    entered.notified().await;

    let refused = get_path(&server, "/long").await;
    assert_eq!(refused.status(), StatusCode::SERVICE_UNAVAILABLE);
    assert_eq!(refused.headers()["retry-after"], "1");
    problem(refused).await;
    assert_eq!(get_path(&server, "/health").await.status(), 200);

    leave.notify_one();
    assert_eq!(first.await.unwrap().status(), 200);
    assert_eq!(get_path(&server, "/long").await.status(), 200);
}

#[tokio::test]
async fn an_address_over_its_rate_gets_429_others_and_health_do_not() {
    let server = server(&[("RATE_LIMIT_API", "2/h")]);
    for _ in 0..4 {
        assert_eq!(get_path(&server, "/long").await.status(), 200);
    }
    let refused = get_path(&server, "/long").await;
    assert_eq!(refused.status(), StatusCode::TOO_MANY_REQUESTS);
    let wait: u64 = refused.headers()["retry-after"].to_str().unwrap().parse().unwrap();
    assert!((1790..=1800).contains(&wait), "{wait}");
    problem(refused).await;
    assert_eq!(get_path(&server, "/health").await.status(), 200);
    let other =
        server.clone().oneshot(from("198.51.100.8:1", Request::get("/long"), Body::empty())).await.unwrap();
    assert_eq!(other.status(), 200);
}

#[tokio::test]
async fn uploads_have_a_rate_of_their_own() {
    let server = server(&[("RATE_LIMIT_UPLOADS", "1/h")]);
    for status in [200, 200, 429] {
        assert_eq!(ask(&server, Request::post("/api/threats"), Body::empty()).await.status(), status);
    }
    assert_eq!(get_path(&server, "/long").await.status(), 200);
}

#[tokio::test]
async fn behind_a_trusted_proxy_each_client_has_a_rate_of_its_own() {
    let server = server(&[("RATE_LIMIT_API", "1/h"), ("TRUSTED_PROXIES", "10.0.0.0/8")]);
    let through = |peer: &'static str, client: &'static str| {
        let request =
            Request::get("/long").header("x-forwarded-for", client).header("x-forwarded-proto", "https");
        server.clone().oneshot(from(peer, request, Body::empty()))
    };
    for status in [200, 200, 429] {
        assert_eq!(through("10.0.0.1:1", "203.0.113.1").await.unwrap().status(), status);
    }
    let other = through("10.0.0.1:1", "203.0.113.2").await.unwrap();
    assert_eq!(other.status(), 200);
    assert!(other.headers().contains_key("strict-transport-security"));
    // Whoever is no proxy can't choose to be somebody else.
    for (client, status) in [("203.0.113.3", 200), ("203.0.113.4", 200), ("203.0.113.5", 429)] {
        assert_eq!(through("192.0.2.1:1", client).await.unwrap().status(), status, "{client}");
    }
}

#[tokio::test]
async fn an_allowed_origin_may_call_and_any_other_may_not() {
    let server = server(&[]);
    let preflight = |origin: &'static str| {
        let request = Request::builder().method(Method::OPTIONS).uri("/echo").header("origin", origin);
        let request = request.header("access-control-request-method", "POST");
        ask(
            &server,
            request.header("access-control-request-headers", "authorization,content-type"),
            Body::empty(),
        )
    };
    let allowed = preflight("http://localhost:5173").await;
    assert_eq!(allowed.status(), 200);
    assert_eq!(allowed.headers()["access-control-allow-origin"], "http://localhost:5173");
    assert!(allowed.headers()["access-control-allow-methods"].to_str().unwrap().contains("POST"));
    let refused = preflight("https://evil.example").await;
    assert!(!refused.headers().contains_key("access-control-allow-origin"));

    let plain =
        ask(&server, Request::get("/long").header("origin", "http://127.0.0.1:9"), Body::empty()).await;
    assert_eq!(plain.headers()["access-control-allow-origin"], "http://127.0.0.1:9");
    let exposed = plain.headers()["access-control-expose-headers"].to_str().unwrap().to_owned();
    assert!(exposed.contains("x-cache") && exposed.contains("etag"), "{exposed}");
}

#[tokio::test]
async fn a_refusal_can_be_read_by_the_page_that_caused_it() {
    let server = server(&[("RATE_LIMIT_API", "1/h")]);
    let ask_once =
        || ask(&server, Request::get("/long").header("origin", "http://localhost:1"), Body::empty());
    for status in [200, 200, 429] {
        let response = ask_once().await;
        assert_eq!(response.status(), status);
        assert_eq!(response.headers()["access-control-allow-origin"], "http://localhost:1");
    }
}

#[tokio::test]
async fn streams_know_the_client_behind_a_trusted_proxy() {
    let address = get(|request: Request<Body>| async move {
        let client = request.extensions().get::<larder_live::ClientAddress>();
        client.expect("it is in every request").0.to_string()
    });
    let streams = Router::new().route("/stream", address);
    let server = around(routes(), streams, &of_test(&[("TRUSTED_PROXIES", "10.0.0.0/8")]), |routes| routes);
    for (peer, client) in [("10.0.0.1:1", "198.51.100.7"), ("203.0.113.9:1", "203.0.113.9")] {
        let request = Request::get("/stream").header("x-forwarded-for", "127.0.0.1, 198.51.100.7");
        let answer = server.clone().oneshot(from(peer, request, Body::empty())).await.unwrap();
        assert_eq!(bytes(answer).await, client, "{peer}");
    }
}
