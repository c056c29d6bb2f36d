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
use crate::loader::{Loaded, Previous, Says, Wanted};
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
use tracing::Instrument;
use tracing::field::Empty;

/// What became of one key: a value or its absence, and what the loader said of it.
pub(super) struct Fruit<T> {
    pub(super) value: Option<Arc<T>>,
    pub(super) says: Says,
    /// Set if the value is the previous one: the scopes that it had.
    kept: Option<EntryScopes>,
}

/// What a loader brought, when it ended, and how long it took.
pub(super) type Loads<T> = (Vec<Fruit<T>>, Moment, Duration);

/// A value with all that is decided about it.
pub(super) struct Prepared<T> {
    pub(super) value: Option<Arc<T>>,
    pub(super) scopes: EntryScopes,
    /// The tags that are known by name.
    pub(super) tags: Vec<Arc<str>>,
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
    ) -> Result<(Vec<Option<Arc<T>>>, Duration), Error> {
        let counters: Vec<&Counters> = counters.iter().map(|counters| &**counters).collect();
        let wanted: Vec<_> = keys.iter().map(|key| Wanted { key: key.clone(), previous: None }).collect();
        let (loaded, _, took) = self.run_loader(None, &wanted, &counters).await?;
        Ok((loaded.into_iter().map(|loaded| loaded.value).collect(), took))
    }

    pub(super) async fn load<'a>(
        &mut self,
        pending: impl Iterator<Item = &'a Pending<T>> + Clone,
    ) -> Result<Loads<T>, Error> {
        let wanted = |one: &Pending<T>| Wanted { key: one.key.key.clone(), previous: self.previous(one) };
        let wanted: Vec<_> = pending.clone().map(wanted).collect();
        if wanted.is_empty() {
            return Ok((Vec::new(), self.engine.now(), Duration::ZERO));
        }
        // A job's keys are one tenant's.
        let tenant = pending.clone().next().map(|one| &*one.key.tenant);
        let counters: Vec<&Counters> = pending.map(|one| &*one.counters).collect();
        self.run_loader(tenant, &wanted, &counters).await
    }

    /// What a load replaces, as far as it was not invalidated.
    fn previous(&self, one: &Pending<T>) -> Option<Arc<Previous>> {
        let now = self.engine.now();
        let found = || {
            let found = one.previous.as_ref().filter(|found| now < found.expiry.hard)?;
            self.engine.mirror.valid_since(found.scopes.all(), found.change).then(|| Previous {
                tenant: Arc::clone(&one.key.tenant),
                value: found.value.clone().map(|value| value as _),
                scopes: found.scopes.clone(),
                age: now.since(found.expiry.made),
                tags: self.policy.tags.to_vec(),
            })
        };
        let remembered = || {
            let (entry, _) = self.engine.valid_entry(one.key.borrow())?;
            (now < entry.expiry.hard).then(|| Previous {
                tenant: Arc::clone(&one.key.tenant),
                value: entry.value.clone(),
                scopes: entry.scopes.clone(),
                age: now.since(entry.expiry.made),
                tags: entry.tags.clone(),
            })
        };
        remembered().or_else(found).map(Arc::new)
    }

    /// Runs the loader in its place among all loads of the node, within its time-out, and survives its panic. Returns
    /// what it brought with the moment of its end and the time it took.
    pub(super) async fn run_loader(
        &mut self,
        tenant: Option<&str>,
        wanted: &[Wanted],
        counters: &[&Counters],
    ) -> Result<Loads<T>, Error> {
        let limit = self.timeout();
        let endpoint = wanted.first().map_or("", |one| one.key.first_segment());
        let span = tracing::debug_span!(target: crate::log::LOAD, "cache load", endpoint, keys = wanted.len(), error = Empty);
        let account = tenant.map(|tenant| self.engine.stats.accounts.of(tenant));
        let engine = Arc::clone(&self.engine);
        let attempt = async {
            let _place = tokio::select! {
                biased;
                () = self.hurry.said() => None,
                place = engine.place_to_load(account.as_deref()) => Some(place),
            };
            counters.iter().for_each(|one| one.count_load());
            let began = engine.now();
            // The call itself is inside: a loader may also panic before its first await.
            let loading =
                AssertUnwindSafe(loading(async { self.loader.load(wanted).await })).catch_unwind().await;
            let ended = engine.now();
            engine.stats.count_load_time(ended.since(began));
            counters.iter().for_each(|one| one.count_load_time(ended.since(began)));
            (loading, ended, ended.since(began))
        };
        let error = match tokio::time::timeout(limit, attempt.instrument(span.clone())).await {
            Ok((Ok(Ok(loaded)), ended, took)) if loaded.len() == wanted.len() => {
                match loaded.into_iter().zip(wanted).map(|(loaded, wanted)| fruit(loaded, wanted)).collect() {
                    Ok(loaded) => return Ok((loaded, ended, took)),
                    Err(error) => error,
                }
            }
            Ok((Ok(Ok(_)), ..)) => Error::new(ErrorKind::Load, "the loader brought another number of values"),
            Ok((Ok(Err(error)), ..)) => load_error(error),
            Ok((Err(_panic), ..)) => Error::new(ErrorKind::LoadPanicked, "the loader panicked"),
            Err(_) => Error::new(ErrorKind::LoadTimeout, format!("the loader did not end within {limit:?}")),
        };
        span.record("error", tracing::field::debug(error.kind()));
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
                let entry = self.new_entry(&one, &landed, prepared.tags, weight);
                self.admit(entry, fence, ver);
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
    pub(super) fn prepare(&self, one: &Pending<T>, loaded: Fruit<T>, made: Moment) -> Prepared<T> {
        let says = loaded.says;
        let base = EntryScopes::of(&one.key.tenant, &one.key.key);
        let base_scopes = base.all().len();
        let mut scopes = base;
        scopes.add_tags(&one.key.tenant, self.policy.tags.iter().map(|tag| &**tag));
        scopes.add_tags(&one.key.tenant, says.tags.iter().map(|tag| &**tag));
        if let Some(kept) = loaded.kept.filter(|_| says.tags.is_empty()) {
            kept.all().iter().for_each(|scope| scopes.add(*scope));
        }
        let ttl = match loaded.value {
            Some(_) => Some(says.ttl.unwrap_or(self.policy.ttl)),
            None => says.negative_ttl.or(self.policy.negative_ttl),
        };
        // Tags that break a limit cannot be invalidated by: the value is served and not kept.
        let tags_fit = scopes.all().len() - base_scopes <= MAX_TAGS
            && says.tags.iter().all(|tag| check_tag(tag).is_ok());
        let window = says.keep_stale.unwrap_or(self.policy.stale_window());
        let ttl = ttl.filter(|ttl| !ttl.is_zero() && ttl.saturating_add(window) <= MAX_KEEP);
        let store = !says.do_not_store && tags_fit && ttl.is_some();
        let expiry = Engine::expiry(made, self.policy.jitter, ttl.unwrap_or_default(), window);
        let tags = self.policy.tags.iter().chain(&says.tags).cloned().collect();
        Prepared { value: loaded.value, scopes, tags, base_scopes, expiry, store }
    }
}

/// What a loader brought, with the previous value in place of its word that nothing was modified.
fn fruit<T: Value>(loaded: Loaded<T>, wanted: &Wanted) -> Result<Fruit<T>, Error> {
    let Loaded { value, says } = loaded;
    if !says.not_modified {
        return Ok(Fruit { value: value.map(Arc::new), says, kept: None });
    }
    let previous = wanted.previous.as_ref().ok_or_else(|| {
        Error::new(ErrorKind::Load, "the loader found nothing modified, but there is no value to keep")
    })?;
    let kept = match &previous.value {
        None => None,
        Some(value) => Some(Arc::clone(value).downcast::<T>().map_err(|_| {
            Error::new(ErrorKind::Load, "the loader found nothing modified, but the value is of another type")
        })?),
    };
    Ok(Fruit { value: kept, says, kept: Some(previous.scopes.clone()) })
}

fn load_error(error: BoxError) -> Error {
    // A loader that reads through the same cache passes its error on: say it once.
    match error.downcast::<Error>() {
        Ok(inner) => *inner,
        Err(error) => Error::with_source(ErrorKind::Load, format!("the loader failed: {error}"), error),
    }
}
