//! What the steps stand on: a real PostgreSQL that logs every statement, callers, and a Redis where one is needed.

use crate::sql::{Campaign, Lead};
use axum::Router;
use axum::body::{Body, to_bytes};
use axum::http::{Method, Request, StatusCode, header::CONTENT_TYPE};
use axum::response::{IntoResponse, Response};
use futures_util::future::join_all;
use larder::store::redis::RedisConfig;
use larder_testkit::{PostgresServer, RedisServer};
use sqlx::PgPool;
use sqlx::postgres::PgPoolOptions;
use std::time::Duration;
use tower::ServiceExt;

/// Long enough for a machine that is busy otherwise.
pub(crate) const LONG: Duration = Duration::from_secs(30);

const SCHEMA: &str = "
    CREATE TABLE campaigns (id BIGINT PRIMARY KEY, tenant TEXT NOT NULL, name TEXT NOT NULL);
    CREATE TABLE leads (campaign BIGINT NOT NULL REFERENCES campaigns, value BIGINT NOT NULL);
    INSERT INTO campaigns SELECT n, (ARRAY['acme', 'globex', 'initech'])[1 + n % 3], 'Campaign ' || n FROM generate_series(1, 30) n;
    INSERT INTO leads SELECT 1 + n % 30, n * 7919 % 1000 FROM generate_series(1, 9000) n";

pub(crate) struct World(PostgresServer);

impl World {
    pub(crate) fn start() -> Self {
        Self(PostgresServer::start())
    }

    /// A database of 9,000 leads.
    pub(crate) async fn database(&self) -> Database<'_> {
        let url = self.0.fresh_database();
        self.0.execute(&url, SCHEMA);
        let pool = PgPoolOptions::new().max_connections(10).connect(&url).await.unwrap();
        Database { server: &self.0, url, pool }
    }
}

pub(crate) struct Database<'a> {
    server: &'a PostgresServer,
    url: String,
    pub(crate) pool: PgPool,
}

impl Database<'_> {
    /// The queries that PostgreSQL has logged since this was asked last.
    pub(crate) fn queries(&self, counted: &mut usize) -> usize {
        let all =
            self.server.selects(&self.url, "from leads") + self.server.selects(&self.url, "from campaigns");
        all - std::mem::replace(counted, all)
    }

    /// Holds up whoever reads leads, until the answer is dropped.
    pub(crate) async fn hang(&self) -> sqlx::Transaction<'static, sqlx::Postgres> {
        let mut transaction = self.pool.begin().await.unwrap();
        sqlx::query("LOCK TABLE leads IN ACCESS EXCLUSIVE MODE").execute(&mut *transaction).await.unwrap();
        transaction
    }

    /// How many queries are held up.
    pub(crate) fn waiting(&self) -> usize {
        let waiting =
            "SELECT count(DISTINCT pid) FROM pg_locks WHERE NOT granted AND relation = 'leads'::regclass";
        self.server.execute(&self.url, waiting).parse().unwrap()
    }
}

/// A node as its callers see it.
#[derive(Clone)]
pub(crate) struct Node(pub(crate) Router);

impl Node {
    pub(crate) async fn ask(&self, method: Method, path: &str, body: Body) -> Response {
        let json = (CONTENT_TYPE, "application/json");
        let request = Request::builder().method(method).uri(path).header(json.0, json.1).body(body).unwrap();
        self.0.clone().oneshot(request).await.unwrap()
    }

    /// The answer to one caller.
    pub(crate) async fn get(&self, path: &str) -> (StatusCode, Vec<u8>) {
        let response = self.ask(Method::GET, path, Body::empty()).await;
        let status = response.status();
        (status, to_bytes(response.into_body(), usize::MAX).await.unwrap().to_vec())
    }

    /// So many callers at once; how many were answered, and what the last of them read.
    pub(crate) async fn crowd(&self, callers: usize, path: &str) -> (usize, Vec<Campaign>) {
        let call = |_| {
            let (node, path) = (self.clone(), path.to_owned());
            tokio::spawn(async move { node.get(&path).await })
        };
        let answers = join_all((0..callers).map(call)).await.into_iter().map(Result::unwrap);
        let good: Vec<_> = answers.filter(|(status, _)| status.is_success()).collect();
        let last = good.last().map(|(_, body)| serde_json::from_slice(body).unwrap());
        (good.len(), last.unwrap_or_default())
    }

    /// What the report says that campaign 3, of acme, has brought.
    pub(crate) async fn value(&self, path: &str) -> i64 {
        let (_, report) = self.crowd(1, path).await;
        value_in(&report)
    }

    /// Writes one lead of campaign 3, which is acme's.
    pub(crate) async fn write(&self, path: &str, value: i64) -> StatusCode {
        let lead = serde_json::to_vec(&Lead { campaign: 3, value }).unwrap();
        self.ask(Method::POST, path, lead.into()).await.status()
    }
}

pub(crate) fn value_in(report: &[Campaign]) -> i64 {
    report.iter().find(|campaign| campaign.name == "Campaign 3").map_or(0, |campaign| campaign.value)
}

/// What a busy machine must not change: how many queries there are. The defaults are 1 s, and 200 ms for an answer of Redis.
pub(crate) const LEASE: Duration = Duration::from_secs(10);

/// Redis, with more time for its answers.
pub(crate) fn patient(redis: &RedisServer) -> RedisConfig {
    let mut config = RedisConfig::new(redis.url());
    config.read_timeout = Duration::from_secs(5);
    config
}

/// `1 query`, `2 queries`.
pub(crate) fn queries(number: usize) -> String {
    match number {
        1 => "1 query".to_owned(),
        1_000.. => format!("{},{:03} queries", number / 1_000, number % 1_000),
        _ => format!("{number} queries"),
    }
}

/// What a caller is told where the report could not be made.
pub(crate) struct Failed(Box<dyn std::error::Error + Send + Sync>);

impl<E: Into<Box<dyn std::error::Error + Send + Sync>>> From<E> for Failed {
    fn from(error: E) -> Self {
        Self(error.into())
    }
}

impl IntoResponse for Failed {
    fn into_response(self) -> Response {
        (StatusCode::BAD_GATEWAY, self.0.to_string()).into_response()
    }
}
