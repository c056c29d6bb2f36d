//! Several tenants.

use crate::sql::{Lead, Report, insert_lead, top_campaigns};
use crate::world::{Failed, Node, World, queries};
use axum::extract::{FromRequestParts, Path, State};
use axum::http::{StatusCode, request::Parts};
use axum::{Json, Router, routing::get};
use larder::{Cache, Policy, Tenant, key, tag};
use sqlx::PgPool;
use std::sync::{Arc, LazyLock};
use std::time::Duration;

static TOP: LazyLock<Policy> = LazyLock::new(|| Policy::ttl(Duration::from_secs(3600)).tag("leads"));

#[derive(Clone)]
struct App {
    database: PgPool,
    cache: Cache,
}

/// Who is asking. Here the path says it; in your application a verified token does, and nothing else.
struct Of(Tenant);

impl FromRequestParts<App> for Of {
    type Rejection = StatusCode;

    async fn from_request_parts(parts: &mut Parts, app: &App) -> Result<Self, StatusCode> {
        let path = Path::<String>::from_request_parts(parts, app).await;
        path.map(|Path(tenant)| Of(app.cache.tenant(tenant))).map_err(|_| StatusCode::UNAUTHORIZED)
    }
}

async fn top(State(app): State<App>, Of(tenant): Of) -> Result<Json<Arc<Report>>, Failed> {
    let name = tenant.name().to_owned();
    let load = move || async move { top_campaigns(&app.database, &name).await };
    Ok(Json(tenant.get_or_load(key!("top"), &*TOP, load).await?))
}

async fn add_lead(
    State(app): State<App>,
    Of(tenant): Of,
    Json(lead): Json<Lead>,
) -> Result<StatusCode, Failed> {
    insert_lead(&app.database, &lead).await?;
    tenant.invalidate(tag("leads")).await?; // this tenant's, nobody else's
    Ok(StatusCode::CREATED)
}

pub(crate) async fn run(world: &World) -> Vec<String> {
    let (database, mut counted) = (world.database().await, 0);
    let cache = Cache::builder("guide").build().await.unwrap();
    let app = App { database: database.pool.clone(), cache };
    let node = Node(Router::new().route("/{tenant}/top", get(top).post(add_lead)).with_state(app));
    let everybody = async || {
        for path in ["/acme/top", "/globex/top", "/initech/top"] {
            let (answered, report) = node.crowd(100, path).await;
            assert_eq!((answered, report.len()), (100, 10));
        }
    };
    everybody().await;
    let first = queries(database.queries(&mut counted));
    assert_eq!(node.write("/acme/top", 1_000_000).await, StatusCode::CREATED);
    everybody().await;
    let then = queries(database.queries(&mut counted));
    vec![format!("300 requests of 3 tenants: {first}"), format!("a write of one, 300 requests again: {then}")]
}
