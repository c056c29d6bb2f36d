//! The multi-tenant API that `larder serve` runs: the library's worked example.

pub mod auth;
pub(crate) mod choice;
pub mod config;
pub mod db;
pub mod seed;
pub mod time;
