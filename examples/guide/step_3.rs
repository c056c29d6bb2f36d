//! A write drops what it changes.

use crate::sql::{Lead, Report, insert_lead, top_campaigns};
use crate::world::{Failed, Node, World, queries, value_in};
use axum::extract::State;
use axum::{Json, Router, http::StatusCode, routing::get};
use larder::{Cache, Policy, Tenant, key, tag};
use sqlx::PgPool;
use std::sync::{Arc, LazyLock};
use std::time::Duration;

static TOP: LazyLock<Policy> = LazyLock::new(|| Policy::ttl(Duration::from_secs(3600)).tag("leads"));

async fn top(State((database, acme)): State<(PgPool, Tenant)>) -> Result<Json<Arc<Report>>, Failed> {
    let load = move || async move { top_campaigns(&database, "acme").await };
    Ok(Json(acme.get_or_load(key!("top"), &*TOP, load).await?))
}

async fn add_lead(
    State((database, acme)): State<(PgPool, Tenant)>,
    Json(lead): Json<Lead>,
) -> Result<StatusCode, Failed> {
    insert_lead(&database, &lead).await?; // committed here
    acme.invalidate(tag("leads")).await?; // from here on nobody is served what was before
    Ok(StatusCode::CREATED)
}

pub(crate) async fn run(world: &World) -> Vec<String> {
    let (database, mut counted) = (world.database().await, 0);
    let cache = Cache::builder("guide").build().await.unwrap();
    let routes = Router::new().route("/top", get(top).post(add_lead));
    let node = Node(routes.with_state((database.pool.clone(), cache.tenant("acme"))));
    let (mut value, mut old) = (node.value("/top").await, 0);
    let mut answered = 0;
    for _ in 0..10 {
        assert_eq!(node.write("/top", 1_000_000).await, StatusCode::CREATED);
        value += 1_000_000;
        let (good, report) = node.crowd(100, "/top").await;
        answered += good;
        old += usize::from(value_in(&report) != value);
    }
    assert_eq!((answered, old), (1_000, 0));
    vec![format!(
        "10 writes, 100 requests after each: {}, and every one sees the write before it",
        queries(database.queries(&mut counted))
    )]
}
