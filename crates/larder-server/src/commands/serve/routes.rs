//! All routes of the server as one: the backend's, the cache operations, the pages.

use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::AtomicBool;

use axum::Router;
use bytes::Bytes;
use larder::Cache;
use larder_http::Authenticate;
use larder_http::ops::{self, Database, Ending, Endpoints, Operations, OutboxUse, PoolUse, Requests};
use larder_http::problem::with_fallbacks;
use larder_live::Live;
use larder_outbox::Outbox;
use sample_backend::Backend;
use sample_backend::db::Db;
use sample_backend::ttl::Endpoint;
use utoipa::OpenApi as _;
use utoipa::openapi::{InfoBuilder, OpenApi, Paths};

use super::described::Notifications;
use crate::config::Config;
use crate::failure::Failure;
use crate::http::{self, listen::Open};
use crate::pages;

/// The rows, as far as operators ask about them.
struct Rows(Db, Outbox);

impl Database for Rows {
    fn is_connected(&self) -> Pin<Box<dyn Future<Output = bool> + Send + '_>> {
        Box::pin(async { self.0.ping().await.is_ok() })
    }

    fn pool(&self) -> PoolUse {
        self.0.pool_use()
    }

    fn statements(&self) -> u64 {
        self.0.statements()
    }

    fn outbox(&self) -> Option<OutboxUse> {
        let stats = self.1.stats();
        Some(OutboxUse {
            relays: stats.relays,
            waiting: stats.waiting,
            lag: stats.lag,
            dead: stats.dead,
            stalled: stats.stalled,
            relayed: stats.relayed,
            direct: stats.direct,
            failures: stats.failures,
        })
    }
}

/// Puts them together, with what holds for every request around them, and the end of those that stay open.
pub(super) fn all(
    config: &Config,
    backend: &Backend,
    cache: &Cache,
    live: &Live,
    open: &Open,
    stopping: &Arc<AtomicBool>,
) -> Result<(Router, Ending), Failure> {
    let requests = Requests::default();
    let who: Arc<dyn Authenticate> = backend.tokens.clone();
    let (open, counted, measured) = (open.clone(), live.clone(), live.clone());
    let operations = Operations {
        cache: cache.clone(),
        who: Arc::clone(&who),
        database: Some(Arc::new(Rows(backend.db.clone(), backend.outbox.clone()))),
        // One campaign is kept as long as a page of them, and counted with them.
        endpoints: Endpoints::new(Endpoint::ALL.iter().map(|endpoint| endpoint.name()))
            .also("campaign", "campaigns"),
        requests: requests.clone(),
        connections: Arc::new(move || {
            let numbers = counted.numbers();
            vec![("http", open.count()), ("websocket", numbers.websockets), ("sse", numbers.streams)]
        }),
        measures: Arc::new(move || super::live::measures(&measured.numbers())),
        open_on_loopback: config.is_development(),
        metrics_token: config.metrics_token.as_ref().map(|token| token.0.clone()),
        version: env!("CARGO_PKG_VERSION"),
        stopping: Arc::clone(stopping),
    };
    let ops::Routes { requests: operations, streams, ending } = ops::routes(operations);
    let (operations, described) = operations.split_for_parts();
    // The operators' routes are refused in the same way as the backend's.
    let document =
        sample_backend::complete(one([backend.openapi.clone(), described, Notifications::openapi()]));
    let mut paths: Vec<String> = document.paths.paths.keys().cloned().collect();
    paths.extend(pages::paths().map(str::to_owned));
    paths.extend(ops::STREAMS.map(str::to_owned));
    let facts = pages::Facts {
        openapi: render(&document)?,
        development: config.is_development(),
        samples: config.has_sample_logins(),
    };
    let pages = pages::routes(facts, who);
    let routes = with_fallbacks(backend.router.clone().merge(operations).merge(pages).merge(live.requests()));
    let streams = live.streams().merge(streams);
    Ok((http::around(routes, streams, config, |routes| requests.count(routes, paths)), ending))
}

/// The documents of all areas as one.
fn one(areas: [OpenApi; 3]) -> OpenApi {
    let info = InfoBuilder::new()
        .title("larder")
        .version(env!("CARGO_PKG_VERSION"))
        .description(Some("A multi-tenant backend whose slow reads go through the larder cache."))
        .build();
    let mut document = OpenApi::new(info, Paths::new());
    areas.into_iter().for_each(|area| document.merge(area));
    document
}

fn render(document: &OpenApi) -> Result<Bytes, Failure> {
    let json = serde_json::to_vec(document);
    json.map(Bytes::from)
        .map_err(|error| Failure::new(format!("the OpenAPI document can't be rendered: {error}")))
}
