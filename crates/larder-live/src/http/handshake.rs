//! The opening handshake of a WebSocket (RFC 6455 §4.2).

use std::sync::Arc;

use axum::body::{Body, Bytes};
use axum::extract::{FromRequestParts, Path, Query as UrlQuery, Request, State};
use axum::response::{IntoResponse, Response};
use http::header::{
    CONNECTION, RETRY_AFTER, SEC_WEBSOCKET_ACCEPT, SEC_WEBSOCKET_KEY, SEC_WEBSOCKET_PROTOCOL,
    SEC_WEBSOCKET_VERSION, UPGRADE,
};
use http::{HeaderMap, HeaderValue, StatusCode};
use hyper::upgrade::OnUpgrade;
use hyper_util::rt::TokioIo;
use hyper_util::server::conn::auto::upgrade::downcast;
use socket2::SockRef;
use tokio::net::TcpStream;
use tokio_tungstenite::tungstenite::handshake::derive_accept_key;

use super::client::ClientAddress;
use super::credentials::Offered;
use super::origin::Origin;
use super::query::Query;
use super::refusal::{refuse, refuse_page};
use super::tickets::Ticket;
use super::wire::Wire;
use super::{credentials, origin, socket};
use crate::claims::{Claims, TokenError};
use crate::limits::SEND_BUFFER;
use crate::link::{Link, Opening, Timing};
use crate::live::Shared;
use crate::metrics::Transport;
use crate::protocol::{CloseCode, ErrorCode, Frame, SUBPROTOCOL};
use crate::seats::{NoSeat, Seat};

/// What a connection begins with.
enum Credentials {
    /// Those of a token.
    Claims(Box<Claims>),
    /// One that was given out, and may have been taken.
    Ticket(Box<Ticket>),
    /// A token that is not taken.
    Refused(TokenError),
    /// A ticket that is none, or was taken.
    BadTicket,
    /// They come as the first message.
    Later,
    /// It speaks another protocol.
    Strange,
}

pub(super) async fn upgrade(
    State(shared): State<Arc<Shared>>,
    Path(tenant): Path<String>,
    request: Request,
) -> Response {
    let (mut parts, _) = request.into_parts();
    let Some(key) = upgrade_key(&parts.headers) else {
        let told = [(UPGRADE, "websocket"), (SEC_WEBSOCKET_VERSION, "13")];
        return (StatusCode::UPGRADE_REQUIRED, told, "this is a WebSocket").into_response();
    };
    let Some(upgrade) = parts.extensions.remove::<OnUpgrade>() else {
        return (StatusCode::UPGRADE_REQUIRED, "this connection can't become a WebSocket").into_response();
    };
    let from = origin::of(&parts.headers, &shared.allow_origin);
    if from == Origin::Refused {
        return refuse_page(&shared, &parts.headers);
    }
    // A query that can't be read is one without what we know.
    let query = UrlQuery::<Query>::from_request_parts(&mut parts, &()).await.map(|query| query.0);
    let query = query.unwrap_or_default();
    let offered = credentials::offered(&parts.headers);
    let ours = offered.ours;
    let credentials = credentials(&shared, &tenant, &parts.headers, offered, &query, from);
    let address = ClientAddress::of(&parts.extensions);
    // Before there is a place: who can't sign in takes none of those who can.
    let seated = if credentials.may_sign_in(&tenant) {
        shared.seat(address).map(|seat| (seat, None))
    } else {
        shared.seat_of_stranger(address).map(|(seat, stranger)| (seat, Some(stranger)))
    };
    let (seat, stranger) = match seated {
        Ok(seated) => seated,
        Err(why) => return refuse(&shared, why.into(), no_seat(why)),
    };
    let opening = Opening { tenant, pos: query.pos(), rooms: query.rooms(), inbox: None, stranger };
    let credentials = credentials.redeemed(&shared).await;
    let connections = shared.connections.clone();
    connections.spawn(serve(Arc::clone(&shared), upgrade, opening, credentials, seat));
    accepted(&key, ours)
}

fn credentials(
    shared: &Shared,
    tenant: &str,
    headers: &HeaderMap,
    offered: Offered,
    query: &Query,
    from: Origin,
) -> Credentials {
    if offered.others && !offered.ours {
        return Credentials::Strange;
    }
    let verified = |token: String| match shared.verify(&token) {
        Ok(claims) => Credentials::Claims(Box::new(claims)),
        Err(why) => Credentials::Refused(why),
    };
    let cookie = || credentials::cookie(headers, shared.config.cookie.as_deref(), from);
    match (credentials::header(headers).or(offered.token), &query.ticket) {
        (Some(token), _) => verified(token),
        (None, Some(ticket)) => {
            let ticket = shared.tickets.read(tenant, ticket).map(Box::new);
            ticket.map_or(Credentials::BadTicket, Credentials::Ticket)
        }
        (None, None) => cookie().map_or(Credentials::Later, verified),
    }
}

impl Credentials {
    fn may_sign_in(&self, tenant: &str) -> bool {
        match self {
            Self::Claims(claims) => claims.tenant == tenant,
            Self::Ticket(_) => true,
            Self::Refused(_) | Self::BadTicket | Self::Later | Self::Strange => false,
        }
    }

    /// A ticket is taken, and becomes what it is good for.
    async fn redeemed(self, shared: &Shared) -> Self {
        let Self::Ticket(ticket) = self else { return self };
        let claims = shared.tickets.take(*ticket).await;
        claims.map_or(Self::BadTicket, |claims| Self::Claims(Box::new(claims)))
    }
}

/// The client's key, if this is a handshake.
pub(super) fn upgrade_key(headers: &HeaderMap) -> Option<HeaderValue> {
    let has = |name, token: &str| {
        let lines = headers.get_all(name).iter().filter_map(|line: &HeaderValue| line.to_str().ok());
        lines.flat_map(|line| line.split(',')).any(|word| word.trim().eq_ignore_ascii_case(token))
    };
    let version = headers.get(SEC_WEBSOCKET_VERSION).is_some_and(|version| version == "13");
    let key = headers.get(SEC_WEBSOCKET_KEY)?;
    (version && has(CONNECTION, "upgrade") && has(UPGRADE, "websocket")).then(|| key.clone())
}

pub(super) fn accepted(key: &HeaderValue, ours: bool) -> Response {
    let mut response = Response::new(Body::empty());
    *response.status_mut() = StatusCode::SWITCHING_PROTOCOLS;
    let headers = response.headers_mut();
    headers.insert(CONNECTION, HeaderValue::from_static("upgrade"));
    headers.insert(UPGRADE, HeaderValue::from_static("websocket"));
    let accept = HeaderValue::try_from(derive_accept_key(key.as_bytes()));
    headers.insert(SEC_WEBSOCKET_ACCEPT, accept.expect("base64 is ASCII"));
    if ours {
        headers.insert(SEC_WEBSOCKET_PROTOCOL, HeaderValue::from_static(SUBPROTOCOL));
    }
    response
}

fn no_seat(why: NoSeat) -> Response {
    match why {
        NoSeat::TooFast => {
            (StatusCode::TOO_MANY_REQUESTS, [(RETRY_AFTER, "1")], "too many connect at once").into_response()
        }
        NoSeat::Draining => {
            (StatusCode::SERVICE_UNAVAILABLE, [(RETRY_AFTER, "1")], "this server is going away")
                .into_response()
        }
        NoSeat::Full => {
            let text = "this server has as many connections as it may";
            (StatusCode::SERVICE_UNAVAILABLE, [(RETRY_AFTER, "30")], text).into_response()
        }
    }
}

async fn serve(
    shared: Arc<Shared>,
    upgrade: OnUpgrade,
    opening: Opening,
    credentials: Credentials,
    seat: Seat,
) {
    let Ok(upgraded) = upgrade.await else { return };
    let _open = shared.metrics.open(Transport::WebSocket);
    let timing = Timing::both_ways(&shared.config);
    let mut link = Link::new(shared, opening, timing);
    begin(&mut link, credentials);
    // Boxed, so that the task of a connection that has not begun yet is no larger than it must be.
    match downcast::<TokioIo<Wire>>(upgraded) {
        Ok(parts) => {
            let wire = parts.io.into_inner();
            bound(&wire.socket());
            Box::pin(socket::run(wire, rest(parts.read_buf), link)).await;
        }
        Err(upgraded) => match downcast::<TokioIo<TcpStream>>(upgraded) {
            Ok(parts) => {
                let stream = parts.io.into_inner();
                bound(&SockRef::from(&stream));
                Box::pin(socket::run(stream, rest(parts.read_buf), link)).await;
            }
            // Carried by something else than TCP, or by another server than hyper-util's.
            Err(upgraded) => Box::pin(socket::run(TokioIo::new(upgraded), Vec::new(), link)).await,
        },
    }
    drop(seat);
}

fn begin(link: &mut Link, credentials: Credentials) {
    let error = |code, text| Some(Frame::error(None, code, text));
    match credentials {
        Credentials::Claims(claims) => link.sign_in(None, *claims),
        Credentials::Refused(why) => link.refuse(None, why),
        Credentials::Ticket(_) | Credentials::BadTicket => {
            link.end(error(ErrorCode::Unauthorized, "the ticket is not valid"), CloseCode::BadToken);
        }
        Credentials::Later => {}
        Credentials::Strange => {
            link.end(error(ErrorCode::BadRequest, "this server speaks larder.v1"), CloseCode::Version);
        }
    }
}

/// Bounds what the kernel holds of what the client does not read.
fn bound(socket: &SockRef<'_>) {
    if let Err(error) = socket.set_send_buffer_size(SEND_BUFFER) {
        tracing::debug!(%error, "the kernel's send buffer stays as it is");
    }
}

/// What was read already. Copied, as a rule nothing: the buffer itself is that of the request, and larger than ours.
fn rest(read: Bytes) -> Vec<u8> {
    read.to_vec()
}
