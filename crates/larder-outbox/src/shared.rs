//! What the handles of an outbox, their writes and the relay have in common.

use crate::limits::{MAX_DIRECT, MAX_PAGE_ROWS};
use crate::stats::Counters;
use larder::Cache;
use parking_lot::Mutex;
use std::collections::{HashMap, HashSet};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;
use tokio::sync::{Notify, watch};
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

/// See the module.
#[derive(Debug)]
pub(crate) struct Shared {
    pub(crate) cache: Cache,
    pub(crate) grace: Duration,
    pub(crate) counters: Counters,
    /// Something is to be deleted or to be looked for.
    pub(crate) woken: Notify,
    /// Rows may be there that the relay has not seen.
    look: AtomicBool,
    rows: Mutex<Rows>,
    /// Publications of this process.
    pub(crate) tasks: TaskTracker,
    pub(crate) stop: CancellationToken,
}

/// Rows of which this process knows what becomes of them.
#[derive(Debug, Default)]
struct Rows {
    /// This process publishes them; whether their turn has come.
    claimed: HashMap<i64, watch::Receiver<bool>>,
    /// They are in the log, and are to be deleted.
    done: HashSet<i64>,
}

/// Rows that were committed before, and whose turn to be published has not come yet.
#[derive(Debug, Default)]
pub(crate) struct Predecessors(Vec<watch::Receiver<bool>>);

impl Shared {
    pub(crate) fn new(cache: Cache, grace: Duration) -> Self {
        Self {
            cache,
            grace,
            counters: Counters::default(),
            woken: Notify::new(),
            look: AtomicBool::new(true),
            rows: Mutex::default(),
            tasks: TaskTracker::new(),
            stop: CancellationToken::new(),
        }
    }

    /// Has the relay look into the table.
    pub(crate) fn look(&self) {
        self.look.store(true, Ordering::Release);
        self.woken.notify_one();
    }

    /// Whether it was to look.
    pub(crate) fn take_look(&self) -> bool {
        self.look.swap(false, Ordering::AcqRel)
    }

    /// A claim on a row that this process will publish; `None` where too many are claimed.
    pub(crate) fn claim(self: &Arc<Self>, id: i64) -> Option<Claim> {
        let mut rows = self.rows.lock();
        (rows.claimed.len() < MAX_DIRECT).then(|| {
            let (turn, has_come) = watch::channel(false);
            rows.claimed.insert(id, has_come);
            Claim { shared: Arc::clone(self), id, turn }
        })
    }

    /// What rows that were committed before are to be waited for; `None` if somebody else has to publish one of them.
    pub(crate) fn predecessors(&self, older: impl IntoIterator<Item = i64>) -> Option<Predecessors> {
        let rows = self.rows.lock();
        let mut waiting = Vec::new();
        for id in older {
            match rows.claimed.get(&id) {
                Some(turn) if *turn.borrow() => {}
                Some(turn) => waiting.push(turn.clone()),
                None if rows.done.contains(&id) => {}
                None => return None,
            }
        }
        Some(Predecessors(waiting))
    }

    /// Whether the relay is to leave the row alone: this process is about to publish it, or has done so.
    pub(crate) fn is_known(&self, id: i64) -> bool {
        let rows = self.rows.lock();
        rows.claimed.contains_key(&id) || rows.done.contains(&id)
    }

    /// The row is in the log.
    pub(crate) fn done(&self, id: i64) {
        self.rows.lock().done.insert(id);
        self.woken.notify_one();
    }

    /// Rows that are in the log, as many as are deleted at once.
    pub(crate) fn to_delete(&self) -> Vec<i64> {
        self.rows.lock().done.iter().copied().take(MAX_PAGE_ROWS).collect()
    }

    /// They have been deleted.
    pub(crate) fn deleted(&self, ids: &[i64]) {
        let mut rows = self.rows.lock();
        ids.iter().for_each(|id| {
            rows.done.remove(id);
        });
    }
}

impl Predecessors {
    /// Adds those of another event of the same transaction.
    pub(crate) fn and(&mut self, others: Self) {
        self.0.extend(others.0);
    }

    /// Waits until the turn of all of them has come. False where one was given up, or did not come in time: then it is the
    /// relay's, and so is what follows it.
    pub(crate) async fn have_come(self, within: Duration) -> bool {
        let all = async {
            for mut turn in self.0 {
                if turn.wait_for(|has_come| *has_come).await.is_err() {
                    return false;
                }
            }
            true
        };
        tokio::time::timeout(within, all).await.unwrap_or(false)
    }
}

/// As long as it lives the relay of this process leaves the row alone.
#[derive(Debug)]
pub(crate) struct Claim {
    shared: Arc<Shared>,
    id: i64,
    turn: watch::Sender<bool>,
}

impl Claim {
    /// It has its place in the tenant's line: others may follow.
    pub(crate) fn begun(&self) {
        self.turn.send_replace(true);
    }

    /// It is in the log.
    pub(crate) fn done(self) {
        self.shared.done(self.id);
        Counters::add(&self.shared.counters.direct, 1);
    }
}

impl Drop for Claim {
    fn drop(&mut self) {
        self.shared.rows.lock().claimed.remove(&self.id);
    }
}
