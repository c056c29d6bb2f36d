//! What is said on the wire: PROTOCOL.md.

mod close;
mod code;
mod command;
mod frame;
mod room;

pub use close::CloseCode;
pub(crate) use code::ErrorCode;
pub(crate) use command::{Auth, Command, Message, Publish};
pub(crate) use frame::{Frame, Hello, Reset, json};
/// A place in a log.
pub(crate) use larder::Position as Place;
pub(crate) use room::{EVERYBODY, Rights, USER, is_name, of_user};

/// The sub-protocol of this version.
pub const SUBPROTOCOL: &str = "larder.v1";
