//! The kit against the real servers.
#![allow(clippy::unwrap_used, reason = "a test fails where it cannot go on")]

mod cluster;
mod faults;
mod orphans;
mod postgres;
mod program;
mod proxy;
mod redis;
mod sentinel;
mod store;
mod stub;
