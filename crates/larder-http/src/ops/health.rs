//! Whether the server, its database and its cache are well.

use std::sync::atomic::Ordering;
use std::time::{Duration, Instant};

use axum::Json;
use axum::extract::State;
use axum::response::{IntoResponse, Response};
use http::StatusCode;
use larder::{Cache, RedisState};
use serde::Serialize;
use tokio::sync::Mutex;
use utoipa::ToSchema;

use super::numbers::percent;
use super::{Database, Ops};

/// A database that says nothing for so long is not connected.
const PATIENCE: Duration = Duration::from_secs(2);

/// Asks the database, for one at a time: anyone may want to know, without a limit.
#[derive(Default)]
pub(super) struct Probe(Mutex<Option<(Instant, bool)>>);

impl Probe {
    /// An answer that was asked for after this call began; those who come while it is asked for share the next one.
    async fn is_connected(&self, database: &dyn Database) -> bool {
        let came = Instant::now();
        let mut last = self.0.lock().await;
        if let Some((asked, connected)) = *last
            && asked > came
        {
            return connected;
        }
        let asked = Instant::now();
        let connected = tokio::time::timeout(PATIENCE, database.is_connected()).await.unwrap_or(false);
        *last = Some((asked, connected));
        connected
    }
}

/// How the database is.
#[derive(Clone, Copy, PartialEq, Eq, Serialize, ToSchema)]
#[serde(rename_all = "lowercase")]
enum DatabaseState {
    /// It answers.
    Connected,
    /// It does not.
    Unavailable,
    /// There is none.
    None,
}

/// How Redis is.
#[derive(Clone, Copy, PartialEq, Eq, Serialize, ToSchema)]
#[serde(rename_all = "lowercase")]
enum RedisCache {
    /// In use.
    Connected,
    /// None is configured.
    Disabled,
    /// Out of reach; requests go on without it.
    Unavailable,
    /// It lacks something that is needed.
    Unsupported,
}

impl RedisCache {
    fn of(cache: &Cache) -> Self {
        match cache.redis_state() {
            RedisState::Disabled => Self::Disabled,
            RedisState::Connected { .. } => Self::Connected,
            RedisState::Unsupported { .. } => Self::Unsupported,
            _ => Self::Unavailable,
        }
    }
}

/// How the server is.
#[derive(Clone, Copy, PartialEq, Eq, Serialize, ToSchema)]
#[serde(rename_all = "lowercase")]
enum ServerStatus {
    /// Well.
    Ok,
    /// Requests are served, but something is missing.
    Degraded,
    /// Requests can't be served.
    Down,
}

/// How the server is.
#[derive(Serialize, ToSchema)]
pub(super) struct Health {
    status: ServerStatus,
    /// The version of the program.
    version: &'static str,
    /// Whole seconds since it started.
    uptime_s: u64,
    database: DatabaseState,
    redis_cache: RedisCache,
}

impl Ops {
    async fn database_state(&self) -> DatabaseState {
        match &self.database {
            None => DatabaseState::None,
            Some(database) if self.probe.is_connected(database.as_ref()).await => DatabaseState::Connected,
            Some(_) => DatabaseState::Unavailable,
        }
    }
}

/// Tells whether the server, its database and its Redis are well.
#[utoipa::path(
    get, path = "/health", tag = "operations", operation_id = "health",
    responses(
        (status = 200, description = "Requests are served", body = Health),
        (status = 503, description = "Requests can't be served", body = Health),
    )
)]
pub(super) async fn health(State(ops): State<Ops>) -> Response {
    let (database, redis_cache) = (ops.database_state().await, RedisCache::of(&ops.cache));
    let status = match (database, redis_cache) {
        (DatabaseState::Unavailable, _) => ServerStatus::Down,
        (_, RedisCache::Unavailable | RedisCache::Unsupported) => ServerStatus::Degraded,
        _ => ServerStatus::Ok,
    };
    let uptime_s = ops.started.elapsed().as_secs();
    let health = Health { status, version: ops.version, uptime_s, database, redis_cache };
    (code(status), Json(health)).into_response()
}

fn code(status: ServerStatus) -> StatusCode {
    if status == ServerStatus::Down { StatusCode::SERVICE_UNAVAILABLE } else { StatusCode::OK }
}

/// Whether to restart it, or to send requests to it.
#[derive(Serialize, ToSchema)]
pub(super) struct Alive {
    status: ServerStatus,
}

/// Tells that the process answers: an orchestrator restarts it where it doesn't.
#[utoipa::path(
    get, path = "/health/live", tag = "operations", operation_id = "health_live",
    responses((status = 200, description = "The process answers", body = Alive))
)]
pub(super) async fn live() -> Json<Alive> {
    Json(Alive { status: ServerStatus::Ok })
}

/// Tells whether requests should be sent here.
#[utoipa::path(
    get, path = "/health/ready", tag = "operations", operation_id = "health_ready",
    responses(
        (status = 200, description = "Requests are served", body = Alive),
        (status = 503, description = "Requests can't be served, or soon can't: the server stops", body = Alive),
    )
)]
pub(super) async fn ready(State(ops): State<Ops>) -> Response {
    let stopping = ops.stopping.load(Ordering::Relaxed);
    let down = stopping || ops.database_state().await == DatabaseState::Unavailable;
    let status = if down { ServerStatus::Down } else { ServerStatus::Ok };
    (code(status), Json(Alive { status })).into_response()
}

/// How the cache is.
#[derive(Clone, Copy, PartialEq, Eq, Serialize, ToSchema)]
#[serde(rename_all = "lowercase")]
pub(super) enum CacheStatus {
    /// Well.
    Healthy,
    /// It goes on without its Redis.
    Degraded,
    /// Switched off.
    Disabled,
}

impl CacheStatus {
    pub(super) fn of(cache: &Cache) -> Self {
        match (cache.is_enabled(), RedisCache::of(cache)) {
            (false, _) => Self::Disabled,
            (true, RedisCache::Connected | RedisCache::Disabled) => Self::Healthy,
            (true, RedisCache::Unavailable | RedisCache::Unsupported) => Self::Degraded,
        }
    }
}

/// Where values are that this process has not itself.
#[derive(Clone, Copy, PartialEq, Eq, Serialize, ToSchema)]
#[serde(rename_all = "lowercase")]
pub(super) enum Backend {
    /// In Redis.
    Redis,
    /// Nowhere: only this process's memory is used.
    Memory,
}

/// How the cache is.
#[derive(Serialize, ToSchema)]
pub(super) struct CacheHealth {
    status: CacheStatus,
    backend: Backend,
    /// A round trip to the backend, measured for this answer.
    #[schema(minimum = 0)]
    latency_ms: f64,
    stats: CacheHealthStats,
}

/// What the cache did since the start.
#[derive(Serialize, ToSchema)]
struct CacheHealthStats {
    /// Lookups answered from a tier.
    hits: u64,
    /// Lookups that were not.
    misses: u64,
    /// Hits by lookups.
    #[schema(minimum = 0, maximum = 100)]
    hit_rate_percent: f64,
    /// Whether Redis is configured and answers.
    redis_available: bool,
    /// Entries in this process's memory.
    memory_cache_size: u64,
}

/// Measures the cache and tells whether it is well.
#[utoipa::path(
    get, path = "/health/cache", tag = "operations", operation_id = "health_cache",
    responses((status = 200, description = "The cache, measured now", body = CacheHealth))
)]
pub(super) async fn cache(State(ops): State<Ops>) -> Json<CacheHealth> {
    let (began, ping) = (Instant::now(), ops.cache.ping().await);
    let latency = ping.as_ref().map_or_else(|_| began.elapsed(), Clone::clone);
    let redis_available = ping.is_ok() && RedisCache::of(&ops.cache) == RedisCache::Connected;
    let status = match CacheStatus::of(&ops.cache) {
        CacheStatus::Healthy if ping.is_err() => CacheStatus::Degraded,
        status => status,
    };
    let stats = ops.cache.stats();
    Json(CacheHealth {
        status,
        backend: if redis_available { Backend::Redis } else { Backend::Memory },
        latency_ms: (latency.as_secs_f64() * 1e6).round() / 1e3,
        stats: CacheHealthStats {
            hits: stats.total.hits(),
            misses: stats.total.misses,
            hit_rate_percent: percent(stats.total.hit_rate()),
            redis_available,
            memory_cache_size: stats.entries,
        },
    })
}
