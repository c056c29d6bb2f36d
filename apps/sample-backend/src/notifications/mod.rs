//! Notifications: what a user has been told. Their SQL and their routes.

mod model;
mod routes;
mod sql;

pub use model::Notification;
pub(crate) use routes::{lists_of, routes};
pub(crate) use sql::create;
