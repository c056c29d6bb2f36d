//! The client of the text generator.

use std::time::Duration;

use larder_http::Problem;
use reqwest::Client;
use serde::{Deserialize, Serialize};
use serde_json::json;
use sha2::{Digest, Sha256};

use super::model::Generate;
use crate::config::AiConfig;

/// Models take their time: longer than a query may.
pub(super) const TIMEOUT: Duration = Duration::from_secs(60);
/// The longest answer that is read, in bytes.
const MAX_ANSWER: usize = 4 << 20;

/// What is kept of an answer.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(super) struct Answer {
    pub(super) text: String,
    pub(super) model: String,
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
    pub(super) fn digest(&self, ask: &Generate) -> String {
        let all = json!([self.config.model, ask.prompt, ask.max_tokens, ask.temperature]);
        Sha256::digest(all.to_string()).iter().map(|byte| format!("{byte:02x}")).collect()
    }

    pub(super) async fn generate(&self, ask: &Generate) -> Result<Answer, Problem> {
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
