//! The proof that larder keeps its promises: several nodes of the real engine in one process, on a simulated network with a
//! simulated Redis that runs the real scripts, all following from one number; and a checker of what they did.

pub mod chance;
pub mod command;
pub mod executor;
pub mod mutation;
pub mod network;
pub mod node;
pub mod redis;
pub mod schedules;
pub mod simulation;
pub mod soak;
pub mod trace;
