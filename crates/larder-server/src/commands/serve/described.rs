//! The routes of notifications in the OpenAPI document. What is said on them stands in PROTOCOL.md of larder-live.
#![expect(dead_code, reason = "only their descriptions are used; the routes are larder-live's")]

use serde::{Deserialize, Serialize};
use utoipa::{OpenApi, ToSchema};

/// The document of these routes.
#[derive(OpenApi)]
#[openapi(paths(web_socket, event_stream, command, ticket))]
pub(super) struct Notifications;

/// A command for an event stream: a message of the protocol, and whose it is.
#[derive(Deserialize, ToSchema)]
struct Command {
    /// The connection, from its `hello`.
    conn: String,
    /// Its secret, from there.
    secret: String,
    /// `sub`, `unsub`, `pub`, `presence`, `history` or `auth`.
    #[serde(rename = "type")]
    kind: String,
    /// Comes back in the answer.
    id: Option<u32>,
}

/// What an `EventSource` connects with, which can't send headers.
#[derive(Serialize, ToSchema)]
struct Ticket {
    /// Good once, in `?ticket=`.
    ticket: String,
    /// Seconds.
    expires_in: u64,
}

/// What happens to the tenant's data, by WebSocket (sub-protocol `larder.v1`).
///
/// The token comes by `Authorization`, as the sub-protocol `bearer.<base64url>`, as a ticket, or by the first message. A wrong one is
/// told after the upgrade, by a close code.
#[utoipa::path(
    get, path = "/ws/notifications/{tenant_id}", tag = "notifications", operation_id = "notifications_ws",
    params(
        ("tenant_id" = String, Path, description = "The tenant; the token has to be of the same"),
        ("pos" = Option<String>, Query, description = "The position after which to go on: k3Jx:1017"),
        ("rooms" = Option<String>, Query, description = "Rooms to be in from the first event on, with commas"),
        ("ticket" = Option<String>, Query, description = "A ticket instead of a token"),
    ),
    responses(
        (status = 101, description = "Messages of the protocol follow"),
        (status = 403, description = "Pages of this origin may not connect"),
        (status = 429, description = "Too many connect at once"),
        (status = 503, description = "The server is full, or stops"),
    ),
    security((), ("bearer" = []))
)]
fn web_socket() {}

/// The same as server-sent events.
#[utoipa::path(
    get, path = "/sse/notifications/{tenant_id}", tag = "notifications", operation_id = "notifications_sse",
    params(
        ("tenant_id" = String, Path, description = "The tenant; the token has to be of the same"),
        ("rooms" = Option<String>, Query, description = "Rooms to be in from the first event on, with commas"),
        ("last_event_id" = Option<String>, Query, description = "The position after which to go on, where the header Last-Event-ID can't be set"),
        ("ticket" = Option<String>, Query, description = "A ticket instead of a token"),
    ),
    responses(
        (status = 200, description = "Events, without end", content_type = "text/event-stream", body = String),
        (status = 401, description = "No valid token or ticket"),
        (status = 403, description = "The token is of another tenant, or the page of a foreign origin"),
    ),
    security((), ("bearer" = []))
)]
fn event_stream() {}

/// A command for an event stream; the answer comes on the stream. It goes to any server.
#[utoipa::path(
    post, path = "/rt/{tenant_id}/cmd", tag = "notifications", operation_id = "notifications_command",
    params(("tenant_id" = String, Path, description = "The tenant")),
    request_body = Command,
    responses(
        (status = 202, description = "It is on its way"),
        (status = 403, description = "The token is of another tenant, the secret not of a connection of its user, or the page of a foreign origin"),
        (status = 410, description = "The connection is gone"),
        (status = 413, description = "The command is larger than the stream's hello allows"),
        (status = 429, description = "Too many commands wait, or come for streams of other servers"),
        (status = 503, description = "Other servers are out of reach"),
    ),
    security(("bearer" = []))
)]
fn command() {}

/// A ticket for one connection within 30 s, for `EventSource`, which can't send headers.
#[utoipa::path(
    post, path = "/rt/{tenant_id}/ticket", tag = "notifications", operation_id = "notifications_ticket",
    params(("tenant_id" = String, Path, description = "The tenant; the token has to be of the same")),
    responses(
        (status = 200, description = "A ticket", body = Ticket),
        (status = 422, description = "The token says more than fits into a URL"),
        (status = 429, description = "Too many of this user or tenant"),
    ),
    security(("bearer" = []))
)]
fn ticket() {}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_route_of_notifications_is_described() {
        let paths = Notifications::openapi().paths.paths;
        assert!(paths.keys().map(String::as_str).eq({
            let mut routed = larder_live::PATHS;
            routed.sort_unstable();
            routed
        }));
    }
}
