//! Live notifications of what happens to a [larder](larder) cache: WebSocket and server-sent events, in order, exactly as far as a
//! client has missed them.
//!
//! ```no_run
//! use larder_live::{Claims, Live, TokenError};
//!
//! # async fn example(cache: larder::Cache) -> Result<(), Box<dyn std::error::Error>> {
//! // Who a token belongs to is the application's business.
//! let verify = |token: &str| match token {
//!     "secret" => Ok(Claims::new("acme", "42", 4_102_444_800)),
//!     _ => Err(TokenError::Invalid),
//! };
//! // What all nodes know and nobody else.
//! let secret = std::env::var("LIVE_SECRET")?;
//! let live = Live::builder(cache.clone(), verify).secret(secret).allow_origin(|origin| origin == "https://app.example").build()?;
//! let routes: axum::Router = live.streams().merge(live.requests());
//!
//! // What is published reaches every connection of its tenant, on every node, after the caches have dropped what it invalidates.
//! let event = larder::Event::new("campaign.created").data(serde_json::json!({"id": 17})).invalidates([larder::tag("campaigns")]);
//! cache.tenant("acme").publish(event).await?;
//! # Ok(()) }
//! ```
//!
//! What is said on the wire stands in `PROTOCOL.md`:
#![doc = include_str!("../PROTOCOL.md")]

mod claims;
mod client;
mod config;
mod drain;
mod http;
mod hub;
mod keys;
pub mod limits;
mod link;
mod live;
mod metrics;
mod protocol;
mod queue;
mod quota;
mod random;
mod rate;
mod seats;

pub use claims::{Claims, TokenError, Verify};
pub use client::CLIENT;
pub use config::{Config, ConfigError};
#[cfg(feature = "conformance")]
pub use http::echo;
pub use http::{ClientAddress, Hangup, PATHS, Refused, StreamExecutor, Wire};
pub use hub::Kick;
pub use live::{AllowOrigin, Builder, Live};
pub use metrics::Numbers;
pub use protocol::{CloseCode, SUBPROTOCOL};
