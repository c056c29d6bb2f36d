//! What a simulator decides in place of the operating system: chance, tasks, connections, and where another thread runs
//! between two steps. `crates/larder-sim` is one.
//!
//! Without the feature `simulation` every function here is nothing and costs nothing; with it, nothing changes on a thread
//! that no simulator has entered (`within`). None of this is for users: it changes without notice.

#[cfg(feature = "simulation")]
pub mod fuzz;
#[cfg(feature = "simulation")]
mod hooks;
#[cfg(all(feature = "simulation", feature = "redis"))]
pub use crate::store::redis::CLUSTER_TAGS;
#[cfg(feature = "simulation")]
pub use hooks::{
    Erased, Inside, Lying, Simulator, Socket, bucket_of, inside, is_good, open, switch_off, within,
};
#[cfg(feature = "simulation")]
pub(crate) use hooks::{current, is, limit, pause, random, task};

#[cfg(not(feature = "simulation"))]
mod nothing;
#[cfg(not(feature = "simulation"))]
pub(crate) use nothing::{is, limit, pause, random, task};

mod mutant;
pub use mutant::Mutant;

/// Places where another thread may run between two steps of the protocol.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Place {
    /// A hit begins.
    HitBegins,
    /// A hit has seen the lease, not yet the counter.
    LeaseSeen,
    /// A hit has seen the counter, not yet the map.
    CounterSeen,
    /// A hit has checked the map, and has not yet remembered that.
    MapChecked,
    /// An admission has checked the map, and its entry is not yet made.
    Admitted,
    /// The sweep has checked an entry, and not yet re-stamped it.
    Swept,
    /// All of memory was swept, and the map has not shrunk yet.
    Sweeping,
    /// A life is to be lengthened in memory: the value was judged, and its entry is not yet made anew.
    Touching,
    /// A lookup has not found it in memory, and has not yet looked for a flight.
    Boarding,
    /// The map is about to change. Locks may be held: nothing may wait here.
    Changing,
}

/// Bounds that a simulation makes small enough to meet.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Limit {
    /// Scopes that a node remembers.
    MirrorScopes,
    /// Hits after which a read asks for no tags that its call does not name.
    PlainAfter,
    /// Entries of one read that are asked for their tags.
    TagsOfEntries,
    /// Members of the coherence state in Redis.
    State,
    /// Scopes in invalidations that wait for Redis.
    Undelivered,
    /// Patterns of one tenant that a node remembers.
    TenantRules,
    /// Patterns of all tenants that a node remembers.
    Rules,
    /// Buckets of a Redis Cluster.
    Buckets,
    /// Events of one tenant that wait for their place in its log.
    WaitingEvents,
    /// Events that a log keeps.
    EventHistory,
}
