//! `larder serve`: the server, from its first line to its last.

mod backend;
mod cache;
mod described;
mod greeting;
mod live;
mod room;
mod routes;
mod signals;

use std::future::Future;
use std::io;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use larder::Cache;
use sample_backend::Backend;
use tokio::sync::oneshot;
use tokio::task::JoinSet;

use super::out;
use crate::cli::SettingFlags;
use crate::config::{self, Config};
use crate::failure::Failure;
use crate::http::listen::{self, Ending, Open, Patience};
use crate::limits::{GRACE, LINGER};
use crate::logging;

pub use crate::http::listen::Bound;
pub(crate) use backend::{database, failure as database_failure};
use greeting::{Facts, greeting};

pub(crate) fn start(flags: SettingFlags) -> Result<(), Failure> {
    let loaded = config::load(flags.0)?;
    let _lines = logging::start(&loaded.config)?;
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
        let shutdown = signals::caught()?;
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
    let backend = match backend::start(&config, cache.clone()).await {
        Ok(backend) => backend,
        Err(failure) => {
            cache.shutdown().await;
            return Err(failure);
        }
    };
    let mut watching = JoinSet::new();
    room::watch(&backend, &cache, &mut watching).await;
    let _claim = backend::claim(&config, &backend).await;
    let open = Open::default();
    let live = live::start(&config, &backend, &cache)?;
    let stopping = Arc::new(AtomicBool::new(false));
    let (routes, watched) = routes::all(&config, &backend, &cache, &live, &open, &stopping)?;
    let listener = bound.listen().map_err(|error| cannot_listen(config.listen_address(), &error))?;
    let facts =
        Facts { address, cores: cores(), redis: &cache.redis_state(), seller: backend.seller_address };
    out(&greeting(&config, &facts))?;
    let (ending_now, ends) = oneshot::channel::<()>();
    let shutdown = async {
        shutdown.await;
        // Balancers that ask notice it in this time, while whoever they send is served.
        stopping.store(true, Ordering::Relaxed);
        tokio::time::sleep(config.shutdown_delay()).await;
        drop(ending_now);
    };
    // Open streams are requests in flight: they have to be ended for the rest to end.
    let drain = async {
        drop(ends.await);
        watched.end();
        live.drain().await;
    };
    let serving = listen::serve(listener, routes, &open, shutdown, Patience::default(), ending(&config));
    let (finished, ()) = tokio::join!(serving, drain);
    if !finished {
        tracing::warn!(seconds = GRACE.as_secs(), "requests were still in flight and were cut off");
    }
    drop(watching);
    stop(backend, cache).await;
    Ok(())
}

/// Only a proxy keeps connections for other people's requests.
fn ending(config: &Config) -> Ending {
    let linger = if config.trusted_proxies.0.is_empty() { Duration::ZERO } else { LINGER };
    Ending { linger, grace: GRACE.saturating_sub(config.shutdown_delay()) }
}

/// Writes that were begun are finished before the cache that they invalidate goes.
async fn stop(backend: Backend, cache: Cache) {
    backend.shutdown().await;
    cache.shutdown().await;
    tracing::info!("stopped");
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
