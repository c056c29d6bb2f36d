//! A tenant's part of the cache: the hard boundary. No key, tag or invalidation reaches across.

use crate::account::TenantStats;
use crate::buckets::Home;
use crate::caught_up::Reach;
use crate::error::{BoxError, Error, ErrorKind};
use crate::invalidate::Invalidation;
use crate::key::Key;
use crate::l1::FullKey;
use crate::limits::MAX_TENANT_BYTES;
use crate::loader::{LoadContext, Single};
use crate::policy::Policy;
use crate::scope::Selection;
use crate::stamp::Stamp;
use crate::status::{Fetched, Status};
use crate::value::Value;
use std::borrow::Cow;
use std::fmt;
use std::future::Future;
use std::sync::Arc;
use std::time::Duration;

/// A tenant's part of a [`Cache`](crate::Cache). Cheap to clone.
///
/// All its calls are cancel safe: a dropped future cancels no load and no invalidation that has begun, and leaves
/// nothing behind. None of them panics, whatever the loader does.
#[derive(Clone)]
pub struct Tenant {
    pub(crate) home: Home,
    pub(crate) name: Arc<str>,
    shared: bool,
    /// What its lookups must reflect.
    pub(crate) at_least: Option<Stamp>,
}

impl Tenant {
    pub(crate) fn new(home: Home, name: &str) -> Self {
        Self { home, name: Arc::from(name), shared: false, at_least: None }
    }

    pub(crate) fn shared(home: Home) -> Self {
        Self { home, name: Arc::from(""), shared: true, at_least: None }
    }

    /// The tenant's name; empty for shared entries.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// This tenant, whose lookups see everything that `stamp` stands for: read-your-writes on any node, whichever made
    /// the change. The stamp of a write travels with its author, in a cookie or a header. Where this node has seen it
    /// already, which is so within a millisecond after the write, a lookup costs nothing more; else it waits for it for
    /// at most the Redis budget of a request, and then passes by what this node has in memory; and what Redis has, if the
    /// write was made in an epoch of which this node has not heard (as for a moment after a failover). Such a lookup
    /// always loads, so do not take stamps from clients unsigned.
    ///
    /// An [`acked`](crate::Invalidation::acked) invalidation needs no stamp: everybody sees it.
    #[must_use]
    pub fn at_least(&self, stamp: Stamp) -> Self {
        Self { at_least: Some(stamp), ..self.clone() }
    }

    /// The policy, with what lookups of this tenant must reflect.
    pub(crate) fn under<'a>(&self, policy: &'a Policy) -> Cow<'a, Policy> {
        match &self.at_least {
            None => Cow::Borrowed(policy),
            Some(stamp) => Cow::Owned(Policy { at_least: Some(stamp.clone()), ..policy.clone() }),
        }
    }

    pub(crate) fn check(&self) -> Result<(), Error> {
        if self.shared || (1..=MAX_TENANT_BYTES).contains(&self.name.len()) {
            return Ok(());
        }
        let why = format!("a tenant's name has 1 to {MAX_TENANT_BYTES} bytes, not {}", self.name.len());
        Err(Error::new(ErrorKind::InvalidTenant, why))
    }

    pub(crate) fn check_key(&self, key: &Key) -> Result<(), Error> {
        self.check()?;
        key.check()
    }

    /// The value of `key`, loaded if no tier has it. However many ask at once, on however many nodes, one loads.
    ///
    /// The loader runs in a task of its own, so it owns what it uses. Its error is shared by all who waited
    /// ([`Error::load_error`]); nothing is stored then.
    ///
    /// # Errors
    /// [`ErrorKind::Load`], `LoadPanicked` or `LoadTimeout` from the loader, unless the policy allows a stale value and
    /// there is one; `TooManyLoads`; `InvalidKey`, `InvalidTenant`, `InvalidTag`, `InvalidPolicy`; `Closed`. Never for
    /// a failing Redis.
    pub async fn get_or_load<T, F, Fut, E>(
        &self,
        key: Key,
        policy: impl AsRef<Policy>,
        load: F,
    ) -> Result<Arc<T>, Error>
    where
        T: Value,
        F: FnOnce() -> Fut + Send + 'static,
        Fut: Future<Output = Result<T, E>> + Send + 'static,
        E: Into<BoxError> + 'static,
    {
        Ok(self.fetch(key, policy, load).await?.value)
    }

    /// [`Tenant::get_or_load`] with the [`Status`] of the lookup.
    ///
    /// # Errors
    /// As [`Tenant::get_or_load`].
    pub async fn fetch<T, F, Fut, E>(
        &self,
        key: Key,
        policy: impl AsRef<Policy>,
        load: F,
    ) -> Result<Fetched<T>, Error>
    where
        T: Value,
        F: FnOnce() -> Fut + Send + 'static,
        Fut: Future<Output = Result<T, E>> + Send + 'static,
        E: Into<BoxError> + 'static,
    {
        found(self.fetch_with(key, policy, move |_| some(load())).await?)
    }

    /// [`Tenant::fetch`] of a value that the origin may not have. Its absence is remembered for the policy's
    /// `negative_ttl`.
    ///
    /// # Errors
    /// As [`Tenant::get_or_load`].
    pub async fn fetch_opt<T, F, Fut, E>(
        &self,
        key: Key,
        policy: impl AsRef<Policy>,
        load: F,
    ) -> Result<(Option<Arc<T>>, Status), Error>
    where
        T: Value,
        F: FnOnce() -> Fut + Send + 'static,
        Fut: Future<Output = Result<Option<T>, E>> + Send + 'static,
        E: Into<BoxError> + 'static,
    {
        self.fetch_with(key, policy, move |_| load()).await
    }

    /// [`Tenant::fetch_opt`] with a loader that has a say in how its value is cached: tags and TTL that are known only
    /// after loading, or not to store it at all.
    ///
    /// # Errors
    /// As [`Tenant::get_or_load`].
    pub async fn fetch_with<T, F, Fut, E>(
        &self,
        key: Key,
        policy: impl AsRef<Policy>,
        load: F,
    ) -> Result<(Option<Arc<T>>, Status), Error>
    where
        T: Value,
        F: FnOnce(LoadContext) -> Fut + Send + 'static,
        Fut: Future<Output = Result<Option<T>, E>> + Send + 'static,
        E: Into<BoxError> + 'static,
    {
        self.check_key(&key)?;
        let policy = self.under(policy.as_ref());
        self.home.of(&key).get_or_load(&self.name, key, &policy, || Box::new(Single::new(load))).await
    }

    /// The value of `key`, if a tier has it fresh. Loads nothing.
    ///
    /// # Errors
    /// `InvalidKey`, `InvalidTenant`, `Closed`. A failing Redis is a miss.
    pub async fn get<T: Value>(&self, key: Key) -> Result<Option<Fetched<T>>, Error> {
        Ok(self.get_many(std::slice::from_ref(&key)).await?.pop().flatten())
    }

    /// Whether a tier has the value fresh.
    ///
    /// # Errors
    /// As [`Tenant::get`].
    pub async fn contains<T: Value>(&self, key: Key) -> Result<bool, Error> {
        Ok(self.get::<T>(key).await?.is_some())
    }

    /// How much longer the value of `key` is fresh; `None` if no tier has it fresh. Loads nothing, counts nothing.
    ///
    /// # Errors
    /// As [`Tenant::get`].
    pub async fn ttl(&self, key: Key) -> Result<Option<Duration>, Error> {
        self.check_key(&key)?;
        let engine = self.home.of(&key);
        engine.check_open()?;
        let found = match engine.reach(self.at_least.as_ref()).await {
            Reach::Origin => None,
            reach => engine.find_one(&self.name, &key, reach == Reach::Memory).await,
        };
        Ok(found.map(|info| info.ttl).filter(|left| !left.is_zero()))
    }

    /// Begins a new life for the value of `key` as it is, without a load: fresh for the policy's TTL from now on, or longer
    /// if it was. What has been invalidated since it was loaded stays so, and what has been expired stays stale; a value
    /// that is being loaded is left to that. Returns whether a tier had one. On other nodes it is as fresh as Redis says
    /// when they have to ask; what they have in memory is not touched.
    ///
    /// # Errors
    /// `InvalidKey`, `InvalidTenant`, `InvalidPolicy`, `InvalidTag`, `Closed`. Never for a failing Redis.
    pub async fn touch(&self, key: Key, policy: impl AsRef<Policy>) -> Result<bool, Error> {
        self.check_key(&key)?;
        let (engine, policy) = (self.home.of(&key), policy.as_ref());
        engine.touch(FullKey { tenant: Arc::clone(&self.name), key }, policy).await
    }

    /// Makes `value` what is cached under `key`, on all nodes. What was there, or was being loaded, is invalidated
    /// first; the [`Stamp`] of that is returned, for [`Tenant::at_least`].
    ///
    /// The value counts as made when this is first polled. Whatever is invalidated or expired after that, on whichever
    /// node, and covers it (its key, a tag, a prefix, the tenant, …), drops it, also where that comes before it is stored:
    /// then the call has invalidated the key, no tier keeps the value, and the next lookup loads. Of two who set the same
    /// key at once, one value is kept or none. So it is with a value that another load or set overtook, or that is too
    /// large, or where Redis did not answer in time. None of this is an error.
    ///
    /// What the value is made of must have been read (or committed) with nothing invalidated between that and the call:
    /// nobody but you can know. A value that is read from somewhere is better left to [`Tenant::get_or_load`], whose load
    /// begins under a lease.
    ///
    /// # Errors
    /// Those of [`Tenant::invalidate`]. With [`ErrorKind::Deferred`] the value is not kept.
    ///
    /// # Cancel safety
    /// Once it has been polled, the invalidation is carried through also where the future is dropped; the value may then be
    /// kept or not.
    pub async fn set<T: Value>(
        &self,
        key: Key,
        value: T,
        policy: impl AsRef<Policy>,
    ) -> Result<Stamp, Error> {
        self.set_many(vec![(key, value)], policy).await
    }

    /// Drops the value of `key` on all nodes: [`Tenant::invalidate`] of one key.
    ///
    /// # Errors
    /// As [`Tenant::invalidate`].
    pub async fn delete(&self, key: Key) -> Result<Stamp, Error> {
        self.invalidate(key).await
    }

    /// From its return on, this node serves nothing that was loaded before the call, and neither does any other node
    /// after at most one coherence lease. To be called after the change is committed. Costs one round trip, whatever it
    /// covers.
    ///
    /// # Errors
    /// [`ErrorKind::Deferred`] if Redis is out of reach: the invalidation is in force here, and other nodes follow when
    /// Redis is back. It is no reason to fail the write. `InvalidRequest`, `InvalidKey`, `InvalidTag`, `InvalidTenant`;
    /// `Closed`.
    ///
    /// # Cancel safety
    /// Once it has been polled, it is carried through also where the future is dropped.
    pub fn invalidate(&self, what: impl Into<Selection>) -> Invalidation {
        let parts = self.check().and_then(|()| self.home.divide(&self.name, what.into()));
        Invalidation::new(Some(Arc::clone(&self.name)), parts)
    }

    /// Makes values stale instead of taking them away: [`Tenant::invalidate`] with
    /// [`expire`](crate::Invalidation::expire).
    ///
    /// # Errors
    /// As [`Tenant::invalidate`].
    ///
    /// # Cancel safety
    /// As [`Tenant::invalidate`].
    pub fn expire(&self, what: impl Into<Selection>) -> Invalidation {
        self.invalidate(what).expire()
    }

    /// What this tenant's part did since the cache was built, and what it holds in this process's memory. Takes time in
    /// the number of its endpoints, never in the number of entries.
    pub fn stats(&self) -> TenantStats {
        self.home.any().tenant_stats(&self.name)
    }
}

/// The value of a loader that always has one.
pub(crate) fn found<T>((value, status): (Option<Arc<T>>, Status)) -> Result<Fetched<T>, Error> {
    let missing = || Error::new(ErrorKind::Load, "absence is cached under this key: read it with fetch_opt");
    Ok(Fetched { value: value.ok_or_else(missing)?, status })
}

async fn some<T, E>(load: impl Future<Output = Result<T, E>>) -> Result<Option<T>, E> {
    load.await.map(Some)
}

/// Its name.
impl AsRef<str> for Tenant {
    fn as_ref(&self) -> &str {
        &self.name
    }
}

impl fmt::Debug for Tenant {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Tenant").field(&self.name).finish()
    }
}
