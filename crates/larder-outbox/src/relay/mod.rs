//! The relay: publishes rows that nobody else publishes, and deletes those that are in the log.
//!
//! It has no cursor. Ids are given before transactions commit, so a row may become visible after one with a higher id was
//! read; a reader that remembers how far it came never sees it. What is in the table is to be published, and what was
//! published is deleted: that needs no memory.

mod deliver;
mod link;
mod plan;

use crate::cell::Cell;
use crate::limits::{
    COUNT_EVERY, LOCK_EVERY, MAX_BACKOFF, MAX_COUNTED_ROWS, MAX_DEAD_ROWS, MAX_PAGE_BYTES, MAX_PAGE_ROWS,
    MAX_PAGES, MAX_STALLED_TENANTS, MAX_TENANTS_AT_ONCE, POLL_BUSY, POLL_IDLE,
};
use crate::row::{Row, Whose};
use crate::session::ConnectionPool;
use crate::shared::Shared;
use crate::stats::{Backlog, Counters};
use deliver::{Delivered, Fate, deliver};
use futures_util::StreamExt;
use futures_util::future::BoxFuture;
use futures_util::stream::FuturesUnordered;
use link::Link;
use plan::plan;
use std::collections::HashSet;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::{Duration, Instant};

pub use link::Lock;

/// The first pause after a failure of the database.
const FIRST_BACKOFF: Duration = Duration::from_millis(100);

/// See the module. What is under way outlives a lost connection.
pub(crate) struct Relay {
    shared: Arc<Shared>,
    link: Link,
    /// Rows that are being published.
    active: FuturesUnordered<BoxFuture<'static, Delivered>>,
    /// Those that wait for more than their turn.
    stalled: FuturesUnordered<BoxFuture<'static, Delivered>>,
    /// The tenants of both.
    busy: HashSet<Whose>,
    /// To be set aside, with the reason.
    dead: Vec<(i64, String)>,
    /// Chosen by the user; else by whether there is something to do.
    every: Option<Duration>,
    poll: Duration,
    next_look: Instant,
    next_count: Instant,
    failures: u32,
    warned: bool,
}

impl Relay {
    pub(crate) fn new(shared: Arc<Shared>, pool: Box<dyn ConnectionPool>, lock: Option<Lock>) -> Self {
        let now = Instant::now();
        Self {
            shared,
            link: Link::new(pool, lock),
            active: FuturesUnordered::new(),
            stalled: FuturesUnordered::new(),
            busy: HashSet::new(),
            dead: Vec::new(),
            every: None,
            poll: POLL_BUSY,
            next_look: now,
            next_count: now,
            failures: 0,
            warned: false,
        }
    }

    /// Looks that often instead of as often as there is something to do.
    pub(crate) fn polling(mut self, every: Option<Duration>) -> Self {
        self.every = every;
        self
    }

    /// Works until it is stopped.
    pub(crate) async fn run(mut self) {
        let stop = self.shared.stop.clone();
        let shared = Arc::clone(&self.shared);
        while !stop.is_cancelled() {
            let wait = self.work().await;
            tokio::select! {
                () = stop.cancelled() => {}
                () = shared.woken.notified(), if self.failures == 0 => {}
                () = tokio::time::sleep(wait) => {}
                Some(delivered) = self.active.next() => self.absorb(delivered),
                Some(delivered) = self.stalled.next() => self.absorb(delivered),
            }
            self.absorb_ready();
        }
        // What is in the log by now need not be published again by the next one.
        self.absorb_ready();
        if let Err(error) = self.clear_away().await {
            tracing::debug!(target: "larder::outbox", %error, "rows that were published are left");
        }
        self.link.release().await;
        self.shared.counters.relays.store(false, Ordering::Relaxed);
    }

    /// Does what there is to do; how long to wait for the next time, if nothing happens before.
    async fn work(&mut self) -> Duration {
        match self.step().await {
            Ok(()) => {
                if std::mem::take(&mut self.failures) > 0 {
                    tracing::info!(target: "larder::outbox", "the database of the outbox is back");
                }
                self.next_look.min(self.next_count).saturating_duration_since(Instant::now())
            }
            Err(error) => {
                if self.failures == 0 {
                    tracing::warn!(target: "larder::outbox", %error, "the outbox can't be relayed; its rows wait");
                }
                Counters::add(&self.shared.counters.failures, 1);
                self.shared.counters.relays.store(false, Ordering::Relaxed);
                self.link.lose();
                let pause = FIRST_BACKOFF.saturating_mul(1 << self.failures.min(10)).min(MAX_BACKOFF);
                self.failures += 1;
                pause
            }
        }
    }

    async fn step(&mut self) -> Result<(), sqlx::Error> {
        self.clear_away().await?;
        let asked = self.shared.take_look();
        let now = Instant::now();
        if asked || now >= self.next_look {
            let leads = self.link.leads().await?;
            let was = self.shared.counters.relays.swap(leads, Ordering::Relaxed);
            // After a failure it is told that the database is back.
            if leads && !was && self.failures == 0 {
                tracing::info!(target: "larder::outbox", "this process relays the outbox now");
            }
            let found = leads && self.look().await?;
            self.poll = if found { POLL_BUSY } else { (self.poll * 2).min(POLL_IDLE) };
            let poll = self.every.unwrap_or(self.poll);
            // Who does not relay asks for the lock all the same.
            self.next_look = Instant::now() + if leads { poll } else { poll.min(LOCK_EVERY) };
        }
        if now >= self.next_count {
            self.count().await?;
            self.next_count = now + COUNT_EVERY;
        }
        Ok(())
    }

    /// Reads rows and begins to publish them. Whether there were any.
    async fn look(&mut self) -> Result<bool, sqlx::Error> {
        let mut skipped: Vec<Whose> = self.busy.iter().cloned().collect();
        let mut found = false;
        for _ in 0..MAX_PAGES {
            let room = MAX_TENANTS_AT_ONCE.saturating_sub(self.active.len());
            if room == 0 || self.stalled.len() >= MAX_STALLED_TENANTS {
                break;
            }
            let (rows, is_all) = self.read(&skipped).await?;
            found |= !rows.is_empty();
            let shared = &self.shared;
            let plan = plan(rows, |id| shared.is_known(id), room);
            let is_progress = !plan.ready.is_empty() || !plan.held.is_empty() || !plan.nobodys.is_empty();
            for (id, why) in plan.nobodys {
                self.dead.push((id, why));
            }
            skipped.extend(plan.held);
            for (whose, rows) in plan.ready {
                skipped.push(whose.clone());
                self.busy.insert(whose.clone());
                let work = deliver(self.shared.cache.clone(), whose, rows);
                self.active.push(Box::pin(work));
            }
            if is_all || !is_progress {
                break;
            }
            self.clear_away().await?;
        }
        Ok(found)
    }

    /// The first rows of others than these, and whether these are all.
    async fn read(&mut self, skipped: &[Whose]) -> Result<(Vec<Row>, bool), sqlx::Error> {
        let names: Vec<&str> = skipped
            .iter()
            .map(|whose| match whose {
                Whose::Tenant(name) => name.as_str(),
                Whose::Shared => "",
            })
            .collect();
        let names = serde_json::to_string(&names).expect("names are JSON");
        let statements = self.link.open().await?;
        let arguments = vec![Some(names), Some(MAX_PAGE_BYTES.to_string())];
        let page = self.link.ask(statements.read, arguments).await?;
        let cells: Vec<Vec<Cell>> =
            page.into_iter().map(|row| row.into_iter().map(statements.open).collect()).collect();
        let bytes: usize =
            cells.iter().flatten().flatten().map(|text| text.as_ref().map_or(0, String::len)).sum();
        let is_all = cells.len() < MAX_PAGE_ROWS && bytes < MAX_PAGE_BYTES;
        let strange =
            || sqlx::Error::Decode("a row of larder_outbox has other columns than it should".into());
        let rows =
            cells.into_iter().map(|cells| Row::of(cells).ok_or_else(strange)).collect::<Result<_, _>>()?;
        Ok((rows, is_all))
    }

    fn absorb(&mut self, delivered: Delivered) {
        let Delivered { whose, fates, rest } = delivered;
        for (id, fate) in fates {
            match fate {
                Fate::Done => {
                    self.shared.done(id);
                    Counters::add(&self.shared.counters.relayed, 1);
                }
                Fate::Dead(why) => self.dead.push((id, why)),
                Fate::Left => {}
            }
        }
        match rest {
            Some(rest) => self.stalled.push(rest),
            None => {
                self.busy.remove(&whose);
            }
        }
        let stalled = u64::try_from(self.stalled.len()).unwrap_or(u64::MAX);
        self.shared.counters.stalled.store(stalled, Ordering::Relaxed);
        // There may be more rows of this tenant, and there is room for others.
        self.shared.look();
    }

    fn absorb_ready(&mut self) {
        use futures_util::FutureExt;
        while let Some(Some(delivered)) = self.active.next().now_or_never() {
            self.absorb(delivered);
        }
        while let Some(Some(delivered)) = self.stalled.next().now_or_never() {
            self.absorb(delivered);
        }
    }

    /// Deletes rows that are in the log, by whomever they were published, and sets those aside that can't be.
    async fn clear_away(&mut self) -> Result<(), sqlx::Error> {
        if self.dead.is_empty() && self.shared.to_delete().is_empty() {
            return Ok(());
        }
        let statements = self.link.open().await?;
        while let Some((id, why)) = self.dead.last().cloned() {
            tracing::error!(
                target: "larder::outbox", id, reason = why,
                "a row of the outbox can't be published; it is in larder_outbox_dead"
            );
            self.link.ask(statements.bury, vec![Some(id.to_string()), Some(why)]).await?;
            self.link.ask(statements.forget, vec![Some(MAX_DEAD_ROWS.to_string())]).await?;
            Counters::add(&self.shared.counters.set_aside, 1);
            self.dead.pop();
            self.shared.done(id);
        }
        loop {
            let some = self.shared.to_delete();
            if some.is_empty() {
                return Ok(());
            }
            let ids = serde_json::to_string(&some).expect("numbers are JSON");
            self.link.ask(statements.delete, vec![Some(ids)]).await?;
            self.shared.deleted(&some);
        }
    }

    async fn count(&mut self) -> Result<(), sqlx::Error> {
        let is_settled = self.link.is_one_session().await? || self.link.lease_instead();
        if !is_settled && !std::mem::replace(&mut self.warned, true) {
            tracing::warn!(
                target: "larder::outbox",
                "the outbox is relayed through a pooler in transaction mode, where its lock means nothing: give it a direct \
                 connection, or Lock::Lease"
            );
        }
        let statement = self.link.open().await?.count;
        let row = self.link.ask(statement, vec![Some((MAX_COUNTED_ROWS + 1).to_string())]).await?.pop();
        let numbers: Vec<Option<i64>> =
            row.unwrap_or_default().into_iter().map(|cell| cell.and_then(|text| text.parse().ok())).collect();
        let number = |at: usize| numbers.get(at).copied().flatten().map(|n| u64::try_from(n).unwrap_or(0));
        *self.shared.counters.backlog.lock() = Some(Backlog {
            at: Instant::now(),
            waiting: number(0).unwrap_or(0),
            oldest: number(1).map(Duration::from_millis),
            dead: number(2).unwrap_or(0),
        });
        Ok(())
    }
}
