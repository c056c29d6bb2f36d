//! Whether the cache still takes calls.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use tokio_util::sync::CancellationToken;

/// Told once that the cache is being shut down. Every lookup asks, on all threads: so that is a flag beside the token, whose
/// own state is behind a lock.
#[derive(Clone, Default)]
pub(crate) struct Closing {
    closed: Arc<AtomicBool>,
    token: CancellationToken,
}

impl Closing {
    pub(crate) fn cancel(&self) {
        self.closed.store(true, Ordering::Release);
        self.token.cancel();
    }

    pub(crate) fn is_cancelled(&self) -> bool {
        self.closed.load(Ordering::Acquire)
    }

    /// Until it is told.
    pub(crate) async fn cancelled(&self) {
        self.token.cancelled().await;
    }
}
