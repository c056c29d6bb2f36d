//! The signals that end the server.

use std::future::Future;

use tokio::signal::unix::{SignalKind, signal};

use crate::failure::Failure;

/// Ends at SIGINT or SIGTERM. They are caught from this call on.
pub(super) fn caught() -> Result<impl Future<Output = ()> + Send, Failure> {
    let catch =
        |kind| signal(kind).map_err(|error| Failure::new(format!("signals can't be caught: {error}")));
    let (mut interrupt, mut terminate) = (catch(SignalKind::interrupt())?, catch(SignalKind::terminate())?);
    Ok(async move {
        let name = tokio::select! {
            _ = interrupt.recv() => "SIGINT",
            _ = terminate.recv() => "SIGTERM",
        };
        tracing::info!(signal = name, "shutting down; requests in flight are finished");
    })
}
