//! The journal: invalidations that Redis has not been told, in their order.
//!
//! What stands in it is in force on this node (its scopes are blocked) and is delivered before this node relies on Redis
//! again. It lives in memory: what must survive the process belongs into an outbox in the database.

use crate::coherence::Mirror;
use crate::error::{Error, ErrorKind};
use crate::limits::MAX_UNDELIVERED;
use crate::scope::{Covered, ScopeHash};
use crate::simulation::{Limit, limit};
use crate::stamp::Stamp;
use std::collections::{HashMap, HashSet, VecDeque};
use std::sync::Arc;
use tokio::sync::watch;

/// Scopes and keys that are delivered in one message, if they were deferred one by one.
const MESSAGE: usize = 500;

/// A promise that a deferred invalidation will be delivered, from [`Error::ticket`].
///
/// Dropping it takes nothing back.
#[derive(Clone, Debug)]
pub struct Ticket {
    /// One for each bucket that could not be told.
    deferred: Vec<watch::Receiver<Option<Stamp>>>,
    /// Of the buckets that were told at once.
    told: Stamp,
}

impl Ticket {
    /// Waits until Redis and, by it, all nodes have been told.
    ///
    /// # Errors
    /// [`ErrorKind::Closed`] when the cache was shut down before that: then nobody will be told by this node.
    ///
    /// # Cancel safety
    /// Dropping the future changes nothing; it can be awaited again.
    pub async fn delivered(&self) -> Result<Stamp, Error> {
        for deferred in &self.deferred {
            deferred.clone().wait_for(Option::is_some).await.map_err(|_| {
                Error::new(ErrorKind::Closed, "the cache was shut down before Redis could be told")
            })?;
        }
        Ok(self.stamp().expect("all have been told"))
    }

    /// The stamp, if it has been delivered by now.
    pub fn stamp(&self) -> Option<Stamp> {
        let mut stamp = self.told.clone();
        for deferred in &self.deferred {
            stamp.and(deferred.borrow().clone()?);
        }
        Some(stamp)
    }

    /// All of them, beside what was told at once.
    pub(crate) fn all(tickets: impl IntoIterator<Item = Self>, told: Stamp) -> Self {
        let deferred = tickets.into_iter().flat_map(|ticket| ticket.deferred).collect();
        Self { deferred, told }
    }
}

/// One deferred invalidation, or several folded into one.
pub(crate) struct Deferred {
    id: u64,
    pub(crate) covered: Arc<Covered>,
    /// The tenant that it concerns; `None`: more than one.
    tenant: Option<Arc<str>>,
    told: Vec<watch::Sender<Option<Stamp>>>,
}

impl Deferred {
    fn weight(&self) -> usize {
        self.covered.scopes.len() + self.covered.keys.len()
    }
}

/// Invalidations that Redis has not been told.
#[derive(Default)]
pub(crate) struct Journal {
    entries: VecDeque<Deferred>,
    /// Scopes and keys in all of them.
    weight: usize,
    ids: u64,
    /// Nobody will be told any more.
    given_up: bool,
    /// Another bound than the usual one.
    #[cfg(test)]
    pub(crate) short: Option<usize>,
}

impl Journal {
    pub(crate) fn is_empty(&self) -> bool {
        self.entries.is_empty()
    }

    pub(crate) fn len(&self) -> usize {
        self.entries.len()
    }

    /// Adds an invalidation whose scopes are blocked already. Beyond the bound what stands here is folded into whole
    /// tenants, and if that is too much, into everything.
    pub(crate) fn push(&mut self, covered: Covered, tenant: Option<&str>, mirror: &Mirror) -> Ticket {
        let (told, ticket) = watch::channel(None);
        self.ids += 1;
        let entry = Deferred {
            id: self.ids,
            covered: Arc::new(covered),
            tenant: tenant.map(Arc::from),
            told: if self.given_up { Vec::new() } else { vec![told] },
        };
        self.weight += entry.weight();
        self.entries.push_back(entry);
        if self.weight > self.bound() {
            self.fold(mirror);
        }
        Ticket { deferred: vec![ticket], told: Stamp::default() }
    }

    /// The oldest, as many as go well into one message.
    pub(crate) fn oldest(&self) -> Vec<(u64, Arc<Covered>)> {
        let mut weight = 0;
        let fits = |(place, entry): &(usize, &Deferred)| {
            weight += entry.weight();
            *place == 0 || weight <= MESSAGE
        };
        let oldest = self.entries.iter().enumerate().take_while(fits);
        oldest.map(|(_, entry)| (entry.id, Arc::clone(&entry.covered))).collect()
    }

    /// Nobody will be told any more, and those who wait for it learn that. What stands here stays in force.
    pub(crate) fn give_up(&mut self) {
        self.given_up = true;
        self.entries.iter_mut().for_each(|entry| entry.told.clear());
    }

    /// The oldest has been delivered, if it is still this one. Its blocks are the caller's.
    pub(crate) fn pop(&mut self, id: u64) -> Option<Deferred> {
        let entry = self.entries.pop_front_if(|entry| entry.id == id)?;
        self.weight -= entry.weight();
        Some(entry)
    }

    /// Puts back what [`Journal::pop`] took.
    pub(crate) fn put_back(&mut self, entry: Deferred) {
        self.weight += entry.weight();
        self.entries.push_front(entry);
    }

    fn bound(&self) -> usize {
        #[cfg(test)]
        if let Some(short) = self.short {
            return short;
        }
        limit(Limit::Undelivered, MAX_UNDELIVERED)
    }

    fn fold(&mut self, mirror: &Mirror) {
        let tenants: HashSet<Option<Arc<str>>> =
            self.entries.iter().map(|entry| entry.tenant.clone()).collect();
        let whole = tenants.len() > self.bound() / 2 || tenants.contains(&None);
        let mut folded: VecDeque<Deferred> = VecDeque::new();
        let mut places: HashMap<Option<Arc<str>>, usize> = HashMap::new();
        for entry in std::mem::take(&mut self.entries) {
            let tenant = entry.tenant.clone().filter(|_| !whole);
            let place = *places.entry(tenant.clone()).or_insert_with(|| {
                self.ids += 1;
                let scope = tenant.as_deref().map_or_else(ScopeHash::everything, ScopeHash::of_tenant);
                let covered = Arc::new(Covered { scopes: vec![scope], ..Covered::default() });
                mirror.block(&covered.all());
                folded.push_back(Deferred { id: self.ids, covered, tenant, told: Vec::new() });
                folded.len() - 1
            });
            let awaited = entry.told.into_iter().filter(|told| told.receiver_count() > 0);
            folded[place].told.extend(awaited);
            // After the wider block is in force.
            mirror.unblock(&entry.covered.all());
        }
        self.weight = folded.iter().map(Deferred::weight).sum();
        self.entries = folded;
    }
}

impl Deferred {
    /// Tells those who hold tickets.
    pub(crate) fn tell(self, stamp: &Stamp) {
        for told in self.told {
            told.send_replace(Some(stamp.clone()));
        }
    }
}
