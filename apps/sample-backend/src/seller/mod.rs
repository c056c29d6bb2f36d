//! The seller dashboard: its data comes from another server over HTTP, by default from the built-in one.

mod api;
mod routes;
mod upstream;

pub(crate) use api::serve;
pub(crate) use routes::routes;
pub use upstream::Upstream;
