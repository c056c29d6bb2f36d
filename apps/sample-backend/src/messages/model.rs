//! What a message is.

use larder_http::{Body, Errors, Fields};
use serde::Serialize;
use serde_json::Value;
use utoipa::ToSchema;
use uuid::Uuid;

use crate::time::Time;

/// A message.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, ToSchema)]
pub struct Message {
    /// Its id.
    pub id: Uuid,
    /// Where it was said.
    pub conversation_id: Uuid,
    /// Who said it.
    pub sender_id: Uuid,
    /// What was said.
    pub body: String,
    /// When.
    pub created_at: Time,
}

/// A message to be sent by the caller.
#[derive(Debug, Clone, PartialEq, Eq, ToSchema)]
pub struct NewMessage {
    /// What to say.
    #[schema(min_length = 1, max_length = 2_000)]
    pub body: String,
}

impl Body for NewMessage {
    fn read(value: Value, path: &str, errors: &mut Errors) -> Option<Self> {
        let mut f = Fields::of(value, path, errors)?;
        Some(Self { body: f.text("body", 1..=2_000)? })
    }
}
