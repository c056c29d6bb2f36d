//! The source of the seller dashboard.

use std::time::Duration;

use bytes::{BufMut, Bytes, BytesMut};
use http::StatusCode;
use larder_http::rendered::JSON;
use larder_http::{Problem, Rendered};
use reqwest::Client;
use serde_json::Value;
use serde_json::value::RawValue;
use url::Url;

use crate::upstream::{UpstreamError, read};

/// The longest answer that is read, in bytes.
const MAX_ANSWER: usize = 8 << 20;

/// Another server, asked by HTTP.
#[derive(Debug, Clone)]
pub struct Upstream {
    client: Client,
    base: Url,
    timeout: Duration,
}

impl Upstream {
    /// Asks `base` with this client.
    #[must_use]
    pub fn new(client: Client, base: Url, timeout: Duration) -> Self {
        Self { client, base, timeout }
    }

    /// `{base}/{tenant}/{path}?{params}`; tenant and path can't reach out of their places.
    fn url(&self, tenant: &str, path: &[&str], params: &[(&str, i64)]) -> Url {
        let mut url = self.base.clone();
        if let Ok(mut segments) = url.path_segments_mut() {
            segments.pop_if_empty().push(tenant).extend(path);
        }
        if !params.is_empty() {
            url.query_pairs_mut().extend_pairs(params.iter().map(|(name, value)| (name, value.to_string())));
        }
        url
    }

    /// What it says, as `{"payload": …}`. Any JSON is taken, byte for byte.
    pub(super) async fn get(
        &self,
        tenant: &str,
        path: &[&str],
        params: &[(&str, i64)],
    ) -> Result<Rendered, Problem> {
        let request = self.client.get(self.url(tenant, path, params)).timeout(self.timeout);
        let bytes = read(request, MAX_ANSWER).await.map_err(|error| failed(&error))?;
        payload(&bytes).ok_or_else(|| {
            tracing::warn!("the seller-data API answered something else than JSON");
            Problem::bad_gateway("the seller-data API answered something else than JSON")
        })
    }

    /// Changes a product. `Ok(Err(_))` where the server said no, and so changed nothing.
    pub(super) async fn put_product(&self, tenant: &str, id: &str, body: &Value) -> Change {
        self.change(self.client.put(self.url(tenant, &["products", id], &[])).json(body)).await
    }

    /// Places an order.
    pub(super) async fn post_order(&self, tenant: &str, body: &Value) -> Change {
        self.change(self.client.post(self.url(tenant, &["orders"], &[])).json(body)).await
    }

    async fn change(&self, request: reqwest::RequestBuilder) -> Change {
        match read(request.timeout(self.timeout), MAX_ANSWER).await {
            Ok(bytes) => Change::Done(serde_json::from_slice(&bytes).unwrap_or(Value::Null)),
            Err(UpstreamError::Refused(status)) if status.is_client_error() => Change::Refused(status),
            Err(error) => Change::Unknown(failed(&error)),
        }
    }
}

/// What became of a change.
pub(super) enum Change {
    /// It was made; this is the answer.
    Done(Value),
    /// It was not made.
    Refused(StatusCode),
    /// It may have been made: the answer got lost or says that something broke.
    Unknown(Problem),
}

fn failed(error: &UpstreamError) -> Problem {
    tracing::warn!(%error, "the seller-data API failed");
    Problem::bad_gateway("the seller-data API failed")
}

fn payload(json: &Bytes) -> Option<Rendered> {
    let checked: &RawValue = serde_json::from_slice(json).ok()?;
    let json = checked.get().as_bytes();
    let mut body = BytesMut::with_capacity(json.len() + 12);
    body.put_slice(b"{\"payload\":");
    body.put_slice(json);
    body.put_u8(b'}');
    Some(Rendered::new(body.freeze(), JSON))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn any_json_is_wrapped_and_nothing_else() {
        let wrapped = |text: &'static str| payload(&Bytes::from_static(text.as_bytes()));
        assert_eq!(wrapped(" [1, 2]\n").unwrap().body(), "{\"payload\":[1, 2]}");
        assert_eq!(wrapped("null").unwrap().body(), "{\"payload\":null}");
        assert_eq!(wrapped("<html>"), None);
        assert_eq!(wrapped("{}}"), None);
    }

    #[test]
    fn a_tenant_stays_in_its_segment() {
        crate::upstream::install_tls();
        let base = "http://127.0.0.1:8001/api/".parse().unwrap();
        let upstream = Upstream::new(Client::new(), base, Duration::from_secs(1));
        let url = upstream.url("../globex?x#y", &["dashboard", "trends"], &[("days", 30)]);
        assert_eq!(url.as_str(), "http://127.0.0.1:8001/api/..%2Fglobex%3Fx%23y/dashboard/trends?days=30");
    }
}
