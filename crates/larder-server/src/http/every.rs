//! What happens to every request and every response: id, client address, log line, security headers, errors as problems.

use std::sync::Arc;
use std::time::Instant;

use axum::extract::{Request, State};
use axum::middleware::Next;
use axum::response::Response;
use larder_http::ClientAddr;
use larder_live::{ClientAddress, Refused};
use tracing::Instrument;

use super::address::{self, Client, Peer};
use super::{admission, errors, request_id, security, vary};
use crate::config::Config;
use crate::config::value::Proxies;
use crate::telemetry;

/// What is needed for it.
pub(super) struct Every {
    proxies: Proxies,
}

impl Every {
    pub(super) fn new(config: &Config) -> Self {
        Self { proxies: config.trusted_proxies.clone() }
    }
}

pub(super) async fn every(State(every): State<Arc<Every>>, mut request: Request, next: Next) -> Response {
    let begun = Instant::now();
    let id = request_id::of(request.headers());
    request.headers_mut().insert(request_id::REQUEST_ID, id.clone());
    let client = match request.extensions().get::<Peer>() {
        Some(Peer(peer)) => address::client(*peer, request.headers(), &every.proxies),
        // Only a request that came by no socket has none: a unit test.
        None => Client { ip: [0, 0, 0, 0].into(), https: false },
    };
    request.extensions_mut().insert(ClientAddr(client.ip));
    request.extensions_mut().insert(ClientAddress(client.ip));
    request.extensions_mut().insert(client);

    let id_text = id.to_str().unwrap_or_default().to_owned();
    let (method, path) = (request.method().clone(), request.uri().path().to_owned());
    let span = tracing::info_span!("request", id = id_text);
    telemetry::begun(&span, &method, &path, request.headers());
    let answer = async { errors::as_problem(next.run(request).await).await };
    let mut response = answer.instrument(span.clone()).await;

    telemetry::answered(&span, response.status());
    let headers = response.headers_mut();
    headers.insert(request_id::REQUEST_ID, id);
    security::harden(headers, client.https);
    vary::join(headers);
    let _in_span = span.enter();
    let (status, milliseconds) = (response.status().as_u16(), begun.elapsed().as_secs_f64() * 1e3);
    // Orchestrators ask for the ones every few seconds; of the others anybody could have thousands.
    if admission::is_health(&path) || response.extensions().get::<Refused>().is_some() {
        tracing::debug!(%method, path, status, milliseconds, client = %client.ip, "answered");
    } else {
        tracing::info!(%method, path, status, milliseconds, client = %client.ip, "answered");
    }
    response
}
