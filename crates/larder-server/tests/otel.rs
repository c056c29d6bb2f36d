//! Traces, as a collector gets them: `larder serve` as a process, and a receiver of OTLP over HTTP.
#![allow(clippy::unwrap_used, reason = "a test fails where it cannot go on")]
#![allow(dead_code, reason = "the modules are shared with the other tests of the program")]

#[path = "outside/client.rs"]
mod client;
#[path = "outside/server.rs"]
mod server;

use std::sync::{Arc, Mutex};
use std::time::Duration;

use axum::Router;
use axum::body::Bytes;
use axum::extract::State;
use axum::routing::post;
use client::{Body, Client};
use larder_testkit::{RedisServer, assert_eventually, free_port};
use opentelemetry_proto::tonic::collector::trace::v1::ExportTraceServiceRequest;
use opentelemetry_proto::tonic::common::v1::any_value::Value;
use opentelemetry_proto::tonic::trace::v1::Span;
use prost::Message;
use server::Server;

const PATIENCE: Duration = Duration::from_secs(60);
const TRACE: &str = "0af7651916cd43dd8448eb211c80319c";
const PARENT: &str = "b7ad6b7169203331";

/// What has come, with the name of the service that sent it.
#[derive(Clone, Default)]
struct Collector(Arc<Mutex<Vec<(String, Span)>>>);

impl Collector {
    async fn start() -> (Self, String) {
        let collector = Self::default();
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let url = format!("http://{}", listener.local_addr().unwrap());
        let routes = Router::new().route("/v1/traces", post(receive)).with_state(collector.clone());
        tokio::spawn(async move { axum::serve(listener, routes).await });
        (collector, url)
    }

    /// The spans of one trace.
    fn of(&self, trace: &str) -> Vec<Span> {
        let all = self.0.lock().unwrap();
        all.iter().filter(|(_, span)| hex(&span.trace_id) == trace).map(|(_, span)| span.clone()).collect()
    }

    fn service(&self) -> String {
        self.0.lock().unwrap()[0].0.clone()
    }
}

async fn receive(State(collector): State<Collector>, body: Bytes) {
    let request = ExportTraceServiceRequest::decode(body).unwrap();
    for resource in request.resource_spans {
        let attributes = resource.resource.unwrap().attributes;
        let service = attributes.into_iter().find(|one| one.key == "service.name").unwrap().value.unwrap();
        let Some(Value::StringValue(service)) = service.value else { panic!("{service:?}") };
        let spans = resource.scope_spans.into_iter().flat_map(|scope| scope.spans);
        collector.0.lock().unwrap().extend(spans.map(|span| (service.clone(), span)));
    }
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

fn named<'a>(spans: &'a [Span], name: &str) -> Vec<&'a Span> {
    spans.iter().filter(|span| span.name == name).collect()
}

/// A request that is a part of the trace with this last digit.
async fn ask(client: &Client, method: &str, path: &str, digit: char) -> (String, u16) {
    let trace = format!("{}{digit}", &TRACE[..31]);
    let parent = format!("00-{trace}-{PARENT}-01");
    let answer = client.send_with(method, path, &Body::Nothing, &[("traceparent", &parent)]).await;
    (trace, answer.status)
}

fn env<'a>(redis: &'a str, collector: &'a str) -> [(&'a str, &'a str); 4] {
    [
        ("REDIS_URL", redis),
        ("OTEL_EXPORTER_OTLP_ENDPOINT", collector),
        ("OTEL_SERVICE_NAME", "shop"),
        // Sent at once.
        ("OTEL_BSP_SCHEDULE_DELAY", "50"),
    ]
}

#[tokio::test(flavor = "multi_thread")]
async fn a_load_and_each_call_of_redis_has_a_span_and_a_hit_in_memory_has_none() {
    let (collector, url) = Collector::start().await;
    let redis = RedisServer::start();
    let server = Server::start(&env(&redis.url(), &url)).await;
    let acme = Client::new(server.url()).sign_in("owner@acme.test").await;
    let (loaded, status) = ask(&acme, "GET", "/api/v1/campaigns", '1').await;
    assert_eq!(status, 200);
    for digit in "23456".chars() {
        ask(&acme, "GET", "/api/v1/campaigns", digit).await;
    }
    // Another server finds it in Redis.
    let beside = Server::start_in(server.dir(), &env(&redis.url(), &url)).await;
    let other = acme.at(beside.url());
    let token = Client::new(beside.url()).sign_in("owner@acme.test").await.token;
    let (found, _) = ask(&other.with_token(token.unwrap()), "GET", "/api/v1/campaigns", '7').await;

    let request = |trace: &str| named(&collector.of(trace), "request").len();
    let traces: Vec<String> = "1234567".chars().map(|digit| format!("{}{digit}", &TRACE[..31])).collect();
    assert_eventually!(traces.iter().all(|trace| request(trace) == 1), PATIENCE, "each request has a span");
    let calls = ["redis read", "redis lease", "redis fill"];
    let first = || collector.of(&loaded);
    assert_eventually!(calls.iter().all(|call| named(&first(), call).len() == 1), PATIENCE, "{:?}", first());

    let spans = first();
    let of_request = named(&spans, "request")[0];
    assert_eq!(hex(&of_request.parent_span_id), PARENT, "W3C Trace Context is taken up");
    assert_eq!(named(&spans, "cache load").len(), 1, "{spans:?}");
    for name in calls.into_iter().chain(["cache load"]) {
        assert_eq!(
            named(&spans, name)[0].parent_span_id,
            of_request.span_id,
            "{name} is a part of the request"
        );
    }
    assert_eq!(spans.len(), 5, "{spans:?}");
    let status = of_request.attributes.iter().find(|one| one.key == "http.response.status_code").unwrap();
    assert_eq!(status.value.as_ref().unwrap().value, Some(Value::IntValue(200)));
    for hit in &traces[1..6] {
        let spans = collector.of(hit);
        assert_eq!(spans.len(), 1, "a hit in memory is in no span but the request's: {spans:?}");
    }
    let spans = collector.of(&found);
    assert_eq!((spans.len(), named(&spans, "redis read").len()), (2, 1), "{spans:?}");
    assert_eq!(collector.service(), "shop");
}

#[tokio::test(flavor = "multi_thread")]
async fn the_last_spans_are_sent_at_the_end_and_an_invalidation_is_in_its_request() {
    let (collector, url) = Collector::start().await;
    let redis = RedisServer::start();
    let address = redis.url();
    let mut env = env(&address, &url).to_vec();
    env[3] = ("OTEL_BSP_SCHEDULE_DELAY", "3600000");
    let server = Server::start(&env).await;
    let admin = Client::new(server.url()).sign_in("admin@larder.test").await;
    let (trace, status) = ask(&admin, "POST", "/api/cache/clear", '8').await;
    assert_eq!(status, 200);
    assert!(collector.of(&trace).is_empty(), "they wait in a queue");
    let ended = tokio::task::spawn_blocking(move || server.stop()).await.unwrap();
    assert!(ended.success());
    let spans = collector.of(&trace);
    assert_eq!(named(&spans, "redis invalidate").len(), 1, "{spans:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_not_sampled_is_not_sent() {
    let (collector, url) = Collector::start().await;
    let redis = RedisServer::start();
    let address = redis.url();
    let mut env = env(&address, &url).to_vec();
    env.push(("OTEL_TRACES_SAMPLER", "always_off"));
    let server = Server::start(&env).await;
    let acme = Client::new(server.url()).sign_in("owner@acme.test").await;
    ask(&acme, "GET", "/api/v1/campaigns", '1').await;
    assert!(tokio::task::spawn_blocking(move || server.stop()).await.unwrap().success());
    assert!(collector.0.lock().unwrap().is_empty());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_collector_that_is_not_there_holds_up_neither_requests_nor_the_end() {
    let nowhere = format!("http://127.0.0.1:{}", free_port());
    // One that accepts and never answers.
    let silent = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let mute = format!("http://{}", silent.local_addr().unwrap());
    for collector in [nowhere, mute] {
        // A queue that is full after the first few.
        let small = [("OTEL_BSP_MAX_QUEUE_SIZE", "4"), ("OTEL_BSP_MAX_EXPORT_BATCH_SIZE", "4")];
        let endpoint =
            [("OTEL_EXPORTER_OTLP_ENDPOINT", collector.as_str()), ("OTEL_BSP_SCHEDULE_DELAY", "10")];
        let server = Server::start(&[small, endpoint].concat()).await;
        let acme = Client::new(server.url()).sign_in("owner@acme.test").await;
        for _ in 0..200 {
            acme.get("/api/v1/campaigns").await.expect(200);
        }
        // It waits for its end no longer than `Server::stop` does.
        assert!(tokio::task::spawn_blocking(move || server.stop()).await.unwrap().success());
    }
}
