//! Messages: what is said in a conversation, seen by those who take part in it. Their SQL and their routes.

mod kept;
mod model;
mod routes;
mod sql;

pub use model::{Message, NewMessage};
pub(crate) use routes::routes;
