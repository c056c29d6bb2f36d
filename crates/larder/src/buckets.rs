//! Buckets: the parts into which a Redis Cluster divides a cache, each with a coherence state, a stream and an engine of
//! its own. One server, or one with Sentinel, is one bucket.
//!
//! A tenant lives in one bucket, so everything that concerns one tenant is one script on one server. A tenant that is too
//! much for one may be spread over more.

use crate::engine::Engine;
use crate::error::{Error, ErrorKind};
use crate::key::Key;
use crate::scope::{Covered, Selection, Selector};
use crate::simulation::{Mutant, is};
use std::collections::HashMap;
use std::sync::Arc;

/// Where a tenant lives.
#[derive(Clone)]
pub(crate) enum Home {
    One(Arc<Engine>),
    /// Spread: the key decides. An engine may stand here more than once.
    Many(Arc<[Arc<Engine>]>),
}

impl Home {
    /// The engine of one of the tenant's keys.
    pub(crate) fn of(&self, key: &Key) -> &Arc<Engine> {
        match self {
            Self::One(engine) => engine,
            Self::Many(engines) => &engines[part_of(key.as_str(), engines.len())],
        }
    }

    /// Any engine: for what all of them share.
    pub(crate) fn any(&self) -> &Arc<Engine> {
        match self {
            Self::One(engine) => engine,
            Self::Many(engines) => &engines[0],
        }
    }

    /// Keys by the engine that has them: places in the order given.
    pub(crate) fn group<'a>(&self, keys: impl Iterator<Item = &'a Key>) -> Vec<(Arc<Engine>, Vec<usize>)> {
        let mut groups: Vec<(Arc<Engine>, Vec<usize>)> = Vec::new();
        for (place, key) in keys.enumerate() {
            let engine = self.of(key);
            match groups.iter_mut().find(|(there, _)| Arc::ptr_eq(there, engine)) {
                Some((_, places)) => places.push(place),
                None => groups.push((Arc::clone(engine), vec![place])),
            }
        }
        groups
    }

    /// A selection by the engines that it concerns.
    ///
    /// # Errors
    /// If any part of it is invalid: then nothing is to be done.
    pub(crate) fn divide(
        &self,
        tenant: &str,
        what: Selection,
    ) -> Result<Vec<(Arc<Engine>, Selection)>, Error> {
        let engines = match self {
            Self::One(engine) => return Ok(vec![(Arc::clone(engine), what)]),
            Self::Many(engines) => each_once(engines),
        };
        Covered::of(Some(tenant), what.clone())?;
        let concerns = |engine: &Arc<Engine>, selector: &Selector| match selector {
            Selector::Key(key) => Arc::ptr_eq(self.of(key), engine),
            _ => true,
        };
        let told = if is(Mutant::FirstPartOnly) { 1 } else { engines.len() };
        let parts = engines.into_iter().take(told).map(|engine| {
            let selection = what.filtered(|selector| concerns(&engine, selector));
            (engine, selection)
        });
        Ok(parts.filter(|(_, selection)| !selection.is_empty()).collect())
    }
}

/// All buckets of a cache.
pub(crate) struct Buckets {
    engines: Arc<[Arc<Engine>]>,
    /// Over how many parts a tenant is spread, where it is more than one.
    spread: HashMap<String, u16>,
}

impl Buckets {
    pub(crate) fn new(engines: Vec<Engine>, spread: HashMap<String, u16>) -> Self {
        Self { engines: engines.into_iter().map(Arc::new).collect(), spread }
    }

    #[cfg(test)]
    pub(crate) fn one(engine: Arc<Engine>) -> Self {
        Self { engines: Arc::new([engine]), spread: HashMap::new() }
    }

    pub(crate) fn all(&self) -> &Arc<[Arc<Engine>]> {
        &self.engines
    }

    pub(crate) fn first(&self) -> &Arc<Engine> {
        &self.engines[0]
    }

    pub(crate) fn home(&self, tenant: &str) -> Home {
        if let [only] = &*self.engines {
            return Home::One(Arc::clone(only));
        }
        let engine = |part| Arc::clone(&self.engines[bucket_of(tenant, part, self.engines.len())]);
        match self.spread.get(tenant) {
            None | Some(0 | 1) => Home::One(engine(0)),
            Some(parts) => Home::Many((0..*parts).map(engine).collect()),
        }
    }
}

fn each_once(engines: &[Arc<Engine>]) -> Vec<Arc<Engine>> {
    let mut unique: Vec<Arc<Engine>> = Vec::new();
    for engine in engines {
        if !unique.iter().any(|there| Arc::ptr_eq(there, engine)) {
            unique.push(Arc::clone(engine));
        }
    }
    unique
}

/// The bucket of a part of a tenant. All nodes must agree, so this never changes.
fn bucket_of(tenant: &str, part: u16, buckets: usize) -> usize {
    let mut hasher = blake3::Hasher::new_keyed(b"larder buckets, version 1       ");
    hasher.update(&part.to_be_bytes());
    hasher.update(tenant.as_bytes());
    modulo(hasher.finalize(), buckets)
}

/// The part of a spread tenant in which a key is.
fn part_of(key: &str, parts: usize) -> usize {
    modulo(blake3::keyed_hash(b"larder parts of tenants, v 1    ", key.as_bytes()), parts)
}

fn modulo(hash: blake3::Hash, count: usize) -> usize {
    let eight = hash.as_bytes()[..8].try_into().expect("a hash has 32 bytes");
    usize::try_from(u64::from_be_bytes(eight) % count as u64).expect("below a usize")
}

/// What is wrong with spreading tenants so, if anything.
pub(crate) fn check_spread(spread: &HashMap<String, u16>) -> Result<(), Error> {
    let limit = crate::limits::MAX_BUCKETS;
    match spread.iter().find(|(_, parts)| !(1..=limit).contains(*parts)) {
        None => Ok(()),
        Some((tenant, parts)) => {
            let why = format!("tenant {tenant:?} is spread over {parts} parts: 1 to {limit}");
            Err(Error::new(ErrorKind::Config, why))
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn where_a_tenant_lives_never_changes() {
        // Other versions of this library, and other nodes, must find it there.
        let found: Vec<usize> = ["", "acme", "globex"].map(|tenant| bucket_of(tenant, 0, 16)).to_vec();
        assert_eq!(found, FOUND);
        assert_eq!((part_of("k", 4), part_of("campaigns:page:1", 4)), PARTS);
    }

    const FOUND: [usize; 3] = [10, 14, 15];
    const PARTS: (usize, usize) = (3, 0);

    #[test]
    fn tenants_are_spread_evenly() {
        let mut counts = [0; 16];
        for number in 0..16_000 {
            counts[bucket_of(&format!("tenant-{number}"), 0, 16)] += 1;
        }
        assert!(counts.iter().all(|count| (850..1150).contains(count)), "{counts:?}");
    }
}
