//! Campaigns: what they are, their SQL, their routes.

mod model;
mod routes;
mod sql;

pub(crate) use model::MAX_CENTS;
pub use model::{Campaign, CampaignStatus, Channel, Filter, NewCampaign};
pub(crate) use routes::routes;
pub(crate) use sql::exists;
