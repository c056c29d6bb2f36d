//! Single flight: many misses of one key on this node make one load.
//!
//! A flight is a task of its own. Callers, the one that began it included, only wait for it: a cancelled caller
//! cancels nobody else, and the flight's end, however it comes, reaches all.

use crate::coherence::Ticket;
use crate::error::Error;
use crate::freshness::Expiry;
use crate::l1::FullKey;
use crate::limits::MAX_FLIGHTS;
use crate::nested::Hurry;
use crate::scope::{EntryScopes, ScopeHash};
use crate::simulation::{Mutant, is};
use crate::status::Tier;
use crate::sync::{AtomicBool, Mutex};
use std::any::{Any, TypeId};
use std::collections::HashMap;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;
use tokio::sync::watch;

/// How a flight ended, for each of its waiters.
pub(crate) type Landing<T> = Result<Landed<T>, Error>;

/// The value that a flight brought.
#[derive(Debug)]
pub(crate) struct Landed<T> {
    /// `None`: the origin has no such value.
    pub(crate) value: Option<Arc<T>>,
    /// Redis or origin.
    pub(crate) tier: Tier,
    pub(crate) expiry: Expiry,
    pub(crate) load: Option<Duration>,
    /// All scopes of the value, the loader's own tags included.
    pub(crate) scopes: EntryScopes,
    /// The mirror's change counter before the value was read or its load began.
    pub(crate) change: u64,
}

impl<T> Clone for Landed<T> {
    fn clone(&self) -> Self {
        Self { value: self.value.clone(), scopes: self.scopes.clone(), ..*self }
    }
}

/// A load (or read of Redis) under way.
pub(crate) struct Flight<T> {
    /// What can invalidate what it brings, as far as known before.
    pub(crate) scopes: EntryScopes,
    /// Set where it began without Redis: who may join it.
    pub(crate) ticket: Option<Ticket>,
    /// Whether it began in good state.
    pub(crate) began_good: bool,
    /// Its job's, told by loaders that join.
    pub(crate) hurry: Hurry,
    detached: AtomicBool,
    result: watch::Receiver<Option<Landing<T>>>,
}

impl<T> Flight<T> {
    pub(crate) fn new(
        scopes: EntryScopes,
        ticket: Option<Ticket>,
        began_good: bool,
        hurry: Hurry,
    ) -> (Arc<Self>, watch::Sender<Option<Landing<T>>>) {
        let (sender, result) = watch::channel(None);
        let flight = Self { scopes, ticket, began_good, hurry, detached: AtomicBool::new(false), result };
        (Arc::new(flight), sender)
    }

    /// Whether somebody who comes now may not join it any more.
    pub(crate) fn is_detached(&self) -> bool {
        self.detached.load(Ordering::Acquire)
    }

    /// Whether it has ended with an error: who comes now tries again.
    fn has_failed(&self) -> bool {
        matches!(&*self.result.borrow(), Some(Err(_)))
    }

    /// What it brought, if it has landed well.
    pub(crate) fn landed(&self) -> Option<Landed<T>> {
        self.result.borrow().as_ref()?.as_ref().ok().cloned()
    }

    /// Waits for the end. `None`: the flight was dropped on the way (the runtime is shutting down).
    pub(crate) async fn landing(&self) -> Option<Landing<T>> {
        let mut result = self.result.clone();
        let landing = result.wait_for(Option::is_some).await.ok().and_then(|landing| landing.clone());
        if landing.is_none() && is(Mutant::DropUnnoticed) {
            std::future::pending::<()>().await;
        }
        landing
    }
}

trait AnyFlight: Any + Send + Sync {
    fn detach(&self);
    fn scopes(&self) -> &[ScopeHash];
}

impl<T: Send + Sync + 'static> AnyFlight for Flight<T> {
    fn detach(&self) {
        self.detached.store(true, Ordering::Release);
    }

    fn scopes(&self) -> &[ScopeHash] {
        self.scopes.all()
    }
}

/// A key and the type that is expected under it.
type FlightKey = (FullKey, TypeId);

/// All flights of a node.
#[derive(Default)]
pub(crate) struct Flights(Mutex<HashMap<FlightKey, Arc<dyn AnyFlight>, ahash::RandomState>>);

/// What to do about a missing value.
pub(crate) enum Boarding<T> {
    /// Wait for this flight, which another began.
    Join(Arc<Flight<T>>),
    /// Begin it: the sender is the pilot's.
    Begin(Arc<Flight<T>>, watch::Sender<Option<Landing<T>>>),
    /// Too many are under way.
    Full,
}

fn joinable<T: Send + Sync + 'static>(
    found: Arc<dyn AnyFlight>,
    may_join: impl FnOnce(&Flight<T>) -> bool,
) -> Option<Arc<Flight<T>>> {
    let found: Arc<dyn Any + Send + Sync> = found;
    let flight = found.downcast::<Flight<T>>().ok()?;
    (!flight.is_detached() && !flight.has_failed() && may_join(&flight)).then_some(flight)
}

impl Flights {
    /// Joins the flight of the key, if there is one and `may_join` allows it.
    pub(crate) fn join<T: Send + Sync + 'static>(
        &self,
        key: &FullKey,
        may_join: impl FnOnce(&Flight<T>) -> bool,
    ) -> Option<Arc<Flight<T>>> {
        let key = (key.clone(), TypeId::of::<T>());
        // All under the lock, which detaching takes: who finds the lease valid must also find what was detached before.
        let flights = self.0.lock();
        joinable(Arc::clone(flights.get(&key)?), may_join)
    }

    /// Joins the flight of the key if `may_join` allows it, else begins one in its place.
    pub(crate) fn board<T: Send + Sync + 'static>(
        &self,
        key: &FullKey,
        may_join: impl FnOnce(&Flight<T>) -> bool,
        begin: impl FnOnce() -> (Arc<Flight<T>>, watch::Sender<Option<Landing<T>>>),
    ) -> Boarding<T> {
        let key = (key.clone(), TypeId::of::<T>());
        let mut flights = self.0.lock();
        if let Some(flight) = flights.get(&key).and_then(|found| joinable(Arc::clone(found), may_join)) {
            return Boarding::Join(flight);
        }
        if flights.len() >= MAX_FLIGHTS {
            return Boarding::Full;
        }
        let (flight, sender) = begin();
        flights.insert(key, Arc::clone(&flight) as _);
        Boarding::Begin(flight, sender)
    }

    /// Takes a flight that has ended off the board, unless another has taken its place.
    pub(crate) fn remove<T: Send + Sync + 'static>(&self, key: &FullKey, flight: &Arc<Flight<T>>) {
        let key = (key.clone(), TypeId::of::<T>());
        let mut flights = self.0.lock();
        let ours = flights.get(&key).is_some_and(|there| {
            let there: *const () = Arc::as_ptr(there).cast();
            std::ptr::eq(there, Arc::as_ptr(flight).cast())
        });
        if ours {
            flights.remove(&key);
        }
    }

    /// From now on nobody joins a flight of these scopes: it may bring what has just been invalidated or
    /// expired.
    pub(crate) fn detach(&self, scopes: &[ScopeHash]) {
        let scopes: Vec<_> = scopes.iter().map(|scope| scope.hard()).collect();
        if !is(Mutant::FlightsStay) {
            self.detach_where(|flight| flight.scopes().iter().any(|scope| scopes.contains(scope)));
        }
    }

    /// From now on nobody joins any flight that is under way.
    pub(crate) fn detach_all(&self) {
        self.detach_where(|_| true);
    }

    fn detach_where(&self, concerned: impl Fn(&dyn AnyFlight) -> bool) {
        self.0.lock().retain(|_, flight| {
            let concerned = concerned(&**flight);
            if concerned {
                flight.detach();
            }
            !concerned
        });
    }

    /// Keeps everybody away, as long as the answer is held.
    #[cfg(test)]
    pub(crate) fn lock(&self) -> impl Sized + '_ {
        self.0.lock()
    }

    pub(crate) fn len(&self) -> usize {
        self.0.lock().len()
    }
}
