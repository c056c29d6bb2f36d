//! Traces for a collector, where the program was built with the feature `otel` and one is named.

#[cfg(feature = "otel")]
mod export;
#[cfg(not(feature = "otel"))]
mod nothing;

#[cfg(feature = "otel")]
pub(crate) use export::{Export, answered, begun, start};
#[cfg(not(feature = "otel"))]
pub(crate) use nothing::{Export, answered, begun, start};

use tracing_subscriber::{Layer, Registry};

/// What has to pass the filter of the log where spans are exported: those of requests, loads and calls of Redis.
pub(crate) const SPANS: &str =
    ",larder_server::http::every=info,larder::load=debug,larder::redis::call=debug";

/// A layer of whatever kind.
pub(crate) type AnyLayer = Box<dyn Layer<Registry> + Send + Sync>;
