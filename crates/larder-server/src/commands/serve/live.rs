//! Live notifications, for the bearers of the backend's tokens.

use std::sync::Arc;

use larder::Cache;
use larder_http::ops::Measure;
use larder_live::{Builder, Claims, Live, Numbers, TokenError, Verify};
use sample_backend::Backend;
use sample_backend::auth::{BadToken, Tokens};

use crate::config::Config;
use crate::failure::Failure;

/// The backend's tokens, as notifications know them.
struct Bearers(Arc<Tokens>);

impl Verify for Bearers {
    fn verify(&self, token: &str) -> Result<Claims, TokenError> {
        let said = self.0.read(token).map_err(|why| match why {
            BadToken::Expired => TokenError::Expired,
            BadToken::Invalid => TokenError::Invalid,
        })?;
        let mut claims = Claims::new(said.tenant, said.sub, said.exp);
        claims.token_id = said.jti;
        claims.rooms = said.rooms;
        claims.publish = said.publish;
        claims.info = said.info;
        Ok(claims)
    }
}

/// Notifications of what happens in `cache`. Pages that may call may connect, too.
pub(super) fn start(config: &Config, backend: &Backend, cache: &Cache) -> Result<Live, Failure> {
    let origins = config.cors_origins.clone();
    let live = Live::builder(cache.clone(), Bearers(Arc::clone(&backend.tokens)));
    let live = backend.tokens.derived("notifications").into_iter().fold(live, Builder::secret);
    live.allow_origin(move |origin| origins.allow(origin))
        .build()
        .map_err(|error| Failure::configuration(format!("notifications can't be configured so: {error}")))
}

/// What `/metrics` tells of them.
pub(super) fn measures(numbers: &Numbers) -> Vec<Measure> {
    let plain = |name, help, count| Measure { name, help, label: None, counts: vec![(String::new(), count)] };
    let by = |name, help, label, counts| Measure { name, help, label: Some(label), counts };
    vec![
        plain("larder_live_delivered_total", "Frames that were handed to connections", numbers.delivered),
        plain(
            "larder_live_replayed_total",
            "Events that were sent to connections which had missed them",
            numbers.replayed,
        ),
        plain(
            "larder_live_dropped_total",
            "Ephemeral messages that were dropped because too much waited for a connection",
            numbers.dropped,
        ),
        by(
            "larder_live_resets_total",
            "Connections that were told to begin anew, by reason",
            "reason",
            numbers.resets.iter().map(|(why, count)| ((*why).to_owned(), *count)).collect(),
        ),
        by(
            "larder_live_refused_total",
            "Connections that were refused before they began, by reason",
            "reason",
            numbers.refused.iter().map(|(why, count)| ((*why).to_owned(), *count)).collect(),
        ),
        by(
            "larder_live_closes_total",
            "Connections that the server closed, by code",
            "code",
            numbers.closes.iter().map(|(code, count)| (code.to_string(), *count)).collect(),
        ),
    ]
}
