//! `larder serve`: the server, from its first line to its last.

mod cache;

use std::future::Future;
use std::io;
use std::net::SocketAddr;

use axum::Router;
use axum::routing::get;
use tokio::signal::unix::{SignalKind, signal};

use larder::Cache;

use super::out;
use crate::cli::SettingFlags;
use crate::config::{self, Config};
use crate::failure::Failure;
use crate::http::{self, listen};
use crate::limits::GRACE;
use crate::logging;

pub use crate::http::listen::Bound;

pub(crate) fn start(flags: SettingFlags) -> Result<(), Failure> {
    let loaded = config::load(flags.0)?;
    logging::start(&loaded.config);
    for warning in &loaded.warnings {
        tracing::warn!("{warning}");
    }
    let config = loaded.config;
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(config.workers.count(cores()))
        .max_blocking_threads(config.blocking_threads.as_usize())
        .thread_name("larder")
        .enable_all()
        .build()
        .map_err(|error| Failure::new(format!("the worker threads could not be started: {error}")))?;
    runtime.block_on(async {
        let shutdown = signals()?;
        let bound = bind(config.listen_address()).await?;
        run(config, bound, shutdown).await
    })
}

/// Serves as `config` says on `bound` until `shutdown` ends; requests in flight are finished first.
///
/// # Errors
/// Where the database or the port can't be had. Whoever calls prints it.
///
/// # Cancel safety
/// Dropping the future closes every connection at once.
pub async fn run(
    config: Config,
    bound: Bound,
    shutdown: impl Future<Output = ()> + Send,
) -> Result<(), Failure> {
    let address =
        bound.address().map_err(|error| Failure::new(format!("the address is unknown: {error}")))?;
    let cache = cache::build(&config).await?;
    let routes = http::around(routes(), &config);
    let listener = bound.listen().map_err(|error| cannot_listen(config.listen_address(), &error))?;
    out(&greeting(&config, &cache, address))?;
    if !listen::serve(listener, routes, shutdown, GRACE).await {
        tracing::warn!(seconds = GRACE.as_secs(), "requests were still in flight and were cut off");
    }
    cache.shutdown().await;
    tracing::info!("stopped");
    Ok(())
}

fn routes() -> Router {
    Router::new().route("/health/live", get(|| async { axum::Json(serde_json::json!({"status": "ok"})) }))
}

/// One line each; the address comes last, when everything is ready.
fn greeting(config: &Config, cache: &Cache, address: SocketAddr) -> String {
    let cores = cores();
    let workers = config.workers.count(cores);
    let mut lines = vec![
        format!("Mode: {}", config.env.name()),
        format!("Workers: {workers} (CPU cores: {cores})"),
        format!("Cache: {}", cache::tiers(config, &cache.redis_state())),
    ];
    lines.extend(cache::coherence(config).map(|price| format!("Coherence: {price}")));
    lines.push(format!("Listening on http://{address}\n"));
    lines.join("\n")
}

fn cores() -> usize {
    std::thread::available_parallelism().map_or(1, usize::from)
}

async fn bind(address: &str) -> Result<Bound, Failure> {
    Bound::to(address).await.map_err(|error| cannot_listen(address, &error))
}

fn cannot_listen(address: &str, error: &io::Error) -> Failure {
    match error.kind() {
        io::ErrorKind::AddrInUse => Failure::new(format!("the address {address} is in use")).hint(
            "stop the other server, or choose another address: --listen 127.0.0.1:8080 (or LISTEN, or PORT)",
        ),
        io::ErrorKind::PermissionDenied => Failure::new(format!("listening on {address} is not permitted"))
            .hint("ports below 1024 need a privilege; choose another address: --listen 127.0.0.1:8080"),
        _ => Failure::new(format!("can't listen on {address}: {error}"))
            .hint("choose another address: --listen 127.0.0.1:8080 (or LISTEN, or PORT)"),
    }
}

/// Ends at SIGINT or SIGTERM. They are caught from this call on.
fn signals() -> Result<impl Future<Output = ()> + Send, Failure> {
    let catch =
        |kind| signal(kind).map_err(|error| Failure::new(format!("signals can't be caught: {error}")));
    let (mut interrupt, mut terminate) = (catch(SignalKind::interrupt())?, catch(SignalKind::terminate())?);
    Ok(async move {
        let name = tokio::select! {
            _ = interrupt.recv() => "SIGINT",
            _ = terminate.recv() => "SIGTERM",
        };
        tracing::info!(signal = name, "shutting down; requests in flight are finished");
    })
}
