//! Who is connected to this node, by tenant.

mod audience;
mod conn;
mod follow;
mod presence;
mod signal;

use std::collections::HashMap;
use std::sync::Arc;

use parking_lot::Mutex;

pub(crate) use audience::{Audience, Bounds, Full};
pub(crate) use conn::{Conn, Handed, Streams, TokenIds};
pub(crate) use follow::{follow, reason};
pub(crate) use presence::{Change, member};
pub use signal::Kick;
pub(crate) use signal::Signal;

type Shard = Mutex<HashMap<Arc<str>, Arc<Audience>, ahash::RandomState>>;

/// How many parts, so that tenants seldom wait for each other.
const SHARDS: usize = 64;

/// The audiences of all tenants that have connections here.
#[derive(Debug)]
pub(crate) struct Hub {
    shards: Vec<Shard>,
    hasher: ahash::RandomState,
}

impl Default for Hub {
    fn default() -> Self {
        Self {
            shards: std::iter::repeat_with(Mutex::default).take(SHARDS).collect(),
            hasher: ahash::RandomState::default(),
        }
    }
}

impl Hub {
    fn shard(&self, tenant: &str) -> &Shard {
        let hash = usize::try_from(self.hasher.hash_one(tenant) % 64).expect("below 64");
        &self.shards[hash]
    }

    /// The audience of a tenant, if it has one here.
    pub(crate) fn get(&self, tenant: &str) -> Option<Arc<Audience>> {
        self.shard(tenant).lock().get(tenant).cloned()
    }

    /// The audience of a tenant: `new`, unless there is one already.
    pub(crate) fn get_or_insert(&self, new: Arc<Audience>) -> Arc<Audience> {
        let mut shard = self.shard(new.tenant()).lock();
        Arc::clone(shard.entry(Arc::clone(new.tenant())).or_insert(new))
    }

    /// Lets an audience go if nobody is in it; nobody can join it from then on. Returns whether it went.
    pub(crate) fn retire(&self, audience: &Arc<Audience>) -> bool {
        let mut shard = self.shard(audience.tenant()).lock();
        if !audience.retire() {
            return false;
        }
        shard.remove(audience.tenant());
        true
    }

    /// All of them.
    pub(crate) fn all(&self) -> Vec<Arc<Audience>> {
        self.shards.iter().flat_map(|shard| shard.lock().values().cloned().collect::<Vec<_>>()).collect()
    }
}
