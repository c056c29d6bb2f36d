//! For unit tests: a server in memory, and nodes whose coherence task goes step by step.

mod chance;
mod gate;
mod node;
mod server;

pub(crate) use chance::Chance;
pub(crate) use gate::Gate;
pub(crate) use node::{LEASE, Node, Row, policy};
pub(crate) use server::{Call, Fault, Server, Snapshot};
