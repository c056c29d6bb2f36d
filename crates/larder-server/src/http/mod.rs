//! The HTTP server around the routes: listening, and what holds for every request.

pub(crate) mod address;
mod admission;
mod body;
mod cors;
mod encoding;
mod errors;
mod every;
pub(crate) mod listen;
mod rate;
mod request_id;
mod security;
#[cfg(test)]
mod tests;
#[cfg(all(test, target_os = "linux"))]
mod unread;
mod vary;

use std::sync::Arc;

use axum::Router;
use axum::extract::DefaultBodyLimit;
use axum::middleware::{from_fn_with_state, map_request};
use tower_http::CompressionLevel;
use tower_http::catch_panic::CatchPanicLayer;
use tower_http::compression::CompressionLayer;
use tower_http::compression::predicate::{NotForContentType, Predicate, SizeAbove};
use tower_http::timeout::RequestBodyTimeoutLayer;

use crate::config::Config;
use crate::limits::{BODY_PAUSE, COMPRESS_FROM};

/// Puts what holds for every request around `routes`, from the outside in: request id, client address, log line and security
/// headers; counting; panics become problems; CORS; compression; admission by rate, concurrency and size.
///
/// `streams` stay open: neither compression nor admission concerns them. `count` lays the counting around.
pub(crate) fn around(
    routes: Router,
    streams: Router,
    config: &Config,
    count: impl FnOnce(Router) -> Router,
) -> Router {
    let admission = Arc::new(admission::Admission::new(config));
    let every = Arc::new(every::Every::new(config));
    let worth_it = SizeAbove::new(COMPRESS_FROM).and(NotForContentType::SSE).and(NotForContentType::IMAGES);
    let guarded = routes
        .layer(DefaultBodyLimit::disable())
        .layer(RequestBodyTimeoutLayer::new(BODY_PAUSE))
        .layer(from_fn_with_state(admission, admission::admit))
        .layer(CompressionLayer::new().quality(CompressionLevel::Fastest).compress_when(worth_it))
        .layer(map_request(encoding::plain_rather_than_none))
        .layer(cors::layer(config.cors_origins.clone()))
        .layer(CatchPanicLayer::custom(errors::of_panic));
    let streams = streams
        .layer(cors::layer(config.cors_origins.clone()))
        .layer(CatchPanicLayer::custom(errors::of_panic));
    count(guarded.merge(streams)).layer(from_fn_with_state(every, every::every))
}
