//! Threats, shared by all tenants and public to read: what they are, their SQL, their routes.

mod model;
mod routes;
mod sql;

pub use model::{
    Filter, Inserted, NewThreat, NewThreats, Severity, SeverityChart, SeverityCount, SourceChart,
    SourceCount, Threat, ThreatStats, Trend, TrendPoint,
};
pub(crate) use routes::routes;
