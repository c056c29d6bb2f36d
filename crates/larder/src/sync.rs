//! Locks, atomics and tasks between whose steps others run: what the rules of the protocol are about.
//!
//! They are the usual ones. In tests there are others beside them, shuttle's, which decides at each of their operations who
//! goes on: what a test of [`interleavings`](crate::interleavings) makes is of these, and everything else of the usual.

#[cfg(test)]
mod checked;
#[cfg(test)]
pub(crate) use checked::{AtomicBool, AtomicU64, Mutex, RwLock, spawn};
#[cfg(not(test))]
pub(crate) use usual::{AtomicBool, AtomicU64, Mutex, RwLock, spawn};

#[cfg(not(test))]
mod usual {
    use crate::simulation;
    pub(crate) use parking_lot::{Mutex, RwLock};
    pub(crate) use std::sync::atomic::{AtomicBool, AtomicU64};
    use tokio::task::JoinHandle;
    use tokio_util::task::TaskTracker;

    /// Begins a task, one of those that are waited for when the cache is shut down.
    pub(crate) fn spawn<F>(tasks: &TaskTracker, work: F) -> JoinHandle<F::Output>
    where
        F: Future<Output: Send + 'static> + Send + 'static,
    {
        tasks.spawn(simulation::task(work))
    }
}
