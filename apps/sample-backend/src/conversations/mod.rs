//! Conversations: who talks with whom. Their SQL and their routes; what is said is in [`crate::messages`].

mod model;
mod routes;
mod sql;

pub use model::{Conversation, NewConversation};
pub(crate) use routes::{lists_of, routes};
pub(crate) use sql::{hold, members, spoken};
