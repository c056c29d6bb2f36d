//! The endpoint as it is: every request runs the query.

use crate::sql::{Report, top_campaigns};
use crate::world::{Failed, Node, World, queries};
use axum::extract::State;
use axum::{Json, Router, routing::get};
use sqlx::PgPool;

fn app(database: PgPool) -> Router {
    Router::new().route("/top", get(top)).with_state(database)
}

async fn top(State(database): State<PgPool>) -> Result<Json<Report>, Failed> {
    Ok(Json(top_campaigns(&database, "acme").await?))
}

pub(crate) async fn run(world: &World) -> Vec<String> {
    let (database, mut counted) = (world.database().await, 0);
    let node = Node(app(database.pool.clone()));
    let (answered, _) = node.crowd(1_000, "/top").await;
    assert_eq!(answered, 1_000);
    vec![format!("1,000 requests: {}", queries(database.queries(&mut counted)))]
}
