//! Loads within loads: a loader may use the cache itself, and must not wait for a place among all loads while it holds
//! one, or as many of them as there are places would wait for each other.

use std::future::Future;
use std::sync::Arc;
use tokio::sync::SetOnce;

tokio::task_local! {
    /// Set while a loader runs, for all that it awaits itself; not for tasks that it spawns.
    static IN_A_LOAD: ();
}

/// Runs a loader, so that what it looks up knows of it.
pub(crate) async fn loading<F: Future>(loader: F) -> F::Output {
    IN_A_LOAD.scope((), loader).await
}

/// Whether a loader asks, which has a place already.
pub(crate) fn is_within_a_load() -> bool {
    IN_A_LOAD.try_with(|()| ()).is_ok()
}

/// Tells the job of a flight that a loader waits for it: then it needs no place of its own, for its waiter's is idle
/// meanwhile.
#[derive(Clone, Default)]
pub(crate) struct Hurry(Arc<SetOnce<()>>);

impl Hurry {
    /// For the lookup of this moment: said already if a loader makes it.
    pub(crate) fn of_caller() -> Self {
        let hurry = Self::default();
        if is_within_a_load() {
            hurry.up();
        }
        hurry
    }

    pub(crate) fn up(&self) {
        // Said twice is said.
        let _ = self.0.set(());
    }

    pub(crate) async fn said(&self) {
        self.0.wait().await;
    }
}
