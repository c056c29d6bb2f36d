//! Posts: the feed and what one user wrote. Their SQL and their routes.

mod model;
mod routes;
mod sql;

pub use model::{NewPost, Post};
pub(crate) use routes::routes;
