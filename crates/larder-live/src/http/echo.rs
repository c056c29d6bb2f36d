//! An endpoint that says back what it hears, with the handshake, the buffers and the closing of the notifications: what a
//! conformance suite talks to.

use axum::Router;
use axum::extract::Request;
use axum::response::{IntoResponse, Response};
use axum::routing::get;
use futures_util::{SinkExt, StreamExt};
use http::StatusCode;
use hyper::upgrade::OnUpgrade;
use hyper_util::rt::TokioIo;
use tokio_tungstenite::WebSocketStream;
use tokio_tungstenite::tungstenite::Message;
use tokio_tungstenite::tungstenite::protocol::Role;

use super::{handshake, socket};
use crate::limits::CLOSING;

/// Every path echoes.
pub fn echo() -> Router {
    Router::new().fallback(get(upgrade))
}

async fn upgrade(mut request: Request) -> Response {
    let (Some(key), Some(upgrade)) =
        (handshake::upgrade_key(request.headers()), request.extensions_mut().remove::<OnUpgrade>())
    else {
        return StatusCode::UPGRADE_REQUIRED.into_response();
    };
    tokio::spawn(async move {
        if let Ok(upgraded) = upgrade.await {
            serve(TokioIo::new(upgraded)).await;
        }
    });
    handshake::accepted(&key, false)
}

async fn serve(io: TokioIo<hyper::upgrade::Upgraded>) {
    let mut socket = WebSocketStream::from_raw_socket(io, Role::Server, Some(socket::config())).await;
    let violation = loop {
        match socket.next().await {
            Some(Ok(message @ (Message::Text(_) | Message::Binary(_)))) => {
                if socket.send(message).await.is_err() {
                    return;
                }
            }
            Some(Ok(_)) => {
                // The answer to a ping or a close was put together by the WebSocket layer.
                if socket.flush().await.is_err() {
                    return;
                }
            }
            Some(Err(error)) => break socket::violation(&error),
            None => return,
        }
    };
    if let Some(code) = violation {
        let _ = tokio::time::timeout(CLOSING, socket::close(socket, code, true)).await;
    }
}
