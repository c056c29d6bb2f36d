//! How do I put a cache into an axum service? State, one policy an endpoint, invalidation after the commit, `X-Cache` and
//! `ETag`, errors, a clean end.
//!
//! `cargo run -p examples --bin axum-service`, then `curl -i localhost:3000/acme/campaigns` twice.
//! `LISTEN=127.0.0.1:8080` listens elsewhere, `REDIS_URL=redis://localhost` makes it one of several nodes.
#![allow(clippy::print_stdout, reason = "it says where it listens")]

use axum::extract::{Path, State};
use axum::http::StatusCode;
use axum::response::{IntoResponse, Response};
use axum::{Json, Router, routing::get};
use larder::{Cache, ErrorKind, Policy, key, tag};
use larder_http::{Audience, Conditions, Problem, Rendered, respond::cached};
use std::collections::BTreeMap;
use std::sync::{Arc, LazyLock, Mutex, PoisonError};
use std::time::Duration;

/// Stands for your database.
#[derive(Default)]
struct Database(Mutex<BTreeMap<String, Vec<String>>>);

impl Database {
    async fn campaigns(&self, tenant: &str) -> Result<Vec<String>, std::io::Error> {
        tokio::time::sleep(Duration::from_millis(50)).await; // it is slow
        let rows = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        Ok(rows.get(tenant).cloned().unwrap_or_default())
    }

    async fn insert(&self, tenant: &str, name: String) {
        self.0
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .entry(tenant.to_owned())
            .or_default()
            .push(name);
    }
}

#[derive(Clone)]
struct App {
    cache: Cache,
    database: Arc<Database>,
}

static CAMPAIGNS: LazyLock<Policy> = LazyLock::new(|| {
    Policy::ttl(Duration::from_secs(300))
        .stale_if_error(Duration::from_secs(3600)) // an old list is better than none
        .tag("campaigns")
});

async fn list(
    State(app): State<App>,
    Path(tenant): Path<String>,
    conditions: Conditions,
) -> Result<Response, Problem> {
    let of = app.cache.tenant(&tenant);
    // What is cached is the answer itself, as bytes with their ETag: a hit formats nothing.
    let load = move || async move {
        let rows = app.database.campaigns(&tenant).await?;
        Rendered::json(&rows).map_err(std::io::Error::other)
    };
    let found = of.fetch(key!("campaigns"), &*CAMPAIGNS, load).await?;
    Ok(cached(Audience::Private, &conditions, &found.value, &found.status))
}

async fn create(
    State(app): State<App>,
    Path(tenant): Path<String>,
    Json(name): Json<String>,
) -> Result<StatusCode, Problem> {
    app.database.insert(&tenant, name).await; // committed: now nobody may see the old list
    match app.cache.tenant(&tenant).invalidate(tag("campaigns")).await {
        Ok(_) => Ok(StatusCode::CREATED),
        // Redis is away. In force here; other nodes are told when it is back. No reason to fail the write.
        Err(error) if error.kind() == ErrorKind::Deferred => Ok(StatusCode::CREATED),
        Err(error) => Err(error.into()),
    }
}

async fn health(State(app): State<App>) -> Response {
    let stats = app.cache.stats();
    let text = format!("hit rate {:.2}, {} entries\n", stats.total.hit_rate(), stats.entries);
    text.into_response() // a cache without Redis is healthy: it goes on
}

#[tokio::main]
async fn main() -> Result<(), Box<dyn std::error::Error>> {
    let mut builder = Cache::builder("example");
    if let Ok(redis) = std::env::var("REDIS_URL") {
        builder = builder.redis(&*redis);
    }
    let app = App { cache: builder.build().await?, database: Arc::default() };
    let routes =
        Router::new().route("/{tenant}/campaigns", get(list).post(create)).route("/health", get(health));
    let address = std::env::var("LISTEN").unwrap_or_else(|_| "127.0.0.1:3000".to_owned());
    let listener = tokio::net::TcpListener::bind(address).await?;
    println!("Listening on http://{}", listener.local_addr()?);
    let end = async { tokio::signal::ctrl_c().await.expect("signals can be awaited") };
    axum::serve(listener, routes.with_state(app.clone())).with_graceful_shutdown(end).await?;
    app.cache.shutdown().await; // invalidations and events that are under way are carried through
    println!("ended well");
    Ok(())
}
