//! What a notification is.

use serde::Serialize;
use utoipa::ToSchema;
use uuid::Uuid;

use crate::time::Time;

/// Something that a user was told.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, ToSchema)]
pub struct Notification {
    /// Its id.
    pub id: Uuid,
    /// What it is about, in one word.
    pub kind: String,
    /// What it says.
    pub text: String,
    /// Whether the user has seen it.
    pub read: bool,
    /// When the user was told.
    pub created_at: Time,
}
