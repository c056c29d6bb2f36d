//! The outbox of a process that has a cache: it publishes what the process writes, and relays what others wrote.

use crate::changes::Changes;
use crate::limits::{DIRECT_GRACE, FAREWELL, MAX_GRACE};
use crate::relay::{Lock, Relay};
use crate::session::ConnectionPool;
use crate::shared::Shared;
use crate::stats::OutboxStats;
use larder::{Cache, Tenant};
use parking_lot::Mutex;
use std::fmt;
use std::sync::Arc;
use std::time::Duration;
use tokio::task::JoinHandle;
use tokio_util::sync::DropGuard;

/// The outbox. Cheap to clone; it works until the last clone is dropped or [`Outbox::shutdown`].
#[derive(Clone)]
pub struct Outbox {
    pub(crate) shared: Arc<Shared>,
    running: Arc<Running>,
}

/// The tasks, which end with this.
struct Running {
    tasks: Mutex<Vec<JoinHandle<()>>>,
    _stop: DropGuard,
}

impl fmt::Debug for Outbox {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Outbox").field("stats", &self.stats()).finish_non_exhaustive()
    }
}

impl Outbox {
    /// An outbox whose events go through this cache. The pool must be able to write; on SQLite give the one that the
    /// application writes by. On PostgreSQL one connection is taken out of it for good.
    pub fn builder(cache: &Cache, pool: impl ConnectionPool) -> OutboxBuilder {
        OutboxBuilder {
            cache: cache.clone(),
            pool: Box::new(pool),
            lock: None,
            grace: DIRECT_GRACE,
            poll: None,
            #[cfg(feature = "postgres")]
            listen: None,
        }
    }

    /// The events of one transaction that writes for this tenant.
    pub fn changes(&self, tenant: &Tenant) -> Changes {
        Changes::new(self, tenant)
    }

    /// Has the relay look for rows now, if it runs in this process: to be called after the commit of rows that
    /// [`emit`](crate::emit()) or a trigger wrote. Without it they are found within 250 ms.
    pub fn nudge(&self) {
        self.shared.look();
    }

    /// What it did and what waits.
    #[must_use]
    pub fn stats(&self) -> OutboxStats {
        self.shared.counters.snapshot()
    }

    /// Waits for a second for what is being published, gives the lock back and stops. Rows that are left are relayed by
    /// another process, or by the next one. To be called before the cache is shut down and the pool is closed.
    ///
    /// # Cancel safety
    /// Cancelled, it may be called again.
    pub async fn shutdown(&self) {
        self.shared.tasks.close();
        let _ = tokio::time::timeout(FAREWELL, self.shared.tasks.wait()).await;
        self.shared.stop.cancel();
        let tasks = std::mem::take(&mut *self.running.tasks.lock());
        for task in tasks {
            let _ = task.await;
        }
    }
}

/// How an [`Outbox`] works, from [`Outbox::builder`].
#[derive(Debug)]
#[must_use = "nothing is relayed before it is started"]
pub struct OutboxBuilder {
    cache: Cache,
    pool: Box<dyn ConnectionPool>,
    lock: Option<Lock>,
    grace: Duration,
    poll: Option<Duration>,
    #[cfg(feature = "postgres")]
    listen: Option<sqlx::PgPool>,
}

impl OutboxBuilder {
    /// What decides which process relays. Default: [`Lock::Advisory`] on PostgreSQL, unless a pooler in transaction mode is noticed;
    /// [`Lock::Lease`] there, and on SQLite, which has no other.
    pub fn lock(mut self, lock: Lock) -> Self {
        self.lock = Some(lock);
        self
    }

    /// How long a process has for publishing what it wrote before the relay does: the time for which an event is late whose
    /// writer died right after the commit. Default 2 s, an hour at most: what is longer counts as that.
    pub fn grace(mut self, grace: Duration) -> Self {
        self.grace = grace.min(MAX_GRACE);
        self
    }

    /// How often the relay looks for rows where nothing wakes it, instead of every 20 ms while there is something to do and every
    /// 250 ms while there is not. It is how late a row is found that nobody told of, that of a writer that died among them.
    pub fn poll(mut self, every: Duration) -> Self {
        self.poll = Some(every);
        self
    }

    /// PostgreSQL: also wakes the relay by `LISTEN`, on a connection of this pool, which must lead to the server itself and
    /// not to a pooler. See [`wake`](crate::wake()) and [`Trigger::notify`](crate::Trigger::notify).
    #[cfg(feature = "postgres")]
    pub fn listen(mut self, pool: sqlx::PgPool) -> Self {
        self.listen = Some(pool);
        self
    }

    /// Starts it. The database need not be in reach.
    ///
    /// # Panics
    /// Outside of a Tokio runtime.
    #[must_use = "it stops when it is dropped"]
    pub fn start(self) -> Outbox {
        let shared = Arc::new(Shared::new(self.cache, self.grace));
        let relay = Relay::new(Arc::clone(&shared), self.pool, self.lock).polling(self.poll);
        let mut tasks = vec![tokio::spawn(relay.run())];
        #[cfg(feature = "postgres")]
        if let Some(pool) = self.listen {
            let (shared, stop) = (Arc::clone(&shared), shared.stop.clone());
            tasks.push(tokio::spawn(async move {
                stop.run_until_cancelled(crate::wake::listen(shared, pool)).await;
            }));
        }
        let running = Running {
            tasks: Mutex::new(std::mem::take(&mut tasks)),
            _stop: shared.stop.clone().drop_guard(),
        };
        Outbox { shared, running: Arc::new(running) }
    }
}
