//! The Redis tier against real servers.
#![cfg(feature = "redis")]
#![allow(clippy::unwrap_used, reason = "helpers of tests fail the test")]

mod barrier;
mod checking;
mod cluster;
mod coherence;
mod connecting;
mod damage;
mod faults;
mod filling;
mod invalidating;
mod recovery;
mod secured;
mod sentinel;
mod support;
