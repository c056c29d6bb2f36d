#![doc = include_str!("../README.md")]

mod dirs;
mod poll;
mod ports;
pub mod postgres;
mod process;
mod program;
pub mod proxy;
pub mod redis;
#[cfg(feature = "store")]
pub mod store;
pub mod stub;
mod tls;

pub use poll::Poll;
pub use ports::free as free_port;
pub use postgres::PostgresServer;
pub use program::Program;
pub use proxy::{Fault, TcpProxy};
pub use redis::{Member, RedisCluster, RedisSentinel, RedisServer, Reply};
#[cfg(feature = "store")]
pub use store::FaultyStore;
pub use stub::{Answer, Gate, StubHttp};
pub use tls::TlsFiles;
