//! A Redis in memory that runs larder's Lua: single-threaded, as Redis is, with a clock of its own.

mod commands;
mod data;
mod lua;
mod reply;
pub mod request;
mod server;
mod zset;

pub use data::{Data, Stream, Value};
pub use lua::Edit;
pub use reply::Reply;
pub use request::Command;
pub use server::{Client, Identity, Server, State, Time};
pub use zset::ZSet;
