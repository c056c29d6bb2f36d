//! Where faults play: when they end, and who takes note of them.

use super::judge::Judge;
use parking_lot::{Condvar, Mutex};
use std::fmt::Display;
use std::sync::Arc;
use std::time::{Duration, Instant};
use tokio::runtime::Handle;

/// Where faults play.
pub(super) struct Scene {
    pub(super) judge: Arc<Judge>,
    /// For what is async in the kit.
    pub(super) runtime: Handle,
    over: Mutex<bool>,
    ended: Condvar,
}

impl Scene {
    /// A scene on this runtime.
    pub(super) fn new(judge: Arc<Judge>, runtime: Handle) -> Arc<Self> {
        Arc::new(Self { judge, runtime, over: Mutex::new(false), ended: Condvar::new() })
    }

    /// No more faults.
    pub(super) fn end(&self) {
        *self.over.lock() = true;
        self.ended.notify_all();
    }

    /// Lets time pass, until the scene ends. Whether it has.
    pub(super) fn wait(&self, time: Duration) -> bool {
        let until = Instant::now() + time;
        let mut over = self.over.lock();
        while !*over && !self.ended.wait_until(&mut over, until).timed_out() {}
        *over
    }

    /// Lets some milliseconds pass.
    pub(super) fn last(&self, ms: u64) {
        self.wait(Duration::from_millis(ms));
    }

    /// All servers are away for some time; `back` brings them back.
    pub(super) fn away(&self, lasts: u64, back: impl FnOnce()) {
        self.judge.down();
        self.last(lasts);
        self.judge.up();
        back();
    }

    /// A server may be replaced, until what is returned is dropped: whoever reads from it then notices within this time.
    pub(super) fn replacing(&self, within: Duration) -> Replacing<'_> {
        self.judge.replacing();
        Replacing { judge: &self.judge, within }
    }

    /// Something is about to go wrong, until what is returned is dropped.
    pub(super) fn fault(&self, kind: &'static str, what: impl Display) -> Fault<'_> {
        let what = what.to_string();
        self.judge.fault(kind, &what);
        Fault { scene: self, kind, what }
    }
}

/// A server may be replaced.
#[must_use = "it lasts until this is dropped"]
pub(super) struct Replacing<'a> {
    judge: &'a Judge,
    within: Duration,
}

impl Drop for Replacing<'_> {
    fn drop(&mut self) {
        self.judge.replaced(self.within);
    }
}

/// Something goes wrong.
#[must_use = "it lasts until this is dropped"]
pub(super) struct Fault<'a> {
    scene: &'a Scene,
    kind: &'static str,
    what: String,
}

impl Drop for Fault<'_> {
    fn drop(&mut self) {
        self.scene.judge.over(self.kind, &self.what);
    }
}
