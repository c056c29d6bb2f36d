//! What is asked of the generator, and what it answers.

use larder_http::{Body, Errors, Fields};
use serde::Serialize;
use serde_json::Value;
use utoipa::ToSchema;

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
