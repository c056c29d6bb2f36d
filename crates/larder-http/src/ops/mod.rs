//! The cache operations: health, statistics, keys, clearing and metrics, for any application that has a cache.
//!
//! | route | who |
//! | --- | --- |
//! | `GET /health`, `/health/live`, `/health/ready`, `/health/cache` | anyone |
//! | `GET /api/cache/stats` | anyone: totals; signed in: their tenant; admin: all |
//! | `GET /api/cache/overview`, `/api/cache/live` | signed in: their tenant; admin: all; anyone on this machine in development: the node |
//! | `GET /api/v1/cache/metrics`, `/api/cache/keys`, `/api/cache/keys/{key}` | admin |
//! | `POST /api/cache/invalidate` | owner: their tenant; ingest: shared entries; admin: any tenant |
//! | `POST /api/cache/clear` | owner: their tenant; ingest: shared entries; admin: all |
//! | `GET /metrics` | this machine, or the bearer of a token |
//!
//! What they can't know of the application (who somebody is, how the database is) they ask through [`Authenticate`] and
//! [`Database`].

mod clear;
mod endpoints;
mod gate;
mod health;
mod invalidate;
mod keys;
mod metrics;
mod numbers;
mod overview;
mod pattern;
mod process;
mod redis;
mod stats;

use std::fmt;
use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::AtomicBool;
use std::time::{Duration, Instant};

use axum::Router;
use axum::middleware::map_response;
use axum::response::Response;
use axum::routing::get;
use http::HeaderValue;
use http::header::CACHE_CONTROL;
use larder::Cache;
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;

use crate::who::Authenticate;

pub use endpoints::Endpoints;
pub use gate::is_loopback;
pub use metrics::Requests;
use overview::Overviews;

/// What the operations routes need.
#[derive(Clone)]
pub struct Operations {
    /// The cache.
    pub cache: Cache,
    /// Tells who is asking.
    pub who: Arc<dyn Authenticate>,
    /// The application's database, if it has one.
    pub database: Option<Arc<dyn Database>>,
    /// The endpoints that statistics are told by.
    pub endpoints: Endpoints,
    /// Counts requests; to be laid around the routes by [`Requests::count`].
    pub requests: Requests,
    /// Open connections at this moment by kind: `http`, `websocket`.
    pub connections: Arc<dyn Fn() -> Vec<(&'static str, u64)> + Send + Sync>,
    /// Numbers of the application's own, for `/metrics`.
    pub measures: Arc<dyn Fn() -> Vec<Measure> + Send + Sync>,
    /// Anyone on this machine sees the overview of the node: in development.
    pub open_on_loopback: bool,
    /// A bearer that may read `/metrics` from anywhere.
    pub metrics_token: Option<String>,
    /// The version of the program.
    pub version: &'static str,
    /// Whether this process is about to end, though it still serves: balancers should send nobody here any more.
    pub stopping: Arc<AtomicBool>,
}

impl fmt::Debug for Operations {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Operations").field("version", &self.version).finish_non_exhaustive()
    }
}

/// A metric of the application's own.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Measure {
    /// Its name, of which `/metrics` has no other.
    pub name: &'static str,
    /// What it counts.
    pub help: &'static str,
    /// The label by which it is told apart, if it is; its values have to be a fixed set.
    pub label: Option<&'static str>,
    /// The label's value, or nothing, and the number since the start.
    pub counts: Vec<(String, u64)>,
}

/// An application's database, as far as operators ask.
pub trait Database: Send + Sync + 'static {
    /// Whether it answers. Not asked again while it is being asked; given up on after two seconds.
    fn is_connected(&self) -> Pin<Box<dyn Future<Output = bool> + Send + '_>>;

    /// How its connections are used at this moment.
    fn pool(&self) -> PoolUse;

    /// Statements that it was asked to run since this process started: what a cache saves. Those that begin or end a
    /// transaction or keep a connection alive are none.
    fn statements(&self) -> u64;

    /// What waits in its outbox, if it has one.
    fn outbox(&self) -> Option<OutboxUse> {
        None
    }
}

/// What waits in an outbox, and what this process did for it.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct OutboxUse {
    /// Whether this process relays.
    pub relays: bool,
    /// Rows that wait.
    pub waiting: u64,
    /// How long the oldest has waited.
    pub lag: Duration,
    /// Rows that were set aside.
    pub dead: u64,
    /// Tenants whose rows wait for Redis.
    pub stalled: u64,
    /// Rows that this process relayed.
    pub relayed: u64,
    /// Events that this process published past the relay.
    pub direct: u64,
    /// Times that the database failed the relay.
    pub failures: u64,
}

/// How the connections to a database are used at this moment.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct PoolUse {
    /// Open connections.
    pub open: u32,
    /// Those that wait for work.
    pub idle: u32,
    /// How many there may be.
    pub max: u32,
    /// Statements and transactions that wait for one.
    pub waiting: u64,
    /// Those since the start that waited in vain.
    pub timeouts: u64,
}

/// What the handlers share.
#[derive(Clone)]
struct Ops(Arc<Shared>);

struct Shared {
    operations: Operations,
    probe: health::Probe,
    redis: redis::Probe,
    saved: metrics::Saved,
    overviews: Overviews,
    started: Instant,
}

impl Shared {
    fn new(operations: Operations) -> Self {
        Self {
            operations,
            probe: health::Probe::default(),
            redis: redis::Probe::default(),
            saved: metrics::Saved::default(),
            overviews: Overviews::default(),
            started: Instant::now(),
        }
    }
}

impl std::ops::Deref for Ops {
    type Target = Shared;

    fn deref(&self) -> &Shared {
        &self.0
    }
}

impl std::ops::Deref for Shared {
    type Target = Operations;

    fn deref(&self) -> &Operations {
        &self.operations
    }
}

/// The paths of the streams, as they are routed: for who counts requests by route.
pub const STREAMS: [&str; 1] = ["/api/cache/live"];

/// The routes of the operations.
pub struct Routes {
    /// Ordinary requests, each with its description.
    pub requests: OpenApiRouter,
    /// Routes whose responses stay open.
    pub streams: Router,
    /// Ends those responses.
    pub ending: Ending,
}

impl fmt::Debug for Routes {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Routes").finish_non_exhaustive()
    }
}

/// Ends the streams, so that a server can end.
#[derive(Clone)]
pub struct Ending(Ops);

impl fmt::Debug for Ending {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Ending").finish()
    }
}

impl Ending {
    /// Ends those that are open, and those that are opened later after their first event.
    pub fn end(&self) {
        self.0.overviews.end();
    }
}

/// The routes.
pub fn routes(operations: Operations) -> Routes {
    let ops = Ops(Arc::new(Shared::new(operations)));
    let streams = Router::new().route(STREAMS[0], get(overview::live)).with_state(ops.clone());
    Routes { requests: requests(ops.clone()), streams, ending: Ending(ops) }
}

fn requests(ops: Ops) -> OpenApiRouter {
    let private = OpenApiRouter::new()
        .routes(routes!(stats::stats))
        .routes(routes!(stats::metrics))
        .routes(routes!(overview::overview))
        .routes(routes!(keys::list))
        .routes(routes!(keys::show))
        .routes(routes!(clear::clear))
        .routes(routes!(invalidate::invalidate))
        .layer(map_response(private));
    OpenApiRouter::new()
        .routes(routes!(health::health))
        .routes(routes!(health::live))
        .routes(routes!(health::ready))
        .routes(routes!(health::cache))
        .routes(routes!(metrics::scrape))
        .merge(private)
        .with_state(ops)
}

/// What depends on who asks is kept by no shared cache.
async fn private(mut response: Response) -> Response {
    let private = HeaderValue::from_static("private, no-store");
    response.headers_mut().entry(CACHE_CONTROL).or_insert(private);
    response
}
