//! What a [`StubHttp`](super::StubHttp) answers.

use bytes::Bytes;
use http_body_util::Full;
use hyper::header::CONTENT_TYPE;
use hyper::{Response, StatusCode};
use std::time::Duration;
use tokio::sync::watch;

/// One answer: a status and a body, perhaps late.
#[derive(Clone, Debug)]
#[must_use]
pub struct Answer {
    status: StatusCode,
    body: Bytes,
    content_type: &'static str,
    delay: Duration,
    gate: Option<Gate>,
}

impl Answer {
    /// 200 and JSON.
    pub fn json(body: impl Into<serde_json::Value>) -> Self {
        Self { body: body.into().to_string().into(), content_type: "application/json", ..Self::status(200) }
    }

    /// A status and nothing else.
    ///
    /// # Panics
    /// Where it is no HTTP status.
    pub fn status(status: u16) -> Self {
        let status = StatusCode::from_u16(status).unwrap_or_else(|_| panic!("{status} is no HTTP status"));
        Self { status, body: Bytes::new(), content_type: "text/plain", delay: Duration::ZERO, gate: None }
    }

    /// 200 and bytes of any kind: bad JSON, for instance.
    pub fn raw(content_type: &'static str, body: impl Into<Bytes>) -> Self {
        Self { body: body.into(), content_type, ..Self::status(200) }
    }

    /// What an OpenAI-compatible server answers on `/v1/chat/completions`.
    pub fn chat(text: &str) -> Self {
        Self::json(serde_json::json!({
            "id": "chatcmpl-stub",
            "object": "chat.completion",
            "created": 0,
            "model": "stub",
            "choices": [{ "index": 0, "finish_reason": "stop", "message": { "role": "assistant", "content": text } }],
            "usage": { "prompt_tokens": 1, "completion_tokens": 1, "total_tokens": 2 },
        }))
    }

    /// The same with another status.
    ///
    /// # Panics
    /// Where it is no HTTP status.
    pub fn with_status(self, status: u16) -> Self {
        Self { status: Self::status(status).status, ..self }
    }

    /// Comes this much later.
    pub fn after(self, delay: Duration) -> Self {
        Self { delay, ..self }
    }

    /// Comes when the gate is opened: a test decides the order instead of guessing a delay.
    pub fn behind(self, gate: &Gate) -> Self {
        Self { gate: Some(gate.clone()), ..self }
    }

    pub(super) async fn give(self) -> Response<Full<Bytes>> {
        if let Some(gate) = &self.gate {
            gate.passed().await;
        }
        if !self.delay.is_zero() {
            tokio::time::sleep(self.delay).await;
        }
        let mut response = Response::new(Full::new(self.body));
        *response.status_mut() = self.status;
        response
            .headers_mut()
            .insert(CONTENT_TYPE, hyper::header::HeaderValue::from_static(self.content_type));
        response
    }
}

/// Holds answers back until it is opened; it stays open.
#[derive(Clone, Debug, Default)]
pub struct Gate(watch::Sender<bool>);

impl Gate {
    /// A closed one.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// Lets through whoever waits and whoever comes.
    pub fn open(&self) {
        self.0.send_replace(true);
    }

    /// Waits until it is open.
    ///
    /// # Cancel safety
    /// Safe: it only looks.
    pub async fn passed(&self) {
        let mut open = self.0.subscribe();
        open.wait_for(|open| *open).await.expect("self holds the sender");
    }
}
