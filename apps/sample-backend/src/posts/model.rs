//! What a post is.

use larder_http::{Body, Errors, Fields};
use serde::Serialize;
use serde_json::Value;
use utoipa::ToSchema;
use uuid::Uuid;

use crate::named::Named;
use crate::time::Time;

/// A post.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, ToSchema)]
pub struct Post {
    /// Its id.
    pub id: Uuid,
    /// Who wrote it.
    pub author: Named,
    /// What it says.
    pub body: String,
    /// When it was written.
    pub created_at: Time,
}

/// A post to be written by the caller.
#[derive(Debug, Clone, PartialEq, Eq, ToSchema)]
pub struct NewPost {
    /// What it says.
    #[schema(min_length = 1, max_length = 5_000)]
    pub body: String,
}

impl Body for NewPost {
    fn read(value: Value, path: &str, errors: &mut Errors) -> Option<Self> {
        let mut f = Fields::of(value, path, errors)?;
        Some(Self { body: f.text("body", 1..=5_000)? })
    }
}
