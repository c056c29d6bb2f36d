//! What holds for every answer, whatever the route: HTTP itself, limits and switches.

use crate::client::{Body, Client};
use crate::routes::{self, People};
use crate::server::Server;
use crate::stack::{Kind, Stack, on_every_stack};
use larder_testkit::{Answer, Gate, RedisServer, StubHttp, assert_eventually};
use serde_json::json;
use std::time::{Duration, Instant};

const NOTHING: Body = Body::Nothing;

async fn memory(more: &[(&str, &str)]) -> Stack {
    Stack::with(Kind::MemorySqlite, RedisServer::builder(), more).await
}

on_every_stack!(without_the_cache_every_read_is_a_bypass_and_everything_works);

async fn without_the_cache_every_read_is_a_bypass_and_everything_works(stack: Stack) {
    let mut env: Vec<(&str, &str)> =
        stack.env.iter().map(|(name, value)| (name.as_str(), value.as_str())).collect();
    env.push(("CACHE_ENABLED", "off"));
    let server = Server::start_in(stack.server.dir(), &env).await;
    let mut people = People::of(&stack).await;
    for client in [&mut people.anyone, &mut people.acme, &mut people.admin, &mut people.crawler] {
        *client = client.at(server.url());
    }
    for route in routes::all().iter().filter(|route| route.cached.is_some()) {
        for _ in 0..2 {
            let answer = route.call(&people).await.expect(200);
            assert_eq!(answer.cache(), "BYPASS", "{}", answer.what);
        }
    }
    let made = people.acme.post("/api/v1/campaigns", routes::a_campaign("Bypassed")).await.expect(201).json();
    assert_eq!(people.acme.get("/api/v1/campaigns").await.json()["items"][0], made);
    assert_eq!(people.anyone.get("/health/cache").await.expect(200).json()["status"], "disabled");
}

#[tokio::test]
async fn bodies_are_compressed_as_the_client_wishes() {
    let stack = memory(&[]).await;
    let acme = stack.acme().await;
    let path = "/api/v1/campaigns?limit=100";
    let plain = acme.get(path).await.expect(200);
    assert_eq!(plain.header("content-encoding"), "");
    for encoding in ["gzip", "br", "zstd"] {
        let packed =
            acme.send_with("GET", path, &NOTHING, &[("accept-encoding", encoding)]).await.expect(200);
        assert_eq!(packed.header("content-encoding"), encoding);
        assert!(
            packed.body.len() * 2 < plain.body.len(),
            "{encoding}: {} of {}",
            packed.body.len(),
            plain.body.len()
        );
        assert_eq!(packed.header("etag"), plain.header("etag"), "a weak one, of the content");
    }
}

#[tokio::test]
async fn a_request_id_is_made_or_taken() {
    let stack = memory(&[]).await;
    let client = stack.anyone();
    let made = client.get("/health").await.header("x-request-id").to_owned();
    assert_ne!(made, client.get("/health").await.header("x-request-id"));
    let taken =
        client.send_with("GET", "/api/stats", &NOTHING, &[("x-request-id", "from-the-client-7")]).await;
    assert_eq!(taken.header("x-request-id"), "from-the-client-7");
    let problem = client.send_with("GET", "/nowhere", &NOTHING, &[("x-request-id", "lost-8")]).await;
    assert_eq!(problem.header("x-request-id"), "lost-8");
}

#[tokio::test]
async fn only_configured_origins_may_call() {
    let stack = memory(&[("CORS_ORIGINS", "https://app.example")]).await;
    let client = stack.anyone();
    let preflight = |origin| {
        let client = client.clone();
        let headers = [
            ("origin", origin),
            ("access-control-request-method", "PUT"),
            ("access-control-request-headers", "authorization,content-type"),
        ];
        async move { client.send_with("OPTIONS", "/api/v1/campaigns", &NOTHING, &headers).await }
    };
    let allowed = preflight("https://app.example").await;
    assert!(allowed.status < 300, "{allowed:?}");
    assert_eq!(allowed.header("access-control-allow-origin"), "https://app.example");
    assert!(allowed.header("access-control-allow-methods").contains("PUT"));
    for origin in ["https://evil.example", "https://app.example.evil", "null"] {
        assert_eq!(preflight(origin).await.header("access-control-allow-origin"), "", "{origin}");
    }
    assert!(stack.server.log().contains("CORS_ORIGINS"), "{}", stack.server.log());
}

#[tokio::test]
async fn beyond_the_limit_of_requests_the_answer_is_503_at_once_and_health_is_spared() {
    let (upstream, gate) = (StubHttp::start().await, Gate::new());
    upstream.otherwise(Answer::json(json!({})).behind(&gate));
    let url = upstream.url();
    let more = [
        ("MAX_CONCURRENT_REQUESTS", "1"),
        ("UPSTREAM_API_URL", &*url),
        ("UPSTREAM_TIMEOUT", "20s"),
        ("LOAD_TIMEOUT", "20s"),
    ];
    let stack = memory(&more).await;
    let acme = stack.acme().await;
    let held = tokio::spawn({
        let acme = acme.clone();
        async move { acme.get("/api/v1/products").await }
    });
    upstream.called("/acme/products", 1).await;
    let started = Instant::now();
    let refused = acme.get("/api/v1/campaigns").await.expect_problem(503);
    assert!(started.elapsed() < Duration::from_secs(2));
    assert!(!refused.header("retry-after").is_empty());
    stack.anyone().get("/health").await.expect(200);
    gate.open();
    held.await.unwrap().expect(200);
    acme.get("/api/v1/campaigns").await.expect(200);
}

#[tokio::test]
async fn forwarded_addresses_are_believed_from_trusted_proxies_only() {
    let limit = ("RATE_LIMIT_API", "1/s");
    let from = |address: &'static str| [("x-forwarded-for", address)];
    let refused = async |server: &Server, spread: bool| {
        let client = Client::new(server.url());
        let mut refused = 0;
        for number in 0..12 {
            let address = if spread && number % 2 == 0 { "203.0.113.1" } else { "203.0.113.2" };
            let answer = client.send_with("GET", "/api/stats", &NOTHING, &from(address)).await;
            refused += usize::from(answer.status == 429);
        }
        refused
    };
    let trusting = Server::start(&[limit, ("TRUSTED_PROXIES", "127.0.0.0/8")]).await;
    let of_two = refused(&trusting, true).await;
    let wary = Server::start(&[limit]).await;
    let of_one = refused(&wary, true).await;
    assert!(
        of_one > of_two,
        "two clients have two allowances where the proxy is trusted: {of_one} and {of_two}"
    );
}

#[tokio::test]
async fn metrics_are_for_loopback_or_the_bearer() {
    let stack = memory(&[("METRICS_TOKEN", "let-me-measure"), ("TRUSTED_PROXIES", "127.0.0.0/8")]).await;
    let client = stack.anyone();
    client.get("/api/stats").await.expect(200);
    let text = client.get("/metrics").await.expect(200);
    assert!(
        text.header("content-type").starts_with("text/plain")
            || text.header("content-type").contains("openmetrics")
    );
    for name in ["hits", "misses", "load", "invalidations"] {
        assert!(text.text().contains(name), "{name} is not measured: {}", text.text());
    }
    assert!(!text.text().contains("acme:"), "no key is a label");
    let outside = [("x-forwarded-for", "203.0.113.9")];
    let refused = client.send_with("GET", "/metrics", &NOTHING, &outside).await;
    assert!([401, 403].contains(&refused.status), "{refused:?}");
    client.with_token("let-me-measure").send_with("GET", "/metrics", &NOTHING, &outside).await.expect(200);
}

#[tokio::test]
async fn a_database_that_goes_away_is_said_and_used_again() {
    let stack = Stack::start(Kind::RedisPostgres).await;
    // A server of its own, since this one is killed.
    let postgres = larder_testkit::PostgresServer::start();
    let database = postgres.fresh_database();
    let url = stack.redis.as_ref().unwrap().url();
    let env = [
        ("DATABASE_URL", &*database),
        ("REDIS_URL", &*url),
        ("CACHE_NAMESPACE", "other"),
        ("DB_POOL_TIMEOUT", "1s"),
    ];
    let server = Server::start(&env).await;
    let client = Client::new(server.url());
    assert_eq!(client.get("/health").await.expect(200).json()["database"], "connected");
    client.get("/api/stats").await.expect(200);
    postgres.kill();
    let down = async || client.get("/health").await.status == 503;
    assert_eventually!(down().await, Duration::from_secs(10), "health says that the database is gone");
    assert_eq!(client.get("/api/stats").await.expect(200).cache(), "HIT", "what is cached is still served");
    client.get("/api/charts/trend?days=3").await.expect_problem(503);
    postgres.restart();
    assert_eventually!(
        client.get("/api/charts/trend?days=3").await.status == 200,
        Duration::from_secs(20),
        "the database is used again"
    );
    client.get("/health").await.expect(200);
}

#[tokio::test]
async fn the_pages_for_people_and_machines_are_there() {
    let stack = memory(&[]).await;
    let document = stack.anyone().get("/openapi.json").await.expect(200);
    assert_eq!(document.header("content-type"), "application/json");
    assert!(document.json()["info"]["title"].is_string());
}
