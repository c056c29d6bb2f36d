//! Ordinary requests: commands for event streams, and tickets.

use std::sync::Arc;
use std::time::Duration;

use axum::Json;
use axum::body::Bytes;
use axum::extract::{Path, State};
use axum::response::{IntoResponse, Response};
use http::header::{CACHE_CONTROL, RETRY_AFTER};
use http::{HeaderMap, StatusCode};
use larder::ErrorKind;
use serde::Deserialize;
use serde_json::json;
use serde_json::value::RawValue;

use super::tickets::{NoTicket, Tickets};
use super::who;
use crate::claims::Claims;
use crate::hub::{Handed, Signal};
use crate::limits::COMMAND_BYTES;
use crate::live::Shared;

#[derive(Deserialize)]
struct Addressed {
    conn: String,
    secret: String,
}

/// A command for an event stream, of this node or another.
pub(super) async fn command(
    State(shared): State<Arc<Shared>>,
    Path(tenant): Path<String>,
    headers: HeaderMap,
    body: Bytes,
) -> Response {
    let claims = match who::asks_of(&shared, &headers, &tenant) {
        Ok(claims) => claims,
        Err(refused) => return refused.into_response(),
    };
    if body.len() > COMMAND_BYTES {
        return (StatusCode::PAYLOAD_TOO_LARGE, "a command has 64 KiB at most").into_response();
    }
    let Ok(command) = serde_json::from_slice::<Box<RawValue>>(&body) else {
        return (StatusCode::BAD_REQUEST, "a command is JSON in UTF-8").into_response();
    };
    let Ok(Addressed { conn, secret }) = serde_json::from_str(command.get()) else {
        return (StatusCode::BAD_REQUEST, "conn and secret of the stream's hello are missing")
            .into_response();
    };
    // Whichever node is asked can tell.
    if !shared.keys.is_secret_of(&[&tenant, &claims.user, &conn], &secret) {
        return (StatusCode::FORBIDDEN, "the secret is not that of a connection of this user")
            .into_response();
    }
    if conn.split_once('.').is_some_and(|(node, _)| node == shared.node) {
        hand(&shared, &conn, command)
    } else {
        pass_on(&shared, &claims, conn, command).await
    }
}

fn hand(shared: &Shared, conn: &str, command: Box<RawValue>) -> Response {
    match shared.streams.hand(conn, command) {
        Handed::Taken => StatusCode::ACCEPTED.into_response(),
        Handed::Full => too_many(Duration::from_secs(1), "too many commands wait"),
        Handed::Unknown => (StatusCode::GONE, "the connection is gone").into_response(),
    }
}

/// Tells the others, of which one has the connection.
async fn pass_on(shared: &Shared, claims: &Claims, conn: String, command: Box<RawValue>) -> Response {
    if let Err(wait) = shared.forwarding.take(claims) {
        return too_many(wait, "too many commands for streams of other nodes");
    }
    let signal = Signal::Command { conn, command };
    let Err(error) = shared.log.signal(&claims.tenant, signal.encode()).await else {
        return StatusCode::ACCEPTED.into_response();
    };
    if error.kind() == ErrorKind::InvalidRequest {
        return (StatusCode::PAYLOAD_TOO_LARGE, "a command has 64 KiB at most").into_response();
    }
    (StatusCode::SERVICE_UNAVAILABLE, [(RETRY_AFTER, "1")], "other nodes are out of reach").into_response()
}

/// A ticket for the bearer of a token.
pub(super) async fn ticket(
    State(shared): State<Arc<Shared>>,
    Path(tenant): Path<String>,
    headers: HeaderMap,
) -> Response {
    let claims = match who::asks_of(&shared, &headers, &tenant) {
        Ok(claims) => claims,
        Err(refused) => return refused.into_response(),
    };
    match shared.tickets.give(claims) {
        Ok(ticket) => {
            let body = json!({"ticket": ticket, "expires_in": Tickets::LIFE.as_secs()});
            ([(CACHE_CONTROL, "no-store")], Json(body)).into_response()
        }
        Err(NoTicket::TooMany(wait)) => too_many(wait, "too many tickets"),
        Err(NoTicket::TooLarge) => {
            (StatusCode::UNPROCESSABLE_ENTITY, "the token says more than fits into a URL").into_response()
        }
    }
}

fn too_many(wait: Duration, why: &'static str) -> Response {
    let seconds = wait.as_millis().div_ceil(1000).max(1).to_string();
    (StatusCode::TOO_MANY_REQUESTS, [(RETRY_AFTER, seconds)], why).into_response()
}
