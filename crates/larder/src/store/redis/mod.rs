//! Redis and Valkey as the tier that all nodes share: one server with one bucket, or a Cluster with 16.
//!
//! | file | holds |
//! | --- | --- |
//! | `config`, `url` | where the server is, checked without connecting |
//! | `keys` | every key and channel name |
//! | `dial`, `wire` | one connection: socket, TLS, log-in; commands with deadlines |
//! | `sentinel` | which server is the primary, where Sentinels know |
//! | `cluster/` | which primary of a Cluster has a bucket, and the connections that buckets share |
//! | `identity`, `probe`, `generation`, `connect` | who the server is, what it can do, and the making of a link |
//! | `health` | whether a link lives, and what is pushed on it |
//! | `scripts`, `link`, `read` | the atomic steps (Lua), and the calls of [`Link`](super::Link) |
//! | `log_link` | the calls of [`LogLink`](super::log::LogLink) |
//! | `error`, `reply`, `msgpack` | reading answers and telling failures apart |
//! | `check`, `hint` | `larder check`; what to do about a failure |
//!
//! What is absent on purpose: reconnection inside a link (a link that broke is dead, and a new one is checked from the
//! beginning), loading a script again when the server forgot it (it is another process then), and any command that
//! walks keys, except `SCAN` for the administrator's listing.

mod check;
mod cluster;
mod config;
mod connect;
mod dial;
mod error;
mod generation;
mod health;
mod hint;
mod identity;
mod keys;
mod link;
mod log_link;
mod msgpack;
mod probe;
mod read;
mod replicas;
mod reply;
mod scripts;
mod sentinel;
mod url;
mod wire;

pub use check::{CheckStep, check};
pub use config::{RedisConfig, TlsFiles};
pub use connect::RedisConnector;
pub use keys::{KeyName, MAX_NAMESPACE, MAX_PLAIN_KEY, RawKey, check_namespace, parse_raw_key};

#[cfg(feature = "simulation")]
pub(crate) use health::fuzz as fuzz_message;
#[cfg(feature = "simulation")]
pub(crate) use link::fuzz as fuzz_reply;

/// The hash tags of the buckets of a Cluster.
#[cfg(feature = "simulation")]
pub const CLUSTER_TAGS: &[&str] = &cluster::slot::NAMES;
