//! Asking other servers over HTTP.

use std::time::Duration;

use bytes::{Bytes, BytesMut};
use http::StatusCode;
use reqwest::{Client, RequestBuilder};

/// Connecting is quick or hopeless.
const CONNECT: Duration = Duration::from_secs(2);

/// Why there is no good answer. Never says where was asked: a URL may hold a password.
#[derive(Debug, thiserror::Error)]
pub(crate) enum UpstreamError {
    /// No answer at all, or not in time.
    #[error("no answer: {0}")]
    Silent(reqwest::Error),
    /// An answer that says no.
    #[error("answered {0}")]
    Refused(StatusCode),
    /// Longer than can be used.
    #[error("the answer is longer than {0} bytes")]
    TooLong(usize),
}

impl From<reqwest::Error> for UpstreamError {
    fn from(error: reqwest::Error) -> Self {
        Self::Silent(error.without_url())
    }
}

/// A client that follows no redirects: an API has no reason to send us elsewhere.
pub(crate) fn client() -> Result<Client, reqwest::Error> {
    install_tls();
    Client::builder()
        .connect_timeout(CONNECT)
        .redirect(reqwest::redirect::Policy::none())
        .user_agent(concat!("larder/", env!("CARGO_PKG_VERSION")))
        .build()
}

/// The TLS library has no provider of its own in this build; whichever was installed first serves.
pub(crate) fn install_tls() {
    let _ = rustls::crypto::ring::default_provider().install_default();
}

/// Sends a request and reads the whole answer, if it is a good one and not longer than `limit` bytes.
pub(crate) async fn read(request: RequestBuilder, limit: usize) -> Result<Bytes, UpstreamError> {
    let mut response = request.send().await?;
    if !response.status().is_success() {
        return Err(UpstreamError::Refused(response.status()));
    }
    let mut body = BytesMut::new();
    while let Some(chunk) = response.chunk().await? {
        if body.len() + chunk.len() > limit {
            return Err(UpstreamError::TooLong(limit));
        }
        body.extend_from_slice(&chunk);
    }
    Ok(body.freeze())
}
