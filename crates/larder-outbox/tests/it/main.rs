//! The outbox on real servers.

#![allow(clippy::unwrap_used, reason = "helpers of tests")]

mod delivery;
mod relaying;
mod support;
mod triggers;
mod writing;
