//! A server with the operations routes, whose database and users the test decides on.

use std::convert::Infallible;
use std::future::Future;
use std::net::IpAddr;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering::SeqCst};

use axum::Router;
use axum::body::Body;
use axum::routing::get;
use http::{HeaderMap, Request};
use http_body_util::BodyExt;
use larder::{Cache, Key, Policy, Tenant, key};
use larder_http::ops::{
    self, Database, Ending, Endpoints, Measure, Operations, OutboxUse, PoolUse, Requests,
};
use larder_http::{Authenticate, ClientAddr, Identity, Problem};
use serde_json::Value;
use std::time::Duration;
use tower::ServiceExt;

/// A token is `role@tenant`.
struct Names;

impl Authenticate for Names {
    fn identify(&self, headers: &HeaderMap) -> Result<Option<Identity>, Problem> {
        let Some(header) = headers.get("authorization") else { return Ok(None) };
        let token = header.to_str().unwrap().strip_prefix("Bearer ").unwrap();
        let (role, tenant) = token.split_once('@').ok_or_else(Problem::unauthorized)?;
        let role = role.parse().map_err(|_| Problem::unauthorized())?;
        Ok(Some(Identity { tenant: tenant.to_owned(), user: "u".to_owned(), role }))
    }
}

/// A database that answers or not, and counts how often it was asked.
#[derive(Default)]
pub(crate) struct Rows {
    pub(crate) gone: AtomicBool,
    pub(crate) asked: AtomicU64,
}

impl Database for Rows {
    fn is_connected(&self) -> Pin<Box<dyn Future<Output = bool> + Send + '_>> {
        Box::pin(async {
            self.asked.fetch_add(1, SeqCst);
            tokio::task::yield_now().await;
            !self.gone.load(SeqCst)
        })
    }

    fn pool(&self) -> PoolUse {
        PoolUse { open: 5, idle: 3, max: 60, waiting: 4, timeouts: 2 }
    }

    fn statements(&self) -> u64 {
        17
    }

    fn outbox(&self) -> Option<OutboxUse> {
        let lag = std::time::Duration::from_millis(1_500);
        let (waiting, dead, stalled, relayed, direct, failures) = (3, 1, 2, 40, 50, 4);
        Some(OutboxUse { relays: true, waiting, lag, dead, stalled, relayed, direct, failures })
    }
}

pub(crate) struct Server {
    pub(crate) cache: Cache,
    pub(crate) rows: Arc<Rows>,
    pub(crate) ending: Ending,
    routes: Router,
}

pub(crate) struct Reply {
    pub(crate) status: u16,
    pub(crate) headers: HeaderMap,
    pub(crate) text: String,
}

impl Reply {
    pub(crate) fn json(&self) -> Value {
        serde_json::from_str(&self.text).unwrap()
    }
}

impl Server {
    pub(crate) async fn start() -> Self {
        Self::over(Cache::builder("test").build().await.unwrap())
    }

    pub(crate) fn over(cache: Cache) -> Self {
        let (rows, requests) = (Arc::new(Rows::default()), Requests::default());
        let operations = Operations {
            cache: cache.clone(),
            who: Arc::new(Names),
            database: Some(Arc::clone(&rows) as Arc<dyn Database>),
            endpoints: Endpoints::new(["campaigns", "leads", "stats"]).also("campaign", "campaigns"),
            requests: requests.clone(),
            connections: Arc::new(|| vec![("http", 7)]),
            measures: Arc::new(|| {
                let counts = vec![("4000".to_owned(), 3), ("4003".to_owned(), 0)];
                vec![Measure {
                    name: "larder_test_closes_total",
                    help: "Closes",
                    label: Some("code"),
                    counts,
                }]
            }),
            open_on_loopback: true,
            metrics_token: Some("scrape-me".to_owned()),
            version: "1.2.3",
            stopping: Arc::default(),
        };
        let ops::Routes { requests: ordinary, streams, ending } = ops::routes(operations);
        let (routes, described) = ordinary.split_for_parts();
        let hit = || async { ([("x-cache", "HIT")], "hit") };
        let routes =
            routes.route("/things/{id}", get(|| async { "thing" })).route("/hit", get(hit)).merge(streams);
        let paths = described.paths.paths.into_keys().chain(["/things/{id}".to_owned()]);
        Self { cache, rows, ending, routes: requests.count(routes, paths) }
    }

    pub(crate) async fn send(&self, request: Request<Body>) -> Reply {
        let (head, body) = self.routes.clone().oneshot(request).await.unwrap().into_parts();
        let text = String::from_utf8(body.collect().await.unwrap().to_bytes().to_vec()).unwrap();
        Reply { status: head.status.as_u16(), headers: head.headers, text }
    }

    /// The status of a request that stays open, and its body.
    pub(crate) async fn open(&self, request: Request<Body>) -> (u16, Events) {
        let (head, body) = self.routes.clone().oneshot(request).await.unwrap().into_parts();
        (head.status.as_u16(), Events(body))
    }

    pub(crate) async fn get(&self, token: &str, path: &str) -> Reply {
        self.send(request("GET", token, path).body(Body::empty()).unwrap()).await
    }

    pub(crate) async fn post(&self, token: &str, path: &str) -> Reply {
        self.post_with(token, path, "").await
    }

    pub(crate) async fn post_with(&self, token: &str, path: &str, body: &'static str) -> Reply {
        self.send(request("POST", token, path).body(Body::from(body)).unwrap()).await
    }

    /// What Prometheus reads on this machine.
    pub(crate) async fn scrape(&self) -> String {
        let reply = self.send(here(request("GET", "", "/metrics")).body(Body::empty()).unwrap()).await;
        assert_eq!(reply.status, 200, "{}", reply.text);
        reply.text
    }
}

/// An event stream that is being read.
pub(crate) struct Events(Body);

impl Events {
    /// The next event's data; `None` at the end.
    pub(crate) async fn next(&mut self) -> Option<Value> {
        let text = self.0.frame().await?.unwrap().into_data().unwrap();
        let text = String::from_utf8(text.to_vec()).unwrap();
        let data = text.strip_prefix("event: overview\ndata: ").unwrap().strip_suffix("\n\n").unwrap();
        assert!(!data.contains('\n'));
        Some(serde_json::from_str(data).unwrap())
    }
}

/// From this machine.
pub(crate) fn here(request: http::request::Builder) -> http::request::Builder {
    request.header("host", "localhost:8000").extension(ClientAddr(IpAddr::from([127, 0, 0, 1])))
}

pub(crate) fn request(method: &str, token: &str, path: &str) -> http::request::Builder {
    let builder = Request::builder().method(method).uri(path);
    if token.is_empty() { builder } else { builder.header("authorization", format!("Bearer {token}")) }
}

/// Ten keys each at four endpoints, one of them unknown, and one hit: more pairs of tenant and endpoint than are counted
/// apart.
pub(crate) async fn ten_thousand_tenants(cache: &Cache) {
    let endpoints = ["campaigns", "leads", "stats", "made-up"];
    let policy = Policy::ttl(Duration::from_secs(3600));
    let load =
        |keys: Vec<Key>| async { Ok::<_, Infallible>(keys.into_iter().map(|key| (key, 7_u64)).collect()) };
    for tenant in 0..10_000 {
        let tenant = cache.tenant(format!("tenant-of-some-name-{tenant}"));
        let keys = (0..10).map(|id| key!(endpoints[id % endpoints.len()], id)).collect();
        tenant.get_or_load_many(keys, &policy, load).await.unwrap();
        read(&tenant, key!("leads", 1)).await;
    }
}

/// Reads through the cache, as a route would.
pub(crate) async fn read(tenant: &Tenant, key: Key) {
    let policy = Policy::ttl(Duration::from_secs(60)).tag("t").jitter(0.0);
    tenant.get_or_load(key, &policy, || async { Ok::<_, std::io::Error>(7_u64) }).await.unwrap();
}
