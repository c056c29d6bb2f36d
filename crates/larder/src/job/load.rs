//! Loading: the loader's run, and what becomes of its value.

use super::{Job, Pending};
use crate::clock::Moment;
use crate::coherence::Fence;
use crate::engine::Engine;
use crate::error::{BoxError, Error, ErrorKind};
use crate::flight::Landed;
use crate::freshness::Expiry;
use crate::key::Key;
use crate::limits::{MAX_KEEP, MAX_TAGS};
use crate::loader::Loaded;
use crate::nested::loading;
use crate::scope::{EntryScopes, check_tag};
use crate::stats::Counters;
use crate::status::Tier;
use crate::value::{Value, measure};
use futures_util::FutureExt;
use std::panic::AssertUnwindSafe;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

/// What a loader brought, when it ended, and how long it took.
pub(super) type Loads<T> = (Vec<Loaded<T>>, Moment, Duration);

/// A value with all that is decided about it.
pub(super) struct Prepared<T> {
    pub(super) value: Option<Arc<T>>,
    pub(super) scopes: EntryScopes,
    /// How many of the scopes are not tags.
    pub(super) base_scopes: usize,
    pub(super) expiry: Expiry,
    pub(super) store: bool,
}

impl<T> Prepared<T> {
    pub(super) fn landed(&self, took: Duration, change: u64) -> Landed<T> {
        Landed {
            value: self.value.clone(),
            tier: Tier::Origin,
            expiry: self.expiry,
            load: Some(took),
            scopes: self.scopes.clone(),
            change,
        }
    }
}

impl<T: Value> Job<T> {
    /// Loads for one caller and keeps nothing.
    pub(crate) async fn load_uncached(
        &mut self,
        keys: &[Key],
        counters: &[Arc<Counters>],
    ) -> Result<(Vec<Option<T>>, Duration), Error> {
        let counters: Vec<&Counters> = counters.iter().map(|counters| &**counters).collect();
        let (loaded, _, took) = self.run_loader(keys, &counters).await?;
        Ok((loaded.into_iter().map(|loaded| loaded.value).collect(), took))
    }

    pub(super) async fn load(&mut self, pending: &[Pending<T>]) -> Result<Loads<T>, Error> {
        let keys: Vec<_> = pending.iter().map(|one| one.key.key.clone()).collect();
        let counters: Vec<&Counters> = pending.iter().map(|one| &*one.counters).collect();
        self.run_loader(&keys, &counters).await
    }

    /// Runs the loader in its place among all loads of the node, within its time-out, and survives its panic. Returns
    /// what it brought with the moment of its end and the time it took.
    pub(super) async fn run_loader(
        &mut self,
        keys: &[Key],
        counters: &[&Counters],
    ) -> Result<Loads<T>, Error> {
        let limit = self.timeout();
        let engine = Arc::clone(&self.engine);
        let attempt = async {
            let _place = tokio::select! {
                biased;
                () = self.hurry.said() => None,
                place = engine.loads.acquire() => Some(place.expect("never closed")),
            };
            counters.iter().for_each(|one| one.count_load());
            let began = engine.now();
            // The call itself is inside: a loader may also panic before its first await.
            let loading =
                AssertUnwindSafe(loading(async { self.loader.load(keys).await })).catch_unwind().await;
            let ended = engine.now();
            engine.stats.count_load_time(ended.since(began));
            (loading, ended, ended.since(began))
        };
        let error = match tokio::time::timeout(limit, attempt).await {
            Ok((Ok(Ok(loaded)), ended, took)) if loaded.len() == keys.len() => {
                return Ok((loaded, ended, took));
            }
            Ok((Ok(Ok(_)), ..)) => Error::new(ErrorKind::Load, "the loader brought another number of values"),
            Ok((Ok(Err(error)), ..)) => load_error(error),
            Ok((Err(_panic), ..)) => Error::new(ErrorKind::LoadPanicked, "the loader panicked"),
            Err(_) => Error::new(ErrorKind::LoadTimeout, format!("the loader did not end within {limit:?}")),
        };
        counters.iter().for_each(|one| one.count_load_error());
        Err(error)
    }

    /// Admits what was loaded without Redis, where it has a fence, and lands it.
    pub(super) fn land_loaded(
        &self,
        pending: Vec<Pending<T>>,
        loaded: Result<Loads<T>, Error>,
        fence: Option<Fence>,
        ver: u64,
    ) {
        let (loaded, made, took) = match loaded {
            Ok(loaded) => loaded,
            Err(error) => return pending.iter().for_each(|one| self.land_failed(one, &error)),
        };
        for (one, loaded) in pending.into_iter().zip(loaded) {
            let mut prepared = self.prepare(&one, loaded, made);
            if let Some(Fence::Degraded(ticket)) = fence {
                prepared.expiry.soft = prepared.expiry.soft.min(ticket.until);
                prepared.expiry.hard = prepared.expiry.hard.min(ticket.until);
            }
            let landed = prepared.landed(took, one.change);
            // In good state there is no ticket; then the head that was read before the load is a fence.
            let fence = fence.or(one.fence.map(Fence::Stamped));
            let ver = one.fence.map_or(ver, |fence| fence.stamp);
            if let (Some(fence), true) = (fence, prepared.store)
                && let Some((length, weight)) = measure(prepared.value.as_deref())
                && self.fits(length)
            {
                let entry = self.new_entry(
                    &one,
                    prepared.value.clone(),
                    prepared.scopes,
                    prepared.expiry,
                    took,
                    weight,
                );
                self.engine.admit(entry, fence, ver);
            }
            one.land(Ok(landed));
        }
    }

    /// Whether a value of this length may be kept; counts it if not.
    pub(super) fn fits(&self, length: usize) -> bool {
        let fits = length <= self.engine.options.max_value_size;
        if !fits {
            self.engine.stats.oversize.fetch_add(1, Ordering::Relaxed);
        }
        fits
    }

    /// Works out scopes and expiry of what was loaded.
    pub(super) fn prepare(&self, one: &Pending<T>, loaded: Loaded<T>, made: Moment) -> Prepared<T> {
        let says = loaded.says;
        let base = EntryScopes::of(&one.key.tenant, &one.key.key);
        let base_scopes = base.all().len();
        let mut scopes = base;
        scopes.add_tags(&one.key.tenant, self.policy.tags.iter().map(|tag| &**tag));
        scopes.add_tags(&one.key.tenant, says.tags.iter().map(|tag| &**tag));
        let ttl = match loaded.value {
            Some(_) => Some(says.ttl.unwrap_or(self.policy.ttl)),
            None => self.policy.negative_ttl,
        };
        // Tags that break a limit cannot be invalidated by: the value is served and not kept.
        let tags_fit = scopes.all().len() - base_scopes <= MAX_TAGS
            && says.tags.iter().all(|tag| check_tag(tag).is_ok());
        let ttl = ttl.filter(|ttl| !ttl.is_zero() && *ttl <= MAX_KEEP);
        let store = !says.do_not_store && tags_fit && ttl.is_some();
        let expiry = Engine::expiry(made, &self.policy, ttl.unwrap_or_default());
        Prepared { value: loaded.value.map(Arc::new), scopes, base_scopes, expiry, store }
    }
}

fn load_error(error: BoxError) -> Error {
    // A loader that reads through the same cache passes its error on: say it once.
    match error.downcast::<Error>() {
        Ok(inner) => *inner,
        Err(error) => Error::with_source(ErrorKind::Load, format!("the loader failed: {error}"), error),
    }
}
