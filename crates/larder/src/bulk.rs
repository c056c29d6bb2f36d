//! Many keys at once: one round trip, one loader call, the same flights.

use crate::caught_up::Reach;
use crate::coherence::{Made, Watch};
use crate::engine::Engine;
use crate::error::{BoxError, Error, ErrorKind};
use crate::flight::Landed;
use crate::freshness::Windows;
use crate::job::{Job, Pending};
use crate::key::Key;
use crate::l1::FullKey;
use crate::limits::MAX_BULK_KEYS;
use crate::loader::{LoadFuture, Loaded, Loader, Many, Nothing, Says, Wanted};
use crate::lookup::{Answer, Purpose, Remembered, answer_landed, scopes_of};
use crate::nested::Hurry;
use crate::policy::Policy;
use crate::scope::Selector;
use crate::stamp::Stamp;
use crate::status::{Fetched, Outcome};
use crate::tenant::Tenant;
use crate::value::Value;
use std::collections::{HashMap, HashSet};
use std::future::Future;
use std::sync::Arc;
use std::time::Duration;

impl Tenant {
    /// The values of `keys`, in their order, `None` where no tier has one fresh. One round trip; of more
    /// than 32 keys a second for entries that have tags. At most 1,000 keys.
    ///
    /// # Errors
    /// `InvalidKey`, `InvalidTenant`, `InvalidRequest` (too many keys), `Closed`. A failing Redis is a miss.
    pub async fn get_many<T: Value>(&self, keys: &[Key]) -> Result<Vec<Option<Fetched<T>>>, Error> {
        self.check_keys(keys.iter())?;
        let mut out: Vec<_> = keys.iter().map(|_| None).collect();
        for (engine, places) in self.home.group(keys.iter()) {
            let wanted: Vec<FullKey> = places.iter().map(|place| self.full(keys[*place].clone())).collect();
            let found = engine.get_many(&wanted, self.at_least.as_ref()).await?;
            for (place, found) in places.into_iter().zip(found) {
                out[place] = found;
            }
        }
        Ok(out)
    }

    /// The values of `keys`, in their order; `None` where the origin has none. One loader call for all that no tier
    /// has and nobody is loading yet; it returns pairs in any order. At most 1,000 keys. Where this call has to wait
    /// for other nodes and they bring nothing, the loader is called again for those keys.
    ///
    /// # Errors
    /// As [`Tenant::get_or_load`]: the first that occurs.
    pub async fn get_or_load_many<T, F, Fut, E>(
        &self,
        keys: Vec<Key>,
        policy: impl AsRef<Policy>,
        load: F,
    ) -> Result<Vec<Option<Fetched<T>>>, Error>
    where
        T: Value,
        F: Fn(Vec<Key>) -> Fut + Send + Sync + 'static,
        Fut: Future<Output = Result<Vec<(Key, T)>, E>> + Send + 'static,
        E: Into<BoxError> + 'static,
    {
        self.check_keys(keys.iter())?;
        let policy = self.under(policy.as_ref());
        let (full, places) = self.each_once(keys);
        let load = Arc::new(load);
        let mut loader = move || {
            let load = Arc::clone(&load);
            Box::new(Many(move |keys| load(keys))) as Box<dyn Loader<T>>
        };
        let mut answers: Vec<Option<Answer<T>>> = full.iter().map(|_| None).collect();
        for (engine, ours) in self.home.group(full.iter().map(|full| &full.key)) {
            let keys: Vec<FullKey> = ours.iter().map(|place| full[*place].clone()).collect();
            let found = engine.get_or_load_many(&keys, &policy, &mut loader).await?;
            for (place, answer) in ours.into_iter().zip(found) {
                answers[place] = Some(answer);
            }
        }
        Ok(places.into_iter().map(|place| answers[place].clone().and_then(present)).collect())
    }

    /// [`Tenant::set`] of many values: one invalidation and one fill for 500 of them. Each is kept or dropped by itself.
    ///
    /// # Errors
    /// As [`Tenant::set`]; `InvalidRequest` for more than 1,000 values.
    ///
    /// # Cancel safety
    /// As [`Tenant::set`]. Of more than 500 values some may be set then, and others not.
    pub async fn set_many<T: Value>(
        &self,
        values: Vec<(Key, T)>,
        policy: impl AsRef<Policy>,
    ) -> Result<Stamp, Error> {
        self.check_keys(values.iter().map(|(key, _)| key))?;
        let policy = policy.as_ref();
        policy.check(self.home.any().options.load_timeout)?;
        // Before anything else: the values are as old as this call.
        let watches = self.watches(values.iter().map(|(key, _)| key));
        self.set_since(values, &watches, policy).await
    }

    /// Sets values that are as old as these watches.
    pub(crate) async fn set_since<T: Value>(
        &self,
        values: Vec<(Key, T)>,
        watches: &[(u16, Watch)],
        policy: &Policy,
    ) -> Result<Stamp, Error> {
        let mut told = Stamp::default();
        if values.is_empty() {
            return self.home.any().check_open().map(|()| told);
        }
        let mut values = last_of_each(values);
        while !values.is_empty() {
            let rest = values.split_off(values.len().min(SET_AT_ONCE));
            told.and_later(self.set_some(values, watches, policy).await?);
            values = rest;
        }
        Ok(told)
    }

    /// What is known now in each bucket of these keys.
    pub(crate) fn watches<'a>(&self, keys: impl Iterator<Item = &'a Key>) -> Vec<(u16, Watch)> {
        self.home
            .group(keys)
            .into_iter()
            .map(|(engine, _)| (engine.mirror.bucket, engine.mirror.watch()))
            .collect()
    }

    async fn set_some<T: Value>(
        &self,
        values: Vec<(Key, T)>,
        watches: &[(u16, Watch)],
        policy: &Policy,
    ) -> Result<Stamp, Error> {
        let selectors: Vec<Selector> = values.iter().map(|(key, _)| Selector::Key(key.clone())).collect();
        let stamp = self.invalidate(selectors).await?;
        if !self.home.any().options.enabled {
            return Ok(stamp);
        }
        let groups = self.home.group(values.iter().map(|(key, _)| key));
        let mut values: Vec<Option<(Key, T)>> = values.into_iter().map(Some).collect();
        for (engine, places) in groups {
            let take = |place: usize| values[place].take().expect("each is in one group");
            let values: Vec<(Key, T)> = places.into_iter().map(take).collect();
            let keys: Vec<FullKey> = values.iter().map(|(key, _)| self.full(key.clone())).collect();
            let values = values.into_iter().map(|(key, value)| (key, Some(value))).collect();
            let bucket = engine.mirror.bucket;
            let (_, watch) =
                *watches.iter().find(|(of, _)| *of == bucket).expect("every key's bucket is watched");
            let own = stamp.of(bucket).expect("every key's bucket was told");
            engine.begin_all(&keys, policy, Box::new(Given { values, made: Made { watch, own } })).await?;
        }
        Ok(stamp)
    }

    /// The keys, each once, and where each of those given stands among them.
    fn each_once(&self, keys: Vec<Key>) -> (Vec<FullKey>, Vec<usize>) {
        let (mut full, mut known) = (Vec::with_capacity(keys.len()), HashMap::new());
        let places = keys.into_iter().map(|key| {
            *known.entry(key).or_insert_with_key(|key| {
                full.push(self.full(key.clone()));
                full.len() - 1
            })
        });
        let places = places.collect();
        (full, places)
    }

    fn full(&self, key: Key) -> FullKey {
        FullKey { tenant: Arc::clone(&self.name), key }
    }

    fn check_keys<'a>(&self, keys: impl ExactSizeIterator<Item = &'a Key>) -> Result<(), Error> {
        self.check()?;
        if keys.len() > MAX_BULK_KEYS {
            let why = format!("{} keys in one call, at most {MAX_BULK_KEYS}", keys.len());
            return Err(Error::new(ErrorKind::InvalidRequest, why));
        }
        for key in keys {
            key.check()?;
        }
        Ok(())
    }
}

fn present<T>((value, status): Answer<T>) -> Option<Fetched<T>> {
    value.map(|value| Fetched { value, status })
}

/// Of values with the same key, the last.
fn last_of_each<T>(values: Vec<(Key, T)>) -> Vec<(Key, T)> {
    let mut seen = HashSet::new();
    let mut last: Vec<(Key, T)> =
        values.into_iter().rev().filter(|(key, _)| seen.insert(key.clone())).collect();
    last.reverse();
    last
}

/// Values that are there already.
struct Given<T> {
    values: Vec<(Key, Option<T>)>,
    made: Made,
}

/// Values that are set as one: their keys are invalidated in one step.
const SET_AT_ONCE: usize = 500;

impl<T: Send + 'static> Loader<T> for Given<T> {
    fn load(&mut self, wanted: &[Wanted]) -> LoadFuture<T> {
        let mut take = |key: &Key| self.values.iter_mut().find(|(there, _)| there == key)?.1.take();
        let load = |wanted: &Wanted| Loaded { value: take(&wanted.key), says: Says::default() };
        let loaded = wanted.iter().map(load).collect();
        Box::pin(std::future::ready(Ok(loaded)))
    }

    fn waits_for_others(&self) -> bool {
        false
    }

    fn made_at(&self) -> Option<Made> {
        Some(self.made)
    }
}

impl Engine {
    /// The values that a tier has fresh.
    async fn get_many<T: Value>(
        self: &Arc<Self>,
        keys: &[FullKey],
        at_least: Option<&Stamp>,
    ) -> Result<Vec<Option<Fetched<T>>>, Error> {
        self.check_open()?;
        if !self.options.enabled {
            return Ok(keys.iter().map(|_| None).collect());
        }
        let mut out = Vec::with_capacity(keys.len());
        let mut missing = Vec::new();
        let reach = self.reach(at_least).await;
        for (index, full) in keys.iter().enumerate() {
            let recalled = match reach {
                Reach::Memory => self.recall::<T>(full.borrow(), Windows::default()),
                Reach::Redis | Reach::Origin => Remembered::Fallback(None),
            };
            out.push(match recalled {
                Remembered::Fresh(answer, _) | Remembered::Stale(answer, _) => present(answer),
                Remembered::Fallback(_) => {
                    missing.push(index);
                    None
                }
            });
        }
        if missing.is_empty() {
            return Ok(out);
        }
        let wanted: Vec<FullKey> = missing.iter().map(|index| keys[*index].clone()).collect();
        // A loader that finds nothing: what Redis has is read and admitted in the same way, nothing is stored.
        let policy = Policy::ttl(Duration::from_secs(1));
        let found = match reach {
            Reach::Memory | Reach::Redis => self.read_only::<T>(&wanted, &policy).await,
            Reach::Origin => wanted.iter().map(|_| None).collect(),
        };
        for (index, landed) in missing.into_iter().zip(found) {
            let counters = self.stats.counters(&keys[index].tenant, keys[index].key.first_segment());
            let now = self.now();
            // It was fresh when it was read, which may be a while ago.
            let answer = match landed.filter(|landed| now < landed.expiry.soft) {
                Some(landed) => Some(answer_landed(Ok(landed), false, now, &counters)?),
                None => {
                    counters.count_miss();
                    None
                }
            };
            let outcome = answer.as_ref().map_or(Outcome::Miss, |(_, status)| status.outcome);
            self.l1.note(keys[index].borrow(), outcome);
            out[index] = answer.and_then(present);
        }
        Ok(out)
    }

    /// What Redis has under these keys; admitted into memory, nothing is loaded.
    pub(crate) async fn read_only<T: Value>(
        self: &Arc<Self>,
        keys: &[FullKey],
        policy: &Policy,
    ) -> Vec<Option<Landed<T>>> {
        let Some(remote) = &self.remote else { return keys.iter().map(|_| None).collect() };
        let mut flights = Vec::new();
        let mut pending = Vec::new();
        let hurry = Hurry::default();
        for key in keys {
            let scopes = scopes_of(key, policy);
            let (flight, sender) = self.take_off(&scopes, &hurry);
            flights.push(Arc::clone(&flight));
            let counters = self.stats.counters(&key.tenant, key.key.first_segment());
            pending.push(Pending::new(key.clone(), scopes, flight, sender, counters, self.mirror.change()));
        }
        let mut job = Job::new(Arc::clone(self), policy.clone(), Box::new(Nothing), hurry);
        // A second round for entries whose tags were not among those read.
        for _ in 0..2 {
            let Some(link) = remote.good_link().filter(|_| !pending.is_empty()) else { break };
            pending = match job.read(remote, &link, pending).await {
                Ok((_, again)) => again,
                Err(_) => break,
            };
        }
        flights.iter().map(|flight| flight.landed()).collect()
    }

    /// Begins a flight a key, joining nobody, and waits for all.
    async fn begin_all<T: Value>(
        self: &Arc<Self>,
        keys: &[FullKey],
        policy: &Policy,
        loader: Box<dyn Loader<T>>,
    ) -> Result<(), Error> {
        let mut loader = Some(loader);
        let mut loader = move || loader.take().expect("one job for all keys");
        let purpose = Purpose::asked(None);
        self.board(keys, 0..keys.len(), policy, |_| false, &mut loader, purpose).landed().await
    }
}
