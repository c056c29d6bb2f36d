//! Browsers are told.

use crate::sql::{Lead, Report, insert_lead, top_campaigns};
use crate::world::{Failed, LEASE, Node, World, patient, queries};
use axum::body::{Body, BodyDataStream};
use axum::extract::{Path, State};
use axum::http::{Request, StatusCode, header::AUTHORIZATION};
use axum::{Json, Router, routing::get};
use futures_util::StreamExt;
use futures_util::future::join_all;
use larder::store::redis::RedisConfig;
use larder::{Cache, ErrorKind, Event, Policy, key, tag};
use larder_live::{Claims, Live, TokenError};
use larder_testkit::RedisServer;
use sqlx::PgPool;
use std::sync::{Arc, LazyLock};
use std::time::Duration;
use tower::ServiceExt;

static TOP: LazyLock<Policy> = LazyLock::new(|| Policy::ttl(Duration::from_secs(3600)).tag("leads"));

#[derive(Clone)]
struct App {
    database: PgPool,
    cache: Cache,
}

async fn top(State(app): State<App>, Path(name): Path<String>) -> Result<Json<Arc<Report>>, Failed> {
    let tenant = app.cache.tenant(&name);
    let load = move || async move { top_campaigns(&app.database, &name).await };
    Ok(Json(tenant.get_or_load(key!("top"), &*TOP, load).await?))
}

async fn add_lead(
    State(app): State<App>,
    Path(name): Path<String>,
    Json(lead): Json<Lead>,
) -> Result<StatusCode, Failed> {
    insert_lead(&app.database, &lead).await?;
    let event = Event::new("lead.added").id(lead.campaign.to_string()).invalidates([tag("leads")]);
    match app.cache.tenant(&name).publish(event).await {
        Ok(_) => Ok(StatusCode::CREATED),
        Err(error) if error.kind() == ErrorKind::Deferred => Ok(StatusCode::CREATED),
        Err(error) => Err(error.into()),
    }
}

/// What all servers know and nobody else. Yours comes from where your secrets are.
const NODES_KNOW: &str = "an example's secret";

/// Whose token it is: "acme/user-1" here. Yours are signed.
fn verify(token: &str) -> Result<Claims, TokenError> {
    let (tenant, user) = token.split_once('/').ok_or(TokenError::Invalid)?;
    Ok(Claims::new(tenant, user, 4_102_444_800))
}

async fn app(database: PgPool, redis: RedisConfig) -> Result<Router, Failed> {
    let cache = Cache::builder("guide").redis(redis).coherence_lease(LEASE).build().await?;
    cache.ready().await;
    let live = Live::builder(cache.clone(), verify).secret(NODES_KNOW).build()?;
    let app =
        Router::new().route("/{tenant}/top", get(top).post(add_lead)).with_state(App { database, cache });
    Ok(app.merge(live.requests()).merge(live.streams()))
}

/// A page that is open: it has an event stream, and reads the report again when it is told to.
struct Page {
    node: Node,
    stream: BodyDataStream,
    heard: String,
}

impl Page {
    async fn open(node: &Node, user: usize) -> Self {
        let request =
            Request::get("/sse/notifications/acme").header(AUTHORIZATION, format!("Bearer acme/user-{user}"));
        let response = node.0.clone().oneshot(request.body(Body::empty()).unwrap()).await.unwrap();
        assert_eq!(response.status(), StatusCode::OK);
        let stream = response.into_body().into_data_stream();
        let mut page = Self { node: node.clone(), stream, heard: String::new() };
        page.hears("synced").await;
        page
    }

    /// Waits until the stream has brought this.
    async fn hears(&mut self, what: &str) {
        while !self.heard.contains(what) {
            let chunk = self.stream.next().await.unwrap_or_else(|| panic!("ended: {}", self.heard)).unwrap();
            self.heard.push_str(std::str::from_utf8(&chunk).unwrap());
        }
    }

    /// What the page shows after the next event.
    async fn shows_next(&mut self) -> i64 {
        self.hears("lead.added").await;
        self.node.value("/acme/top").await
    }
}

pub(crate) async fn run(world: &World) -> Vec<String> {
    let (database, mut counted) = (world.database().await, 0);
    let redis = RedisServer::start();
    let node = async || {
        Node(app(database.pool.clone(), patient(&redis)).await.unwrap_or_else(|_| panic!("no node")))
    };
    let nodes = [node().await, node().await];
    let mut pages = join_all((0..50).map(|user| Page::open(&nodes[user % 2], user))).await;
    let value = nodes[0].value("/acme/top").await;
    database.queries(&mut counted);
    assert_eq!(nodes[0].write("/acme/top", 1_000_000).await, StatusCode::CREATED);
    let shown = join_all(pages.iter_mut().map(Page::shows_next)).await;
    assert_eq!(shown, [value + 1_000_000; 50]);
    let asked = queries(database.queries(&mut counted));
    vec![format!(
        "a write, 50 open pages on two nodes: {asked}, and all 50 show the write without being reloaded"
    )]
}
