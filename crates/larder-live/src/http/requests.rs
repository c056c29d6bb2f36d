//! Ordinary requests: commands for event streams, and tickets.

use std::sync::Arc;

use axum::Json;
use axum::body::Bytes;
use axum::extract::{Path, State};
use axum::response::{IntoResponse, Response};
use http::header::{CACHE_CONTROL, RETRY_AFTER};
use http::{HeaderMap, StatusCode};
use serde::Deserialize;
use serde_json::json;

use super::credentials;
use super::origin::{self, Origin};
use super::tickets::Tickets;
use crate::claims::TokenError;
use crate::hub::{Handed, Signal};
use crate::limits::MESSAGE_BYTES;
use crate::link::now_seconds;
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
    if origin::of(&headers, &shared.allow_origin) == Origin::Refused {
        return (StatusCode::FORBIDDEN, "pages of this origin may not connect").into_response();
    }
    if body.len() > MESSAGE_BYTES {
        return (StatusCode::PAYLOAD_TOO_LARGE, "a command has 64 KiB at most").into_response();
    }
    let Ok(text) = std::str::from_utf8(&body) else {
        return (StatusCode::BAD_REQUEST, "a command is JSON in UTF-8").into_response();
    };
    let Ok(Addressed { conn, secret }) = serde_json::from_str(text) else {
        return (StatusCode::BAD_REQUEST, "conn and secret of the stream's hello are missing")
            .into_response();
    };
    let own = conn.split_once('.').is_some_and(|(node, _)| node == shared.node);
    if !own {
        let signal = Signal::Command { conn, secret, text: text.to_owned() };
        return match shared.log.signal(&tenant, signal.encode()).await {
            Ok(()) => StatusCode::ACCEPTED.into_response(),
            Err(_) => (StatusCode::SERVICE_UNAVAILABLE, [(RETRY_AFTER, "1")], "other nodes are out of reach")
                .into_response(),
        };
    }
    match shared.streams.hand(&conn, &secret, text.to_owned()) {
        Handed::Taken => StatusCode::ACCEPTED.into_response(),
        Handed::Refused => {
            (StatusCode::FORBIDDEN, "the secret is not that of the connection").into_response()
        }
        Handed::Full => {
            (StatusCode::TOO_MANY_REQUESTS, [(RETRY_AFTER, "1")], "too many commands wait").into_response()
        }
        Handed::Unknown => (StatusCode::GONE, "the connection is gone").into_response(),
    }
}

/// A ticket for the bearer of a token.
pub(super) async fn ticket(
    State(shared): State<Arc<Shared>>,
    Path(tenant): Path<String>,
    headers: HeaderMap,
) -> Response {
    let from = origin::of(&headers, &shared.allow_origin);
    if from == Origin::Refused {
        return (StatusCode::FORBIDDEN, "pages of this origin may not connect").into_response();
    }
    let cookie = shared.config.cookie.as_deref();
    let token = credentials::header(&headers).or_else(|| credentials::cookie(&headers, cookie, from));
    let claims = match token.ok_or(TokenError::Invalid).and_then(|token| shared.verify.verify(&token)) {
        Ok(claims) if claims.is_sound() && claims.expires_at > now_seconds() => claims,
        _ => return (StatusCode::UNAUTHORIZED, "a valid token is needed").into_response(),
    };
    if claims.tenant != tenant {
        return (StatusCode::FORBIDDEN, "the token is of another tenant").into_response();
    }
    match shared.tickets.give(claims).await {
        Some(ticket) => {
            let body = json!({"ticket": ticket, "expires_in": Tickets::LIFE.as_secs()});
            ([(CACHE_CONTROL, "no-store")], Json(body)).into_response()
        }
        None => {
            let text = "too many tickets have been given out";
            (StatusCode::SERVICE_UNAVAILABLE, [(RETRY_AFTER, "5")], text).into_response()
        }
    }
}
