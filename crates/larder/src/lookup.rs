//! A lookup: memory, then the flight of the key.

use crate::caught_up::Reach;
use crate::clock::Moment;
use crate::engine::Engine;
use crate::error::{Error, ErrorKind};
use crate::flight::{Boarding, Flight, Landed};
use crate::freshness::{Expiry, Freshness, Windows, freshness};
use crate::job::{Job, LeaveBoard, Pending};
use crate::key::Key;
use crate::l1::{Entry, FullKey, KeyRef};
use crate::loader::{Loader, Nothing};
use crate::log;
use crate::nested::{Hurry, is_within_a_load};
use crate::policy::{Policy, Tiers};
use crate::scope::EntryScopes;
use crate::simulation::{Mutant, Place, is, pause};
use crate::status::{Outcome, Status, Tier};
use crate::sync;
use crate::value::Value;
use std::sync::Arc;
use std::time::Duration;
use tokio::time::Instant;
use tracing::{Instrument, Span};
use waiting::Waited;

mod waiting;

/// A value, or the knowledge that there is none, and how it was come by.
pub(crate) type Answer<T> = (Option<Arc<T>>, Status);

/// How often a lookup joins flights that then turn out to have begun too early for it.
const MAX_JOINS: usize = 3;

/// What memory has to say about a key.
pub(crate) enum Remembered<T> {
    /// Serve this. Set if this lookup is to load ahead of expiry: below how much fresh time left a value is replaced.
    Fresh(Answer<T>, Option<Duration>),
    /// Serve this, and see to it that it is loaded again; not now if that has just failed.
    Stale(Answer<T>, bool),
    /// Load; this is what may be served if that fails.
    Fallback(Option<Arc<Entry>>),
}

impl Engine {
    /// Looks into memory. The way of a hit: no allocation but the returned handle, no lock but the shard's.
    pub(crate) fn recall<T: Value>(&self, key: KeyRef<'_>, windows: Windows) -> Remembered<T> {
        let Some(entry) = self.l1.get(key) else { return Remembered::Fallback(None) };
        let Some(stale_from) = self.mirror.standing(&entry.judged, entry.scopes.subject(key.key)) else {
            return Remembered::Fallback(None);
        };
        let now = self.now();
        match freshness(entry.expiry.stale_from(stale_from), windows, now) {
            Freshness::Fresh => match answer::<T>(&entry, Outcome::Hit, now) {
                Some(answer) => {
                    entry.count(&answer.1);
                    log::lookup(key, &answer.1);
                    let eager = windows.eager > 0.0;
                    Remembered::Fresh(answer, eager.then(|| entry.is_due_early(windows.eager, now)).flatten())
                }
                None => Remembered::Fallback(None),
            },
            Freshness::StaleUsable => match answer::<T>(&entry, Outcome::Stale, now) {
                Some(answer) => {
                    entry.count(&answer.1);
                    log::lookup(key, &answer.1);
                    Remembered::Stale(answer, entry.may_retry(now))
                }
                None => Remembered::Fallback(None),
            },
            Freshness::StaleIfError => Remembered::Fallback(Some(entry)),
            Freshness::Expired => {
                if now >= entry.expiry.hard {
                    self.l1.remove_this(key, &entry);
                }
                Remembered::Fallback(None)
            }
        }
    }

    /// Looks up a key and loads it where no tier has it.
    pub(crate) async fn get_or_load<T: Value>(
        self: &Arc<Self>,
        tenant: &Arc<str>,
        key: Key,
        policy: &Policy,
        loader: impl FnOnce() -> Box<dyn Loader<T>> + Send,
    ) -> Result<Answer<T>, Error> {
        self.check_open()?;
        // Also for a hit: what contradicts itself is to be refused when it is tried, not when memory has lost the value.
        policy.check(self.options.load_timeout)?;
        let hits = Windows { eager: policy.eager_refresh, ..Windows::default() };
        if self.options.enabled
            && policy.at_least.is_none()
            && policy.tiers != Tiers::Redis
            && let Remembered::Fresh(answer, ahead) = self.recall(KeyRef { tenant, key: &key }, hits)
        {
            if let Some(below) = ahead {
                self.load_ahead(KeyRef { tenant, key: &key }, tenant, policy, below, loader());
            } else if self.auditor.is_some() {
                self.audit_hit(tenant, &key, policy, loader);
            }
            return Ok(answer);
        }
        let mut loader = Some(loader);
        let mut loader = move || (loader.take().expect("one key is loaded at most once"))();
        let full = [FullKey { tenant: Arc::clone(tenant), key }];
        let answers = self.get_or_load_many(&full, policy, &mut loader).await?;
        Ok(answers.into_iter().next().expect("one answer a key"))
    }

    /// Looks up keys and loads those that no tier has: one loader, so one loader call, for all that are loaded here.
    pub(crate) async fn get_or_load_many<T: Value>(
        self: &Arc<Self>,
        keys: &[FullKey],
        policy: &Policy,
        loader: &mut (dyn FnMut() -> Box<dyn Loader<T>> + Send),
    ) -> Result<Vec<Answer<T>>, Error> {
        self.check_open()?;
        policy.check(self.options.load_timeout)?;
        if !self.options.enabled {
            return Box::pin(self.bypass(keys, policy, loader())).await;
        }
        let mut answers: Vec<Option<Answer<T>>> = Vec::with_capacity(keys.len());
        let (mut stale, mut ahead) = (Vec::new(), Vec::new());
        let reach = self.reach(policy.at_least.as_ref()).await;
        for (index, full) in keys.iter().enumerate() {
            if reach != Reach::Memory || policy.tiers == Tiers::Redis {
                answers.push(None);
                continue;
            }
            answers.push(match self.recall(full.borrow(), Engine::windows(policy)) {
                Remembered::Fresh(answer, due) => {
                    ahead.extend(due.map(|below| (index, below)));
                    Some(answer)
                }
                Remembered::Stale(answer, load) => {
                    stale.extend(load.then_some(index));
                    Some(answer)
                }
                Remembered::Fallback(entry) => entry.and_then(|entry| self.not_again_yet(&entry)),
            });
        }
        if !stale.is_empty() {
            self.refresh(stale.into_iter().map(|index| &keys[index]), policy, None, loader);
        }
        if let Some(below) = ahead.iter().map(|(_, below)| *below).max() {
            self.refresh(ahead.iter().map(|(index, _)| &keys[*index]), policy, Some(below), loader);
        }
        if answers.iter().any(Option::is_none) {
            self.fly(keys, &mut answers, policy, reach, loader).await?;
        }
        Ok(answers.into_iter().map(|answer| answer.expect("every key has been answered")).collect())
    }

    /// The stale value, if a load failed a moment ago and is not to be tried again yet.
    fn not_again_yet<T: Value>(&self, entry: &Arc<Entry>) -> Option<Answer<T>> {
        let now = self.now();
        if entry.may_retry(now) {
            return None;
        }
        let answer = answer::<T>(entry, Outcome::Stale, now)?;
        entry.count(&answer.1);
        Some(answer)
    }

    /// Joins or begins the flights of all keys without an answer, and waits for landings that are good enough for a
    /// lookup that began now.
    async fn fly<T: Value>(
        self: &Arc<Self>,
        keys: &[FullKey],
        answers: &mut [Option<Answer<T>>],
        policy: &Policy,
        reach: Reach,
        loader: &mut (dyn FnMut() -> Box<dyn Loader<T>> + Send),
    ) -> Result<(), Error> {
        let (began, caught_up) = (Instant::now(), reach == Reach::Memory);
        for attempt in 0..=MAX_JOINS {
            // The last attempt joins nobody: its own load is good enough by itself.
            let may_join = |flight: &Flight<T>| caught_up && attempt < MAX_JOINS && self.may_join(flight);
            let missing = (0..keys.len()).filter(|index| answers[*index].is_none());
            let Boarded { seats, full } =
                self.board(keys, missing, policy, may_join, loader, Purpose::of_lookup(reach));
            for index in full {
                answers[index] = Some(self.fall_back(&keys[index], policy, too_many(), caught_up).await?);
            }
            for Seat { index, flight, joined, asked_at } in seats {
                let key = &keys[index];
                let landing = match self.wait_for(&flight, key, policy, (began, caught_up)).await {
                    Waited::Landed(Some(landing)) => landing,
                    Waited::Landed(None) if joined => continue,
                    Waited::Landed(None) => return Err(closed()),
                    Waited::Instead(answer) => {
                        answers[index] = Some(answer);
                        continue;
                    }
                    Waited::TooLong(error) => Err(error),
                };
                // It may have begun before an invalidation that this lookup came after, of a tag that only its loader
                // knew.
                let too_old = |landed: &Landed<T>| {
                    landed.change < asked_at
                        && !self.mirror.unchanged_since(landed.scopes.all(), landed.change)
                };
                // It may have landed a stale value that only those who began it accept.
                let too_stale = |landed: &Landed<T>| {
                    let freshness = freshness(landed.expiry, Engine::windows(policy), self.now());
                    landed.tier == Tier::Redis && freshness > Freshness::StaleUsable
                };
                if joined
                    && !is(Mutant::JoinedUnchecked)
                    && landing.as_ref().is_ok_and(|landed| too_old(landed) || too_stale(landed))
                {
                    continue;
                }
                let counters = self.stats.counters(&key.tenant, key.key.first_segment());
                let answer = match answer_landed(landing, joined, self.now(), &counters) {
                    Ok(answer) => answer,
                    Err(error) => self.fall_back(key, policy, error, caught_up).await?,
                };
                self.l1.note(key.borrow(), answer.1.outcome);
                log::lookup(key.borrow(), &answer.1);
                answers[index] = Some(answer);
            }
            if answers.iter().all(Option::is_some) {
                return Ok(());
            }
        }
        Err(closed())
    }

    /// Joins or begins a flight a key; those that are begun share one task and one loader.
    pub(crate) fn board<T: Value>(
        self: &Arc<Self>,
        keys: &[FullKey],
        wanted: impl Iterator<Item = usize>,
        policy: &Policy,
        may_join: impl Fn(&Flight<T>) -> bool,
        loader: &mut (dyn FnMut() -> Box<dyn Loader<T>> + Send),
        purpose: Purpose,
    ) -> Boarded<T> {
        let mut boarded = Boarded { seats: Vec::new(), full: Vec::new() };
        let mut begun = Vec::new();
        let hurry = Hurry::of_caller();
        let arrived = self.mirror.change();
        pause(Place::Boarding);
        for index in wanted {
            let key = &keys[index];
            let mut join = |flight: Arc<Flight<T>>| {
                if is_within_a_load() {
                    flight.hurry.up();
                }
                let early = if is(Mutant::AskedBeforeTheLease) { arrived } else { u64::MAX };
                let asked_at = self.mirror.change().min(early);
                boarded.seats.push(Seat { index, flight, joined: true, asked_at });
            };
            // Most callers join, and who joins needs no scopes: hashing them is worth a second look where nobody flies.
            if let Some(flight) = self.flights.join(key, &may_join) {
                join(flight);
                continue;
            }
            let scopes = scopes_of(key, policy);
            match self.flights.board(key, &may_join, || self.take_off(&scopes, &hurry)) {
                Boarding::Full => boarded.full.push(index),
                Boarding::Join(flight) => join(flight),
                Boarding::Begin(flight, sender) => {
                    let counters = self.stats.counters(&key.tenant, key.key.first_segment());
                    let (seat, change) = (Arc::clone(&flight), self.mirror.change());
                    let pending = Pending::new(key.clone(), scopes, flight, sender, counters, change);
                    begun.push(pending.refreshing(purpose.refresh_below));
                    boarded.seats.push(Seat { index, flight: seat, joined: false, asked_at: change });
                }
            }
        }
        if !begun.is_empty() {
            // Before the loader is made: that runs code of the caller's, which may panic.
            let leave = LeaveBoard::of(self, &begun);
            let mut job = Job::new(Arc::clone(self), policy.clone(), loader(), hurry);
            job.past_redis = purpose.past_redis;
            sync::spawn(&self.tasks, job.run(begun, leave).instrument(purpose.within));
        }
        boarded
    }

    /// Loads behind what was just served, unless that is under way, or (if `below` is given) some node has done so: unless
    /// more than that of the fresh time is left.
    fn refresh<'a, T: Value>(
        self: &Arc<Self>,
        keys: impl Iterator<Item = &'a FullKey>,
        policy: &Policy,
        below: Option<Duration>,
        loader: &mut (dyn FnMut() -> Box<dyn Loader<T>> + Send),
    ) {
        let keys: Vec<FullKey> = keys.cloned().collect();
        // Too many flights: the next lookup tries again.
        let may_join = |flight: &Flight<T>| self.may_join(flight);
        let _ = self.board(&keys, 0..keys.len(), policy, may_join, loader, Purpose::behind(below));
    }

    /// Loads a key again unless some node has done so: unless more than `below` of its fresh time is left.
    pub(crate) async fn reload<T: Value>(
        self: &Arc<Self>,
        full: FullKey,
        policy: &Policy,
        below: Duration,
        loader: Box<dyn Loader<T>>,
    ) -> Result<(), Error> {
        self.check_open()?;
        policy.check(self.options.load_timeout)?;
        if !self.options.enabled {
            return Ok(());
        }
        // What memory holds is up to date for this question only where no other node could have loaded since.
        let in_memory = policy.tiers != Tiers::Redis;
        let left = |(_, expiry): (Arc<Entry>, Expiry)| expiry.soft.since(self.now());
        if in_memory && self.valid_entry(full.borrow()).is_some_and(|found| left(found) > below) {
            return Ok(());
        }
        let mut loader = Some(loader);
        let mut loader = move || loader.take().expect("one job for one key");
        let may_join = |flight: &Flight<T>| self.may_join(flight);
        let keys = std::slice::from_ref(&full);
        let purpose = Purpose::asked(Some(below));
        self.board(keys, 0..1, policy, may_join, &mut loader, purpose).landed().await
    }

    /// Lengthens the life of a value without a load, in a task of its own.
    pub(crate) async fn touch(self: &Arc<Self>, full: FullKey, policy: &Policy) -> Result<bool, Error> {
        self.check_open()?;
        policy.check(self.options.load_timeout)?;
        if !self.options.enabled {
            return Ok(false);
        }
        let (loader, hurry) = (Box::new(Nothing), Hurry::default());
        let job = Job::<()>::new(Arc::clone(self), policy.clone(), loader, hurry);
        sync::spawn(&self.tasks, job.touch(full).in_current_span()).await.map_err(|_| closed())
    }

    /// Whether somebody who asks now may wait for this flight.
    ///
    /// In good state every invalidation that a lookup must see has detached the flights it concerns. Without Redis,
    /// what a flight brings is as good as an entry kept from its beginning, and has the same bound.
    pub(crate) fn may_join<T>(&self, flight: &Flight<T>) -> bool {
        if is(Mutant::JoinAny) {
            return true;
        }
        if self.mirror.is_good() {
            return flight.began_good;
        }
        flight.ticket.as_ref().is_some_and(|ticket| self.mirror.honours(ticket, flight.scopes.all()))
    }

    pub(crate) fn take_off<T>(&self, scopes: &EntryScopes, hurry: &Hurry) -> NewFlight<T> {
        let keep = self.options.outage_memory_ttl.unwrap_or(crate::limits::MAX_KEEP);
        let ticket = self.mirror.ticket(keep);
        let began_good = ticket.is_none();
        Flight::new(scopes.clone(), ticket, began_good, hurry.clone())
    }

    /// With the cache switched off: every lookup loads, in a task of its own all the same.
    async fn bypass<T: Value>(
        self: &Arc<Self>,
        keys: &[FullKey],
        policy: &Policy,
        loader: Box<dyn Loader<T>>,
    ) -> Result<Vec<Answer<T>>, Error> {
        let counters: Vec<_> =
            keys.iter().map(|full| self.stats.counters(&full.tenant, full.key.first_segment())).collect();
        let mut job = Job::new(Arc::clone(self), policy.clone(), loader, Hurry::of_caller());
        let (counted, keys) =
            (counters.clone(), keys.iter().map(|full| full.key.clone()).collect::<Vec<_>>());
        let work = async move { job.load_uncached(&keys, &counted).await };
        let loaded = sync::spawn(&self.tasks, work.in_current_span()).await;
        let (values, took) = loaded.map_err(|_| closed())??;
        let status = Status {
            outcome: Outcome::Bypass,
            tier: Tier::Origin,
            coalesced: false,
            age: Duration::ZERO,
            ttl: Duration::ZERO,
            load: Some(took),
        };
        counters.iter().for_each(|counters| counters.count(&status));
        Ok(values.into_iter().map(|value| (value, status)).collect())
    }
}

/// What a flight is begun for.
pub(crate) struct Purpose {
    /// A value with less fresh time left than this is loaded again; `None`: what is not fresh.
    refresh_below: Option<Duration>,
    /// What Redis has may be older than what is wanted.
    past_redis: bool,
    /// The span that it is a part of.
    within: Span,
}

impl Purpose {
    /// Whoever asks waits for it.
    pub(crate) fn asked(refresh_below: Option<Duration>) -> Self {
        Self { refresh_below, past_redis: false, within: Span::current() }
    }

    /// A lookup waits for it that has to reach so far.
    fn of_lookup(reach: Reach) -> Self {
        Self { past_redis: reach == Reach::Origin, ..Self::asked(None) }
    }

    /// Nobody waits for it. It is no part of what the asker does, whose span would last as long.
    fn behind(refresh_below: Option<Duration>) -> Self {
        Self { refresh_below, past_redis: false, within: Span::none() }
    }
}

/// Places for all keys, as far as there were any.
pub(crate) struct Boarded<T> {
    pub(crate) seats: Vec<Seat<T>>,
    /// Keys for which too many flights were under way.
    full: Vec<usize>,
}

impl<T: Value> Boarded<T> {
    /// Waits for all; the first error.
    pub(crate) async fn landed(self) -> Result<(), Error> {
        for seat in self.seats {
            seat.flight.landing().await.ok_or_else(closed)??;
        }
        if self.full.is_empty() { Ok(()) } else { Err(too_many()) }
    }
}

/// A place in a flight.
pub(crate) struct Seat<T> {
    pub(crate) index: usize,
    pub(crate) flight: Arc<Flight<T>>,
    /// Whether another lookup began it.
    pub(crate) joined: bool,
    /// The mirror's change counter, after it was seen that the lease is valid: what was applied before that must be reflected.
    asked_at: u64,
}

type NewFlight<T> = (Arc<Flight<T>>, tokio::sync::watch::Sender<Option<crate::flight::Landing<T>>>);

pub(crate) fn scopes_of(full: &FullKey, policy: &Policy) -> EntryScopes {
    let mut scopes = EntryScopes::of(&full.tenant, &full.key);
    scopes.add_tags(&full.tenant, policy.tags.iter().map(|tag| &**tag));
    scopes
}

/// The entry's value with its status; `None` if it is of another type.
pub(crate) fn answer<T: Value>(entry: &Arc<Entry>, outcome: Outcome, now: Moment) -> Option<Answer<T>> {
    let value = match &entry.value {
        None => None,
        Some(value) => Some(Arc::clone(value).downcast::<T>().ok()?),
    };
    let status = Status {
        outcome,
        tier: Tier::Memory,
        coalesced: false,
        age: now.since(entry.expiry.made),
        ttl: if outcome == Outcome::Hit { entry.expiry.soft.since(now) } else { Duration::ZERO },
        load: None,
    };
    Some((value, status))
}

pub(crate) fn answer_landed<T>(
    landing: Result<Landed<T>, Error>,
    coalesced: bool,
    now: Moment,
    counters: &crate::stats::Counters,
) -> Result<Answer<T>, Error> {
    let landed = landing?;
    let outcome = match landed.tier {
        Tier::Redis if now < landed.expiry.soft => Outcome::Hit,
        Tier::Redis => Outcome::Stale,
        Tier::Memory | Tier::Origin => Outcome::Miss,
    };
    let status = Status {
        outcome,
        tier: landed.tier,
        coalesced,
        age: now.since(landed.expiry.made),
        ttl: landed.expiry.soft.since(now),
        load: landed.load,
    };
    counters.count(&status);
    Ok((landed.value, status))
}

pub(crate) fn too_many() -> Error {
    let why = format!("more than {} loads are under way on this node", crate::limits::MAX_FLIGHTS);
    Error::new(ErrorKind::TooManyLoads, why)
}

pub(crate) fn closed() -> Error {
    Error::new(ErrorKind::Closed, "the cache is shutting down")
}

#[cfg(test)]
mod tests;
#[cfg(test)]
mod unlocked;
