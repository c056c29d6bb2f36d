//! Over real sockets: what PROTOCOL.md promises.
#![allow(clippy::unwrap_used, reason = "a test fails where it cannot go on")]

mod bad_input;
mod crowd;
mod ending;
mod nodes;
mod presence;
mod recovery;
mod sign_in;
mod streams;
mod support;
mod telling;
