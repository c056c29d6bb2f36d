//! Nobody waits for the query any more, a database that hangs is not noticed, and what is not there is remembered.

use crate::sql::{Report, campaign, top_campaigns};
use crate::world::{Failed, LONG, Node, World, queries};
use axum::extract::{Path, State};
use axum::{Json, Router, http::StatusCode, routing::get};
use larder::{Cache, ManualClock, Policy, key};
use larder_testkit::assert_eventually;
use sqlx::PgPool;
use std::sync::{Arc, LazyLock};
use std::time::Duration;

static TOP: LazyLock<Policy> = LazyLock::new(|| {
    Policy::ttl(Duration::from_secs(60))
        .stale_while_revalidate(Duration::from_secs(300)) // for so long the old one is served while a load runs behind
        .stale_if_error(Duration::from_secs(3600)) // for so long it is better than an error
        .soft_timeout(Duration::from_millis(200)) // or than waiting longer than this
        .tag("leads")
});
static CAMPAIGN: LazyLock<Policy> =
    LazyLock::new(|| Policy::ttl(Duration::from_secs(60)).negative_ttl(Duration::from_secs(10)));

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

async fn one(
    State(app): State<App>,
    Path((name, id)): Path<(String, i64)>,
) -> Result<Result<Json<Arc<String>>, StatusCode>, Failed> {
    let tenant = app.cache.tenant(&name);
    let load = move || async move { campaign(&app.database, &name, id).await };
    let (found, _) = tenant.fetch_opt(key!("campaign", id), &*CAMPAIGN, load).await?;
    Ok(found.map(Json).ok_or(StatusCode::NOT_FOUND))
}

pub(crate) async fn run(world: &World) -> Vec<String> {
    let (database, mut counted) = (world.database().await, 0);
    let clock = Arc::new(ManualClock::default());
    let cache = Cache::builder("guide").clock(Arc::<ManualClock>::clone(&clock)).build().await.unwrap();
    let app = App { database: database.pool.clone(), cache: cache.clone() };
    let routes = Router::new().route("/{tenant}/top", get(top)).route("/{tenant}/campaigns/{id}", get(one));
    let node = Node(routes.with_state(app));
    node.value("/acme/top").await;
    database.queries(&mut counted);
    let counts = || cache.stats().total;
    let mut lines = Vec::new();

    clock.advance(Duration::from_secs(61));
    let before = counts();
    let (answered, _) = node.crowd(1_000, "/acme/top").await;
    assert_eventually!(cache.stats().flights == 0, LONG, "the load behind has ended");
    assert_eq!(answered, 1_000);
    let waited = counts().misses - before.misses;
    let asked = queries(database.queries(&mut counted));
    lines.push(format!("61 s later, 1,000 callers at once: {asked}, and {waited} wait for it"));

    clock.advance(Duration::from_secs(600));
    let lock = database.hang().await;
    let (answered, _) = node.crowd(1_000, "/acme/top").await;
    drop(lock);
    assert_eventually!(cache.stats().flights == 0, LONG, "the load behind has ended");
    assert_eq!(answered, 1_000);
    let asked = queries(database.queries(&mut counted));
    lines.push(format!("10 min later the database hangs, 1,000 callers: {asked}, no error"));

    for _ in 0..1_000 {
        assert_eq!(node.get("/acme/campaigns/999").await.0, StatusCode::NOT_FOUND);
    }
    lines.push(format!(
        "1,000 requests for a campaign that is not there: {}",
        queries(database.queries(&mut counted))
    ));
    lines
}
