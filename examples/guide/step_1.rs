//! The same behind `get_or_load`.

use crate::sql::{Lead, Report, insert_lead, top_campaigns};
use crate::world::{Failed, Node, World, queries, value_in};
use axum::extract::State;
use axum::{Json, Router, http::StatusCode, routing::get};
use larder::{Cache, Policy, Tenant, key};
use sqlx::PgPool;
use std::sync::Arc;
use std::time::Duration;

#[derive(Clone)]
struct App {
    database: PgPool,
    acme: Tenant,
}

async fn app(database: PgPool) -> Result<Router, larder::Error> {
    let cache = Cache::builder("guide").build().await?;
    let app = App { database, acme: cache.tenant("acme") };
    Ok(Router::new().route("/top", get(top).post(add_lead)).with_state(app))
}

async fn top(State(App { database, acme }): State<App>) -> Result<Json<Arc<Report>>, Failed> {
    let policy = Policy::ttl(Duration::from_secs(60));
    let load = move || async move { top_campaigns(&database, "acme").await };
    Ok(Json(acme.get_or_load(key!("top"), &policy, load).await?))
}

async fn add_lead(State(app): State<App>, Json(lead): Json<Lead>) -> Result<StatusCode, Failed> {
    insert_lead(&app.database, &lead).await?;
    Ok(StatusCode::CREATED)
}

pub(crate) async fn run(world: &World) -> Vec<String> {
    let (database, mut counted) = (world.database().await, 0);
    let node = Node(app(database.pool.clone()).await.unwrap());
    let before = node.value("/top").await;
    for _ in 1..1_000 {
        assert_eq!(node.value("/top").await, before);
    }
    let first = queries(database.queries(&mut counted));
    assert_eq!(node.write("/top", 1_000_000).await, StatusCode::CREATED);
    let (_, report) = node.crowd(1_000, "/top").await;
    let seen = if value_in(&report) == before { "none sees" } else { "some see" };
    let then = queries(database.queries(&mut counted));
    vec![
        format!("1,000 requests, one after the other: {first}"),
        format!("a write, 1,000 requests: {then}, and {seen} the write"),
    ]
}
