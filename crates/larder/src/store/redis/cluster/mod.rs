//! Redis Cluster: which primary has a bucket, and the connections that buckets share.
//!
//! | file | holds |
//! | --- | --- |
//! | `slot` | hash slots and the buckets' names |
//! | `view` | what the nodes say of who has what |
//!
//! What nodes say is where to look, never what to believe: a primary serves a bucket's scripts only while the slot is its
//! own, and its identity decides, as for any other server, whether what the bucket holds may be used. A bucket that has
//! moved is found under another identity, so a new epoch of it begins, and of no other.

pub(super) mod slot;
mod view;

use super::{
    config::{RedisConfig, Resolved},
    dial::{Address, Dialer},
    generation::{Generation, Make, Purpose},
    keys::Keyspace,
    replicas::Timing,
    reply::nonsense,
    url::{Seeds, address, shown},
};
use crate::store::{StoreError, StoreErrorKind};
use parking_lot::Mutex;
pub(super) use slot::SLOTS;
use std::{
    collections::HashMap,
    fmt,
    sync::{Arc, Weak},
};
use tokio::time::Instant;
pub(super) use view::{Told, View, ask};

/// Most nodes that are asked besides those of the configuration.
const MAX_KNOWN_ASKED: usize = 8;

/// Work that several tasks want at the same moment: done once for all that wait for it.
struct Together<T>(tokio::sync::Mutex<Option<(Instant, Result<T, StoreError>)>>);

impl<T> Default for Together<T> {
    fn default() -> Self {
        Self(tokio::sync::Mutex::new(None))
    }
}

/// The connections to one address, for one node of ours.
type Place = Arc<Together<Weak<Generation>>>;

/// What all links into a Cluster share.
#[derive(Default)]
pub(super) struct Cluster {
    view: Together<Arc<View>>,
    /// All nodes of which the last view told.
    nodes: Mutex<Vec<Address>>,
    places: Mutex<HashMap<(Address, String), Place>>,
}

/// Who connects, how, and where to begin.
#[derive(Clone, Copy)]
pub(super) struct Caller<'a> {
    pub(super) config: &'a RedisConfig,
    pub(super) resolved: &'a Resolved,
    pub(super) seeds: &'a Seeds,
    pub(super) node: &'a str,
}

impl Cluster {
    /// A link to a bucket, wherever it is now.
    pub(super) async fn connect<M: Make>(
        &self,
        caller: Caller<'_>,
        keys: &Keyspace,
        make: &M,
    ) -> Result<M::Made, StoreError> {
        let view = self.view(caller).await?;
        let primary = view.primary(keys.slot())?;
        let linked = self.link(caller, &view.dialer, primary, keys, make).await;
        match &linked {
            // It knows better than those who were asked. It is followed once: what is true then is told by the next view.
            Err(error) if error.kind == StoreErrorKind::Moved => match moved_to(error, primary) {
                Some(there) => self.link(caller, &view.dialer, &there, keys, make).await,
                None => linked,
            },
            _ => linked,
        }
    }

    /// Who has what, asked after this was called.
    pub(super) async fn view(&self, caller: Caller<'_>) -> Result<Arc<View>, StoreError> {
        let began = Instant::now();
        let mut last = self.view.0.lock().await;
        if let Some((ended, view)) = &*last
            && *ended > began
        {
            return view.clone();
        }
        let found = self.look(caller).await.map(Arc::new);
        if let Ok(view) = &found {
            self.nodes.lock().clone_from(&view.nodes);
        }
        *last = Some((Instant::now(), found.clone()));
        found
    }

    async fn look(&self, caller: Caller<'_>) -> Result<View, StoreError> {
        let dialer = Dialer::new(caller.config, caller.resolved).await?;
        let mut candidates = self.nodes.lock().clone();
        candidates.truncate(MAX_KNOWN_ASKED);
        for seed in &caller.seeds.hosts {
            if !candidates.contains(seed) {
                candidates.push(seed.clone());
            }
        }
        View::look(dialer, candidates, |address| self.living(address, caller.node)).await
    }

    async fn link<M: Make>(
        &self,
        caller: Caller<'_>,
        dialer: &Dialer,
        primary: &Address,
        keys: &Keyspace,
        make: &M,
    ) -> Result<M::Made, StoreError> {
        let generation = self.generation(caller, dialer, primary, M::PURPOSE).await;
        let generation = generation.map_err(|error| announced(error, primary))?;
        let linked = make.make(&generation, keys).await;
        if matches!(&linked, Err(error) if error.kind == StoreErrorKind::Timeout) {
            generation.life.end("it does not answer");
        }
        linked
    }

    /// Connections to a primary: those there are, if they still answer, or new ones.
    async fn generation(
        &self,
        caller: Caller<'_>,
        dialer: &Dialer,
        primary: &Address,
        purpose: Purpose,
    ) -> Result<Arc<Generation>, StoreError> {
        let place = self.place(primary, caller.node);
        let began = Instant::now();
        let mut last = place.0.lock().await;
        match &*last {
            Some((ended, Ok(made))) => {
                if let Some(living) = made.upgrade()
                    && living.life.check().is_ok()
                    && (*ended > began || living.answers().await)
                {
                    return Ok(living);
                }
            }
            Some((ended, Err(error))) if *ended > began => return Err(error.clone()),
            _ => {}
        }
        let there = dialer.to_server(primary);
        let made = Self::open(caller, &there, purpose).await.map(Arc::new);
        *last = Some((Instant::now(), made.as_ref().map(Arc::downgrade).map_err(StoreError::clone)));
        made
    }

    async fn open(caller: Caller<'_>, there: &Dialer, purpose: Purpose) -> Result<Generation, StoreError> {
        let mut made = Generation::open(there, caller.config, true, caller.node, purpose).await?;
        made.advice.extend(made.identity.advice_in_cluster());
        if made.identity.guarded && purpose == Purpose::Cache {
            let timing = Timing::in_cluster(made.wire(), caller.config.command_timeout).await;
            made.advice.extend(timing.ok().and_then(|timing| timing.advice()));
        }
        Ok(made)
    }

    fn place(&self, primary: &Address, node: &str) -> Place {
        let mut places = self.places.lock();
        // Those of primaries that are gone.
        places.retain(|_, place| Arc::strong_count(place) > 1 || living(place).is_some());
        Arc::clone(places.entry((primary.clone(), node.to_owned())).or_default())
    }

    /// The connections to an address, if there are some that live.
    fn living(&self, address: &Address, node: &str) -> Option<Arc<Generation>> {
        let place = self.places.lock().get(&(address.clone(), node.to_owned())).cloned()?;
        living(&place)
    }
}

fn living(place: &Place) -> Option<Arc<Generation>> {
    let last = place.0.try_lock().ok()?;
    let (_, made) = last.as_ref()?;
    made.as_ref().ok()?.upgrade().filter(|made| made.life.check().is_ok())
}

fn announced(StoreError { kind, detail }: StoreError, primary: &Address) -> StoreError {
    let also = match kind {
        StoreErrorKind::Disconnected | StoreErrorKind::Timeout => ": that address must be reached from here",
        _ => "",
    };
    let primary = shown(primary);
    StoreError::new(kind, format!("{detail} (the primary {primary}, as the Cluster announces it{also})"))
}

/// Where a server says that the slot is (`MOVED 1518 10.0.0.2:6379`), if that is not where it was asked.
fn moved_to(error: &StoreError, asked: &Address) -> Option<Address> {
    let mut words = error.detail.strip_prefix("MOVED ")?.split(' ');
    let (host, port) = words.nth(1)?.rsplit_once(':')?;
    // Without a host it is the one that was asked.
    let host = if host.is_empty() { &asked.0 } else { host.trim_matches(['[', ']']) };
    Some((host.to_owned(), port.parse().ok()?)).filter(|there| there != asked)
}

/// Reads an address as servers announce it.
fn announced_address(host: Option<&str>, port: i64, asked: &Address) -> Result<Address, StoreError> {
    let host = host.filter(|host| !host.is_empty() && *host != "?").unwrap_or(&asked.0);
    let port = u16::try_from(port).ok().filter(|port| *port != 0);
    let port = port.ok_or_else(|| nonsense("a node of the Cluster is announced without a port"))?;
    Ok(address(host, port))
}

impl fmt::Debug for Cluster {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Cluster").field("nodes", &self.nodes.lock()).finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_redirection_is_followed_unless_it_leads_back() {
        let asked = ("10.0.0.1".to_owned(), 6379);
        let to = |words: &str| moved_to(&StoreError::new(StoreErrorKind::Moved, words), &asked);
        assert_eq!(to("MOVED 1518 10.0.0.2:6380"), Some(("10.0.0.2".into(), 6380)));
        assert_eq!(to("MOVED 1518 :6380"), Some(("10.0.0.1".into(), 6380)));
        assert_eq!(to("MOVED 1518 fe80::1:6380"), Some(("fe80::1".into(), 6380)));
        for nowhere in ["MOVED 1518 10.0.0.1:6379", "MOVED 1518", "ASK 1518 10.0.0.2:6380", "CLUSTERDOWN x"] {
            assert_eq!(to(nowhere), None, "{nowhere}");
        }
    }
}
