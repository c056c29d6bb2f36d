//! Jobs: their SQL and their routes.

mod model;
mod routes;
mod sql;

pub use model::{Job, JobsStats, NewJob};
pub(crate) use routes::routes;
