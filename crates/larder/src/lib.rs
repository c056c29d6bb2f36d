//! A two-tier cache for multi-tenant backends that is never stale after an invalidation.
#![doc = ""]
//! ```
//! # use std::time::Duration;
//! # #[tokio::main(flavor = "current_thread")]
//! # async fn main() -> Result<(), larder::Error> {
//! use larder::{Cache, Policy, key, tag};
//!
//! let cache = Cache::builder("shop").build().await?; // .redis("redis://localhost") where one machine is not enough
//! let acme = cache.tenant("acme");
//! let policy = Policy::ttl(Duration::from_secs(300)).tag("campaigns");
//!
//! let list = acme
//!     .get_or_load(key!("campaigns", "page", 1), &policy, || async {
//!         Ok::<_, std::io::Error>(vec!["Spring sale".to_owned()]) // the slow query
//!     })
//!     .await?;
//! assert_eq!(*list, ["Spring sale"]);
//!
//! acme.invalidate(tag("campaigns")).await?; // nobody is served the old list from here on
//! # Ok(()) }
//! ```
//!
//! | feature | what you gain | default |
//! | --- | --- | --- |
//! | `macros` | the `#[cached]` attribute | on |
//! | `redis` | a tier shared by all nodes, in Redis or Valkey | on |

mod account;
mod acks;
mod announcer;
mod audit;
mod breaker;
mod buckets;
mod builder;
mod bulk;
mod cache;
#[cfg(test)]
mod cancelling;
mod caught_up;
mod clock;
mod closing;
mod coherence;
mod engine;
mod envelope;
mod error;
mod event;
mod event_log;
mod failures;
mod flight;
mod freshness;
#[cfg(test)]
mod histories;
mod inspect;
#[cfg(test)]
mod interleavings;
mod invalidate;
mod job;
mod journal;
mod key;
mod l1;
pub mod limits;
mod loader;
mod log;
mod lookup;
mod nested;
mod policy;
mod prepared;
mod publish;
mod quota;
mod quota_use;
mod recent;
mod recovery;
mod remote;
mod scope;
#[doc(hidden)]
pub mod simulation;
mod stamp;
mod stats;
mod status;
pub mod store;
mod supervise;
mod sync;
mod tenant;
#[cfg(test)]
mod testing;
mod unnamed;
mod value;
mod warm;

pub use account::TenantStats;
pub use builder::CacheBuilder;
pub use cache::{Cache, RedisCursor};
pub use clock::{Clock, ManualClock, Moment, SystemClock};
pub use error::{BoxError, Error, ErrorKind};
pub use event::{Event, EventStream, Next};
pub use event_log::{
    EventLog, Follow, FollowNext, Gap, InvalidPosition, LoggedEvent, Member, Members, Position, Presence,
    Replay, Watch, WatchNext,
};
pub use inspect::{EntryFilter, EntryInfo, EntryPage, matches};
pub use invalidate::Invalidation;
pub use journal::Ticket;
pub use key::Key;
#[cfg(feature = "macros")]
#[doc(inline)]
pub use larder_macros::cached;
pub use loader::{LoadContext, Previous};
pub use policy::{Policy, Tiers};
pub use publish::{Logged, Publication};
pub use quota_use::{NearestToQuota, QuotaStats};
pub use recent::{Change, ChangeVerb};
pub use remote::{NodeInfo, RedisState};
pub use scope::{Glob, ScopeHash, Selection, Selector, all, first_segment, glob, tag};
pub use stamp::{InvalidStamp, Stamp};
pub use stats::{Counts, EventCounts, LOAD_BUCKETS, StatsSnapshot};
pub use status::{Fetched, Outcome, Status, Tier};
#[cfg(feature = "redis")]
pub use store::redis::RedisConfig;
pub use tenant::Tenant;
pub use value::{Codec, CodecError, Value};
pub use warm::{Warmed, warm};

/// The examples of `#[cached]`, tested here because its own crate does not know this one.
#[cfg(all(doctest, feature = "macros"))]
#[doc = include_str!("../../larder-macros/docs/cached.md")]
struct CachedExamples;
