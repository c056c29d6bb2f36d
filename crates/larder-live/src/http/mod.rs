//! The routes: how a connection comes in.

mod client;
mod credentials;
#[cfg(feature = "conformance")]
mod echo;
mod handshake;
mod hangup;
mod metered;
mod origin;
mod query;
mod refusal;
mod requests;
mod socket;
mod stream;
mod tickets;
mod who;
mod wire;

use std::sync::Arc;

use axum::Router;
use axum::routing::{get, post};

use crate::live::Shared;

pub use client::ClientAddress;
#[cfg(feature = "conformance")]
pub use echo::echo;
pub use hangup::{Hangup, StreamExecutor};
pub use refusal::Refused;
pub(crate) use refusal::{Told, Why};
pub(crate) use tickets::Tickets;
pub use wire::Wire;

/// The paths of all routes, as they are routed: for who counts requests by route.
pub const PATHS: [&str; 4] = [
    "/ws/notifications/{tenant_id}",
    "/sse/notifications/{tenant_id}",
    "/rt/{tenant_id}/cmd",
    "/rt/{tenant_id}/ticket",
];

/// Routes whose responses stay open.
pub(crate) fn streams(shared: Arc<Shared>) -> Router {
    Router::new()
        .route(PATHS[0], get(handshake::upgrade))
        .route(PATHS[1], get(stream::open))
        .with_state(shared)
}

/// Routes of ordinary requests.
pub(crate) fn requests(shared: Arc<Shared>) -> Router {
    Router::new()
        .route(PATHS[2], post(requests::command))
        .route(PATHS[3], post(requests::ticket))
        .with_state(shared)
}
