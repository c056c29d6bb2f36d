//! `/api/v1/ai/generate`: text from an OpenAI-compatible server, asked once however many want the same.

use std::time::Duration;

use axum::extract::State;
use axum::response::{IntoResponse, Response};
use larder::{Outcome, Policy, key};
use larder_http::{Audience, Body, Errors, Fields, Json, Problem, respond};
use reqwest::Client;
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};
use sha2::{Digest, Sha256};
use utoipa::ToSchema;
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;

use crate::app::App;
use crate::auth::User;
use crate::config::AiConfig;
use crate::ttl::Endpoint;

/// Models take their time: longer than a query may.
const TIMEOUT: Duration = Duration::from_secs(60);
/// The longest answer that is read, in bytes.
const MAX_ANSWER: usize = 4 << 20;

/// What to write.
#[derive(Debug, Clone, PartialEq, ToSchema)]
pub struct Generate {
    /// What the model is asked.
    #[schema(min_length = 1, max_length = 20_000)]
    pub prompt: String,
    /// How long the answer may be.
    #[schema(minimum = 1, maximum = 4096, required = false)]
    pub max_tokens: i64,
    /// From the most likely words (0) to the most surprising (2).
    #[schema(minimum = 0, maximum = 2, required = false)]
    pub temperature: f64,
}

impl Body for Generate {
    fn read(value: Value, path: &str, errors: &mut Errors) -> Option<Self> {
        let mut f = Fields::of(value, path, errors)?;
        let prompt = f.text("prompt", 1..=20_000);
        let max_tokens = f.integer_or("max_tokens", 1..=4_096, 512);
        let temperature = f.number_or("temperature", 0.0..=2.0, 0.7);
        Some(Self { prompt: prompt?, max_tokens: max_tokens?, temperature: temperature? })
    }
}

/// What was written.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, ToSchema)]
pub struct Generated {
    /// The text.
    pub text: String,
    /// Who wrote it.
    pub model: String,
    /// Whether it had been written before.
    pub cached: bool,
}

/// What is kept of an answer.
#[derive(Debug, Clone, Serialize, Deserialize)]
struct Answer {
    text: String,
    model: String,
}

/// A text generator.
#[derive(Debug, Clone)]
pub struct Generator {
    client: Client,
    config: AiConfig,
}

impl Generator {
    /// Asks with this client.
    #[must_use]
    pub fn new(client: Client, config: AiConfig) -> Self {
        Self { client, config }
    }

    /// The same for the same model and request, and for no other.
    fn digest(&self, ask: &Generate) -> String {
        let all = json!([self.config.model, ask.prompt, ask.max_tokens, ask.temperature]);
        Sha256::digest(all.to_string()).iter().map(|byte| format!("{byte:02x}")).collect()
    }

    async fn generate(&self, ask: &Generate) -> Result<Answer, Problem> {
        let url = format!("{}/chat/completions", self.config.base_url.as_str().trim_end_matches('/'));
        let body = json!({
            "model": self.config.model,
            "messages": [{ "role": "user", "content": ask.prompt }],
            "max_tokens": ask.max_tokens,
            "temperature": ask.temperature,
        });
        let mut request = self.client.post(url).json(&body).timeout(TIMEOUT);
        if let Some(key) = &self.config.api_key {
            request = request.bearer_auth(key);
        }
        let bytes = crate::upstream::read(request, MAX_ANSWER).await.map_err(|failure| {
            tracing::warn!(error = %failure, "the text generator failed");
            Problem::bad_gateway("the text generator failed")
        })?;
        let text = serde_json::from_slice::<Completion>(&bytes)
            .ok()
            .and_then(|completion| completion.choices.into_iter().next())
            .map(|choice| choice.message.content);
        match text {
            Some(text) => Ok(Answer { text, model: self.config.model.clone() }),
            None => Err(Problem::bad_gateway("the text generator answered something else than text")),
        }
    }
}

#[derive(Deserialize)]
struct Completion {
    choices: Vec<Choice>,
}

#[derive(Deserialize)]
struct Choice {
    message: Message,
}

#[derive(Deserialize)]
struct Message {
    content: String,
}

pub(crate) fn routes() -> OpenApiRouter<App> {
    OpenApiRouter::new().routes(routes!(generate))
}

/// Writes text, or finds what was written for the same request.
#[utoipa::path(
    post, path = "/api/v1/ai/generate", tag = "campaigns", operation_id = "generate",
    request_body = Generate, security(("bearer" = [])), responses((status = 200, body = Generated))
)]
async fn generate(
    State(app): State<App>,
    user: User,
    Json(ask): Json<Generate>,
) -> Result<Response, Problem> {
    let generator = app.ai.clone().ok_or_else(|| {
        Problem::unavailable("no text generator is configured: set AI_BASE_URL and AI_MODEL (and AI_API_KEY)")
    })?;
    let key = key!("ai_generation", generator.digest(&ask));
    let policy: Policy = app.policy(Endpoint::AiGeneration).clone().load_timeout(TIMEOUT);
    let load = move || async move { generator.generate(&ask).await };
    let fetched = user.cache.fetch::<Answer, _, _, _>(key, &policy, load).await?;
    let cached = matches!(fetched.status.outcome, Outcome::Hit | Outcome::Stale);
    let Answer { text, model } = (*fetched.value).clone();
    let mut response = axum::Json(Generated { text, model, cached }).into_response();
    respond::add_headers(response.headers_mut(), Audience::Private, &fetched.status);
    Ok(response)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn generator(model: &str) -> Generator {
        crate::upstream::install_tls();
        let base_url = "http://127.0.0.1:1/v1".parse().unwrap();
        Generator::new(Client::new(), AiConfig { base_url, api_key: None, model: model.into() })
    }

    #[test]
    fn every_part_of_a_request_makes_another_digest() {
        let ask = Generate { prompt: "a".into(), max_tokens: 1, temperature: 0.5 };
        let digest = generator("m").digest(&ask);
        assert_eq!(digest.len(), 64);
        assert_eq!(digest, generator("m").digest(&ask));
        assert_ne!(digest, generator("n").digest(&ask));
        assert_ne!(digest, generator("m").digest(&Generate { prompt: "b".into(), ..ask.clone() }));
        assert_ne!(digest, generator("m").digest(&Generate { max_tokens: 2, ..ask.clone() }));
        assert_ne!(digest, generator("m").digest(&Generate { temperature: 0.6, ..ask }));
    }
}
