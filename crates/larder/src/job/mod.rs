//! A flight's task: read Redis, get the lease, load, fill, land.
//!
//! One key or many, with Redis or without: the way is the same. Without Redis the fence is the mirror's own head; with
//! it, the lease's; while it is out of reach, a ticket.

mod fill;
mod given;
mod lease;
mod load;
mod read;
mod stamps;
mod touch;

pub(crate) use read::local_expiry;
pub(crate) use stamps::Stamps;

use crate::clock::Moment;
use crate::coherence::{Fence, Stamped};
use crate::engine::{Engine, NewEntry};
use crate::error::Error;
use crate::failures::Failure;
use crate::flight::{Flight, Landed, Landing};
use crate::l1::FullKey;
use crate::loader::Loader;
use crate::nested::Hurry;
use crate::policy::{Policy, Tiers};
use crate::remote::{Remote, WakeUp};
use crate::scope::EntryScopes;
use crate::simulation::{Mutant, is};
use crate::stats::Counters;
use crate::status::Tier;
use crate::store::{EntryName, Link, StoreError, StoreErrorKind, StoreFuture};
use crate::value::Value;
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::watch;

/// Rounds of reading, leasing and waiting in which no key lands, before those that are left are loaded without Redis.
const MAX_ROUNDS: usize = 32;

/// One key of a job, with its flight.
pub(crate) struct Pending<T: Value> {
    pub(crate) key: FullKey,
    pub(crate) scopes: EntryScopes,
    pub(crate) flight: Arc<Flight<T>>,
    pub(crate) sender: watch::Sender<Option<Landing<T>>>,
    pub(crate) counters: Arc<Counters>,
    /// The mirror's change counter when the flight began.
    pub(crate) change: u64,
    /// What was found in Redis is no value of ours: it is dropped before a lease is asked for.
    corrupt: bool,
    /// A read has told which tags it has, and it is read again with them.
    told_its_tags: bool,
    /// Where a value loaded after the last read of Redis stands.
    fence: Option<Stamped>,
    /// Set for a refresh: a value with less fresh time left than this is loaded again.
    refresh_below: Option<Duration>,
    /// What Redis has and is to be replaced.
    previous: Option<Landed<T>>,
}

impl<T: Value> Pending<T> {
    pub(crate) fn new(
        key: FullKey,
        scopes: EntryScopes,
        flight: Arc<Flight<T>>,
        sender: watch::Sender<Option<Landing<T>>>,
        counters: Arc<Counters>,
        change: u64,
    ) -> Self {
        Self {
            key,
            scopes,
            flight,
            sender,
            counters,
            change,
            corrupt: false,
            told_its_tags: false,
            fence: None,
            refresh_below: None,
            previous: None,
        }
    }

    /// Makes it a refresh of a value that has less fresh time left than this.
    pub(crate) fn refreshing(self, below: Option<Duration>) -> Self {
        Self { refresh_below: below, ..self }
    }

    pub(super) fn name(&self) -> EntryName<'_> {
        EntryName { tenant: &self.key.tenant, key: self.key.key.as_str() }
    }

    /// Lands, unless a stale value was handed out already.
    pub(super) fn land(&self, landing: Landing<T>) {
        if self.sender.borrow().is_none() {
            self.sender.send_replace(Some(landing));
        }
    }
}

/// A pending key with the right to load it.
struct Granted<T: Value> {
    pending: Pending<T>,
    token: String,
    epoch: u64,
    ver: u64,
}

impl<T: Value> Granted<T> {
    fn held(&self) -> lease::Held {
        lease::Held::new(&self.pending, &self.token)
    }
}

/// The task of one or more flights that began together.
pub(crate) struct Job<T: Value> {
    pub(crate) engine: Arc<Engine>,
    pub(crate) policy: Policy,
    pub(crate) loader: Box<dyn Loader<T>>,
    /// What Redis has may be older than what is wanted.
    pub(crate) past_redis: bool,
    /// Whether it may load without a place of its own.
    hurry: Hurry,
    /// Time this request may still spend on Redis.
    budget: Duration,
    /// Time it has waited for loads elsewhere.
    waited: Duration,
}

impl<T: Value> Job<T> {
    pub(crate) fn new(engine: Arc<Engine>, policy: Policy, loader: Box<dyn Loader<T>>, hurry: Hurry) -> Self {
        let budget = engine.options.read_timeout;
        Self { engine, policy, loader, past_redis: false, hurry, budget, waited: Duration::ZERO }
    }

    fn timeout(&self) -> Duration {
        self.policy.load_timeout.unwrap_or(self.engine.options.load_timeout)
    }

    /// Flies. Every pending key has landed when this returns.
    pub(crate) async fn run(mut self, mut pending: Vec<Pending<T>>, _leave: LeaveBoard<T>) {
        self.count_from_the_call(&mut pending);
        match self.engine.remote.clone() {
            None => self.load_alone(pending).await,
            Some(_) if self.past_redis => self.load_degraded(pending).await,
            Some(_) if self.policy.tiers == Tiers::Memory => self.load_for_memory(pending).await,
            Some(remote) => {
                pending = self.fly_shared(&remote, pending).await;
                if !pending.is_empty() {
                    self.load_degraded(pending).await;
                }
            }
        }
    }

    /// Without other nodes: the fence is the mirror's own head.
    async fn load_alone(&mut self, pending: Vec<Pending<T>>) {
        let at = self.engine.mirror.fence_alone();
        self.load_as_of(pending, at).await;
    }

    /// Past Redis, whose stream this node follows all the same: the fence is the last stamp that is known. What is stamped later
    /// is yet to come, and what was stamped before is older than the load.
    async fn load_for_memory(&mut self, pending: Vec<Pending<T>>) {
        let at = self.engine.mirror.fence_alone();
        if !self.engine.mirror.is_good() {
            return self.load_degraded(pending).await;
        }
        self.load_as_of(pending, at).await;
    }

    /// For memory alone, as of `at`; what was brought, as of its own invalidation.
    async fn load_as_of(&mut self, pending: Vec<Pending<T>>, at: Stamped) {
        let (pending, at) = match self.loader.made_at() {
            Some(made) => (self.undisturbed_here(pending, made).await, made.own),
            None => (self.without_cooling(self.without_remembered(pending)), at),
        };
        let loaded = self.load(pending.iter()).await;
        let at = if is(Mutant::FenceOfTheEnd) { self.engine.mirror.fence_alone() } else { at };
        self.land_loaded(pending, loaded, Some(Fence::Stamped(at)), at.stamp);
    }

    /// While Redis is out of reach: the value is kept for a short while at most.
    async fn load_degraded(&mut self, pending: Vec<Pending<T>>) {
        if self.loader.made_at().is_some() {
            return self.give_way(pending).await;
        }
        let pending = self.without_cooling(self.without_remembered(pending));
        let keep = self.engine.options.outage_memory_ttl.unwrap_or(self.policy.ttl);
        let mut ticket = self.engine.mirror.ticket(keep);
        let loaded = self.load(pending.iter()).await;
        if let Some(ticket) = ticket.as_mut().filter(|_| is(Mutant::DegradedFromTheEnd)) {
            ticket.until = self.engine.now().plus(keep);
        }
        self.land_loaded(pending, loaded, ticket.map(Fence::Degraded), 0);
    }

    /// Over Redis. Returns the keys for which Redis cannot be relied on, to be loaded without it.
    async fn fly_shared(&mut self, remote: &Arc<Remote>, mut pending: Vec<Pending<T>>) -> Vec<Pending<T>> {
        // A key is read, waited for and read again; one that changes hands over and over ends it here.
        let mut rounds = MAX_ROUNDS;
        while rounds > 0 {
            let before = pending.len();
            let Some(link) = remote.good_link() else { return pending };
            let (missing, mut again) = match self.read(remote, &link, pending).await {
                Ok(missing) => missing,
                Err(all) => return all,
            };
            let missing = self.without_cooling(missing);
            let wakes: Vec<WakeUp> = missing.iter().map(|one| remote.listen(one.scopes.key())).collect();
            let mut leased = lease::Leased::default();
            if !missing.is_empty() {
                match self.lease(remote, &link, missing).await {
                    Ok(answers) => leased = answers,
                    Err(mut all) => {
                        all.append(&mut again);
                        return all;
                    }
                }
            }
            if let Some(made) = self.loader.made_at() {
                leased.granted = self.undisturbed(remote, leased.granted, made).await;
            }
            if !leased.granted.is_empty() {
                self.load_granted(remote, &link, std::mem::take(&mut leased.granted)).await;
            }
            if !leased.refused.is_empty() {
                self.load_degraded(std::mem::take(&mut leased.refused)).await;
            }
            if !leased.waiting.is_empty() && !self.loader.waits_for_others() {
                self.give_way(std::mem::take(&mut leased.waiting)).await;
            }
            again.append(&mut leased.again);
            // Waiting on for the same long load is no new round.
            let is_round = !again.is_empty() || self.wait(&mut leased, &wakes).await;
            again.append(&mut leased.waiting);
            if again.is_empty() {
                return again;
            }
            rounds -= usize::from(is_round);
            if again.len() < before {
                // Of many keys, loads elsewhere end one by one. Together they are waited for as long as one load may take.
                rounds = MAX_ROUNDS;
            }
            pending = again;
        }
        pending
    }

    /// Runs a Redis call, which was given no more than what is left of the budget.
    async fn call<R>(
        &mut self,
        remote: &Remote,
        link: &Arc<dyn Link>,
        call: StoreFuture<'_, R>,
    ) -> Result<R, StoreError> {
        if self.budget.is_zero() {
            return Err(StoreError::new(StoreErrorKind::Timeout, "the request's time for Redis is spent"));
        }
        let (sent, given) = (self.engine.now(), self.budget);
        let outcome = call.await;
        self.budget = given.saturating_sub(self.engine.now().since(sent));
        // Not to have answered within a remainder says nothing about Redis.
        let hurried = given < self.engine.options.read_timeout / 4;
        if !hurried || !matches!(&outcome, Err(error) if error.kind == StoreErrorKind::Timeout) {
            remote.note(link, &outcome);
        }
        outcome
    }

    /// Lands without a value. Nobody tries again at once, also where nobody waits for this load any more.
    fn land_failed(&self, one: &Pending<T>, error: &Error) {
        if let Some(entry) = self.engine.l1.get(one.key.borrow()) {
            entry.retry_not_before(self.engine.now().plus(self.policy.retry_after));
        }
        let cooldown = self.cooldown();
        if !cooldown.is_zero() {
            self.remember_failure(one, cooldown, error);
        }
        one.land(Err(error.clone()));
    }

    /// How long nobody on this node tries again after a failure. Where memory has no entry that could say so, the pause
    /// between attempts is kept here too.
    fn cooldown(&self) -> Duration {
        let no_entry = self.policy.tiers == Tiers::Redis && !self.policy.stale_if_error.is_zero();
        let pause = if no_entry { self.policy.retry_after } else { Duration::ZERO };
        self.policy.failure_cooldown.max(pause)
    }

    /// Those whose last load has not failed a moment ago; the others have landed with its error. Not asked for a lookup
    /// that must reflect something of which this node may not have heard: that may have been the end of it.
    fn without_cooling(&self, mut pending: Vec<Pending<T>>) -> Vec<Pending<T>> {
        if self.policy.at_least.is_none() && self.loader.made_at().is_none() {
            let engine = &self.engine;
            pending.retain(|one| match engine.failures.of(&one.key, engine.now(), &engine.mirror) {
                None => true,
                Some(error) => {
                    one.land(Err(error));
                    false
                }
            });
        }
        pending
    }

    /// Those that memory does not have by now; the others have landed. Between a lookup's look at memory and the beginning of
    /// its flight another's may have come and gone. Where Redis is asked first, that tells.
    fn without_remembered(&self, mut pending: Vec<Pending<T>>) -> Vec<Pending<T>> {
        if self.policy.at_least.is_none() && self.policy.tiers != Tiers::Redis {
            pending.retain(|one| match self.remembered(one) {
                None => true,
                Some(landed) => {
                    one.land(Ok(landed));
                    false
                }
            });
        }
        pending
    }

    fn remembered(&self, one: &Pending<T>) -> Option<Landed<T>> {
        let engine = &self.engine;
        let change = engine.mirror.change();
        let (entry, expiry) = engine.valid_entry(one.key.borrow())?;
        if expiry.soft.since(engine.now()) <= one.refresh_below.unwrap_or_default() {
            return None;
        }
        let value = match &entry.value {
            None => None,
            Some(value) => Some(Arc::clone(value).downcast().ok()?),
        };
        let (load, scopes) = (Some(entry.load), entry.scopes.clone());
        Some(Landed { value, tier: Tier::Origin, expiry, load, scopes, change })
    }

    fn remember_failure(&self, one: &Pending<T>, cooldown: Duration, error: &Error) {
        let engine = &self.engine;
        let (now, scopes) = (engine.now(), one.scopes.clone());
        let failure = Failure { until: now.plus(cooldown), scopes, change: one.change, error: error.clone() };
        engine.failures.add(one.key.clone(), failure, now, &engine.mirror);
    }

    /// Puts it into memory, unless the policy keeps it out.
    fn admit(&self, entry: NewEntry, fence: Fence, ver: u64) {
        if self.policy.tiers != Tiers::Redis {
            self.engine.admit(entry, fence, ver);
        }
    }

    fn new_entry(
        &self,
        one: &Pending<T>,
        landed: &Landed<T>,
        tags: Vec<Arc<str>>,
        weight: usize,
    ) -> NewEntry {
        NewEntry {
            key: one.key.clone(),
            value: landed.value.clone().map(|value| value as _),
            scopes: landed.scopes.clone(),
            tags,
            expiry: landed.expiry,
            stale_from: Moment::FOREVER,
            load: landed.load.unwrap_or_default(),
            weight,
            counters: Arc::clone(&one.counters),
        }
    }
}

/// Takes the flights off the board when the job ends, however it ends.
pub(crate) struct LeaveBoard<T: Value> {
    engine: Arc<Engine>,
    flights: Vec<(FullKey, Arc<Flight<T>>)>,
}

impl<T: Value> LeaveBoard<T> {
    pub(crate) fn of(engine: &Arc<Engine>, pending: &[Pending<T>]) -> Self {
        let flights = pending.iter().map(|one| (one.key.clone(), Arc::clone(&one.flight))).collect();
        Self { engine: Arc::clone(engine), flights }
    }
}

impl<T: Value> Drop for LeaveBoard<T> {
    fn drop(&mut self) {
        for (key, flight) in &self.flights {
            self.engine.flights.remove(key, flight);
        }
    }
}

fn all_corrupt<T: Value>(mut pending: Vec<Pending<T>>) -> Vec<Pending<T>> {
    pending.iter_mut().for_each(|one| one.corrupt = true);
    pending
}

#[cfg(test)]
mod policies;
#[cfg(test)]
mod tests;
