//! The multi-tenant API that `larder serve` runs: the library's worked example.
//!
//! [`start()`] opens the database, fills it with sample rows and gives back a router. Read in this order: [`cached`](mod@cached) (how
//! a read is cached), [`write`](mod@write) (how a write invalidates), then any area: its `model`, its `sql`, its `routes`.

pub mod ai;
pub mod app;
pub mod auth;
pub mod cached;
pub mod campaigns;
pub mod catalog;
pub(crate) mod choice;
pub mod config;
pub mod conversations;
pub mod dashboard;
pub mod db;
pub mod jobs;
pub mod leads;
pub mod messages;
pub mod named;
pub mod notifications;
pub mod posts;
pub(crate) mod row;
pub mod seed;
pub mod seller;
mod start;
pub mod threats;
pub mod time;
pub mod ttl;
mod upstream;
pub mod users;
mod warm;
pub mod write;

pub use config::SampleConfig;
pub use db::StartError;
pub use start::{Backend, complete, start};

/// Compiles the example of the README.
#[cfg(doctest)]
#[doc = include_str!("../../../README.md")]
struct Readme;
