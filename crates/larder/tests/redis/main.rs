//! The Redis tier against real servers.
#![cfg(feature = "redis")]

mod checking;
mod coherence;
mod connecting;
mod damage;
mod faults;
mod filling;
mod invalidating;
mod recovery;
mod secured;
mod support;
