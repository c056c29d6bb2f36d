//! Where calls meet faults, and wait until a test lets them go.

use super::server::{Call, Fault};
use parking_lot::Mutex;
use std::sync::Arc;
use tokio::sync::Semaphore;

/// A place where a call waits.
#[derive(Clone, Debug)]
pub(crate) struct Gate {
    reached: Arc<Semaphore>,
    open: Arc<Semaphore>,
}

impl Default for Gate {
    fn default() -> Self {
        Self { reached: Arc::new(Semaphore::new(0)), open: Arc::new(Semaphore::new(0)) }
    }
}

impl Gate {
    /// Nobody waits here.
    pub(crate) fn opened() -> Self {
        let gate = Self::default();
        gate.open.add_permits(Semaphore::MAX_PERMITS);
        gate
    }

    /// Tells that it is reached, and waits until it is opened.
    pub(crate) async fn pass(&self) {
        self.reached.add_permits(1);
        self.open.acquire().await.unwrap().forget();
    }

    /// Until a call waits here.
    pub(crate) async fn reached(&self) {
        self.reached.acquire().await.unwrap().forget();
    }

    pub(crate) fn open(&self) {
        self.open.add_permits(1);
    }
}

pub(super) struct Rule {
    pub(super) call: Call,
    pub(super) times: usize,
    pub(super) fault: Fault,
}

/// Faults to come.
#[derive(Default)]
pub(super) struct Rules(Mutex<Vec<Rule>>);

impl Rules {
    pub(super) fn add(&self, rule: Rule) {
        self.0.lock().push(rule);
    }

    pub(super) fn clear(&self) {
        self.0.lock().clear();
    }

    /// What the next call of this kind meets.
    pub(super) fn take(&self, call: Call) -> Option<Fault> {
        let mut rules = self.0.lock();
        let at = rules.iter().position(|rule| rule.call == call)?;
        rules[at].times -= 1;
        let fault = rules[at].fault.clone();
        if rules[at].times == 0 {
            rules.remove(at);
        }
        Some(fault)
    }
}
