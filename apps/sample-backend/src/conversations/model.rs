//! What a conversation is.

use larder_http::{Body, Errors, Fields};
use serde::Serialize;
use serde_json::Value;
use utoipa::ToSchema;
use uuid::Uuid;

use crate::named::Named;
use crate::time::Time;

/// The most that can be invited at once. What is said is told to each of them.
const MAX_INVITED: usize = 50;

/// A conversation.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, ToSchema)]
pub struct Conversation {
    /// Its id.
    pub id: Uuid,
    /// Who takes part; the caller does.
    pub participants: Vec<Named>,
    /// What was said last; null where nothing was.
    #[schema(required)]
    pub last_message: Option<String>,
    /// When that was, or when the conversation was started.
    pub updated_at: Time,
}

/// A conversation to be started by the caller, who takes part in any case.
#[derive(Debug, Clone, PartialEq, Eq, ToSchema)]
pub struct NewConversation {
    /// The others: users of the same tenant.
    #[schema(min_items = 1, max_items = 50)]
    pub participant_ids: Vec<Uuid>,
}

impl NewConversation {
    /// The name of one of the ids in an error.
    pub(super) fn field(index: usize) -> String {
        format!("participant_ids[{index}]")
    }
}

impl Body for NewConversation {
    fn read(value: Value, path: &str, errors: &mut Errors) -> Option<Self> {
        let mut f = Fields::of(value, path, errors)?;
        let ids = f.array("participant_ids", 1..=MAX_INVITED)?;
        let id = |(index, value): (usize, Value)| match value.as_str().map(Uuid::try_parse) {
            Some(Ok(id)) => Some(id),
            _ => f.fault(&Self::field(index), "must be an id"),
        };
        // All of them, so that every fault is noted.
        let ids: Vec<Option<Uuid>> = ids.into_iter().enumerate().map(id).collect();
        Some(Self { participant_ids: ids.into_iter().collect::<Option<_>>()? })
    }
}
