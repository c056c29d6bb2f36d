//! Leads: those that a campaign has reached. Their SQL, their routes, their import from CSV.

mod csv;
mod model;
mod routes;
mod spool;
mod sql;

pub use csv::{Rejected, Report};
pub use model::{Lead, LeadStatus, NewLead};
pub(crate) use routes::routes;
pub(crate) use spool::check as check_room;
