//! Users as others see them: their SQL, their routes, and reading many of them at once.

mod model;
mod people;
mod routes;
mod sql;

pub use model::{Person, Profile};
pub(crate) use people::People;
pub(crate) use routes::routes;
