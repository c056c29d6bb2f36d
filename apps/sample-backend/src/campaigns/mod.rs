//! Campaigns: what they are, their SQL, their routes.

mod model;
mod routes;
mod sql;

pub(crate) use model::MAX_CENTS;
pub use model::{Campaign, Channel, Filter, NewCampaign, Status};
pub(crate) use routes::routes;
pub(crate) use sql::exists;
