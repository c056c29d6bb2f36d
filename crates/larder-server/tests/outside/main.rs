//! The program seen from outside: the real binary, real servers, HTTP.
#![allow(clippy::unwrap_used, reason = "a test fails where it cannot go on")]

mod browser;
mod cache;
mod changes;
mod client;
mod cluster;
mod deployment;
mod house;
mod http2;
mod input;
mod live;
#[path = "../../../../examples/tests/run/markdown.rs"]
mod markdown;
mod metrics;
mod nginx;
mod nginx_answers;
mod nginx_live;
mod nginx_streams;
mod nginx_tls;
mod nodes;
mod openapi;
mod origin;
mod outage;
mod outbox;
mod production;
mod protocol;
mod readme;
mod routes;
mod secrets;
mod sentinel;
mod server;
mod shape;
mod shapes;
mod sqlite;
mod stack;
mod start;
mod tenants;
mod tls;
mod tools;
mod top;
mod walk;
mod warm;
mod writes;
