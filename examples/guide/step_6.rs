//! Redis, and a second node.

use crate::sql::{Lead, Report, insert_lead, top_campaigns};
use crate::world::{Failed, LEASE, Node, World, patient, queries};
use axum::extract::{Path, State};
use axum::{Json, Router, http::StatusCode, routing::get};
use larder::store::redis::RedisConfig;
use larder::{Cache, Policy, key, tag};
use larder_testkit::RedisServer;
use sqlx::PgPool;
use std::sync::{Arc, LazyLock};
use std::time::Duration;

static TOP: LazyLock<Policy> = LazyLock::new(|| Policy::ttl(Duration::from_secs(3600)).tag("leads"));

#[derive(Clone)]
struct App {
    database: PgPool,
    cache: Cache,
}

async fn app(database: PgPool, redis: RedisConfig) -> Result<Router, larder::Error> {
    let builder = Cache::builder("guide").redis(redis); // or the URL: this is all that is new
    let cache = builder.coherence_lease(LEASE).build().await?;
    cache.ready().await;
    let app = App { database, cache };
    Ok(Router::new().route("/{tenant}/top", get(top).post(add_lead)).with_state(app))
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
    // `.acked()`: returns when no node serves the old report any more. Without it others follow within a millisecond as a rule.
    app.cache.tenant(&name).invalidate(tag("leads")).acked().await?;
    Ok(StatusCode::CREATED)
}

pub(crate) async fn run(world: &World) -> Vec<String> {
    let (database, mut counted) = (world.database().await, 0);
    let redis = RedisServer::start();
    let node = async || Node(app(database.pool.clone(), patient(&redis)).await.unwrap());
    let (one, two) = (node().await, node().await);
    let (at_one, at_two) = tokio::join!(one.crowd(1_000, "/acme/top"), two.crowd(1_000, "/acme/top"));
    assert_eq!((at_one.0, at_two.0), (1_000, 1_000));
    let together = queries(database.queries(&mut counted));
    assert_eq!(node().await.crowd(1_000, "/acme/top").await.0, 1_000);
    let third = queries(database.queries(&mut counted));
    let value = two.value("/acme/top").await;
    assert_eq!(one.write("/acme/top", 1_000_000).await, StatusCode::CREATED);
    assert_eq!(two.value("/acme/top").await, value + 1_000_000);
    assert_eq!(one.value("/acme/top").await, value + 1_000_000);
    let written = queries(database.queries(&mut counted));
    vec![
        format!("1,000 callers at each of two nodes at once: {together}"),
        format!("a third node starts, 1,000 callers: {third}"),
        format!("a write at one node: {written}, and the other node shows the write at once"),
    ]
}
