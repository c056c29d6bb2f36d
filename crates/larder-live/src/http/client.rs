//! Where a connection comes from.

use std::net::{IpAddr, SocketAddr};

use axum::extract::ConnectInfo;
use http::Extensions;

/// In the extensions of a request: the address of its client, as the server knows it that is behind proxies. Without it the address is the
/// socket's, where axum has put that into the request (`into_make_service_with_connect_info`), and without that the bounds by address hold nobody.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ClientAddress(pub IpAddr);

impl ClientAddress {
    pub(super) fn of(extensions: &Extensions) -> Option<IpAddr> {
        let socket = || extensions.get::<ConnectInfo<SocketAddr>>().map(|socket| socket.0.ip());
        extensions.get::<Self>().map(|client| client.0).or_else(socket)
    }
}
