//! Redis is killed, and comes back empty.

use crate::sql::{Lead, Report, insert_lead, top_campaigns};
use crate::world::{Failed, LONG, Node, World, patient, queries};
use axum::extract::{Path, State};
use axum::{Json, Router, http::StatusCode, routing::get};
use larder::store::redis::RedisConfig;
use larder::{Cache, ErrorKind, Policy, key, tag};
use larder_testkit::{RedisServer, assert_eventually};
use sqlx::PgPool;
use std::sync::{Arc, LazyLock};
use std::time::Duration;

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
    match app.cache.tenant(&name).invalidate(tag("leads")).await {
        Ok(_) => Ok(StatusCode::CREATED),
        // Redis is away. The write is committed, and in force on this node; the others are told when Redis is back.
        Err(error) if error.kind() == ErrorKind::Deferred => Ok(StatusCode::CREATED),
        Err(error) => Err(error.into()),
    }
}

async fn node(database: PgPool, redis: RedisConfig) -> (Node, Cache) {
    let builder = Cache::builder("guide").redis(redis);
    let cache = builder.outage_memory_ttl(Duration::from_secs(5)).build().await.unwrap();
    cache.ready().await;
    let app = App { database, cache: cache.clone() };
    (Node(Router::new().route("/{tenant}/top", get(top).post(add_lead)).with_state(app)), cache)
}

pub(crate) async fn run(world: &World) -> Vec<String> {
    let (database, mut counted) = (world.database().await, 0);
    let redis = RedisServer::start();
    let (one, first) = node(database.pool.clone(), patient(&redis)).await;
    let (two, second) = node(database.pool.clone(), patient(&redis)).await;
    let value = one.value("/acme/top").await;
    assert_eq!(two.value("/acme/top").await, value);
    database.queries(&mut counted);
    let mut lines = Vec::new();

    redis.kill();
    let alone = || [&first, &second].iter().all(|cache| cache.stats().lease_left.is_zero());
    assert_eventually!(alone(), LONG, "neither relies on its memory any more");
    let (at_one, at_two) = tokio::join!(one.crowd(1_000, "/acme/top"), two.crowd(1_000, "/acme/top"));
    assert_eq!((at_one.0, at_two.0), (1_000, 1_000));
    let asked = queries(database.queries(&mut counted));
    lines.push(format!("Redis is killed, 1,000 callers at each of two nodes: {asked}, no error"));

    assert_eq!(one.write("/acme/top", 1_000_000).await, StatusCode::CREATED);
    assert_eq!(one.value("/acme/top").await, value + 1_000_000);
    lines.push("a write meanwhile: the node that made it shows it; the other one within 5 s".to_owned());

    redis.restart_empty();
    for cache in [&first, &second] {
        cache.ready().await;
    }
    database.queries(&mut counted);
    let (at_one, at_two) = (one.crowd(1_000, "/acme/top").await, two.crowd(1_000, "/acme/top").await);
    for (answered, report) in [at_one, at_two] {
        assert_eq!((answered, crate::world::value_in(&report)), (1_000, value + 1_000_000));
    }
    let asked = queries(database.queries(&mut counted));
    lines.push(format!("Redis is back, and empty, 1,000 callers at each: {asked}, and all see the write"));
    lines
}
