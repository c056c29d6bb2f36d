//! A thousand callers of a cold key. Nothing is added to the code of step 1: this is its other half.

use crate::sql::{Report, top_campaigns};
use crate::world::{Failed, LONG, Node, World, queries};
use axum::extract::State;
use axum::{Json, Router, routing::get};
use larder::{Cache, Policy, Tenant, key};
use larder_testkit::assert_eventually;
use sqlx::PgPool;
use std::sync::{Arc, LazyLock};
use std::time::Duration;

// A policy is a plain value: made once, kept in a static.
static TOP: LazyLock<Policy> = LazyLock::new(|| Policy::ttl(Duration::from_secs(60)));

async fn top(State((database, acme)): State<(PgPool, Tenant)>) -> Result<Json<Arc<Report>>, Failed> {
    let load = move || async move { top_campaigns(&database, "acme").await };
    Ok(Json(acme.get_or_load(key!("top"), &*TOP, load).await?))
}

async fn cold(database: PgPool) -> Node {
    let cache = Cache::builder("guide").build().await.unwrap();
    Node(Router::new().route("/top", get(top)).with_state((database, cache.tenant("acme"))))
}

pub(crate) async fn run(world: &World) -> Vec<String> {
    let (database, mut counted) = (world.database().await, 0);
    let (answered, _) = cold(database.pool.clone()).await.crowd(1_000, "/top").await;
    assert_eq!(answered, 1_000);
    let at_once = queries(database.queries(&mut counted));

    let node = cold(database.pool.clone()).await;
    let lock = database.hang().await;
    let leader = tokio::spawn({
        let node = node.clone();
        async move { node.get("/top").await }
    });
    assert_eventually!(database.waiting() == 1, LONG, "the first caller's query runs");
    leader.abort();
    let crowd = tokio::spawn(async move { node.crowd(999, "/top").await });
    drop(lock);
    let (answered, _) = crowd.await.unwrap();
    let without_leader = queries(database.queries(&mut counted));
    vec![
        format!("1,000 callers at once, nothing cached: {at_once}"),
        format!("the first of them goes away: {without_leader}, {answered} answered"),
    ]
}
