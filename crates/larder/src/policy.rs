//! How a value is cached.

mod check;

use crate::stamp::Stamp;
use smallvec::SmallVec;
use std::{sync::Arc, time::Duration};

#[doc = include_str!("../docs/policies.md")]
#[derive(Clone, Debug)]
pub struct Policy {
    pub(crate) ttl: Duration,
    pub(crate) stale_while_revalidate: Duration,
    pub(crate) stale_if_error: Duration,
    pub(crate) retry_after: Duration,
    pub(crate) negative_ttl: Option<Duration>,
    pub(crate) soft_timeout: Option<Duration>,
    pub(crate) hard_timeout: Option<Duration>,
    pub(crate) load_timeout: Option<Duration>,
    pub(crate) eager_refresh: f32,
    pub(crate) failure_cooldown: Duration,
    pub(crate) tiers: Tiers,
    pub(crate) jitter: f32,
    pub(crate) tags: SmallVec<[Arc<str>; 2]>,
    /// What a lookup must reflect: see [`Tenant::at_least`](crate::Tenant::at_least).
    pub(crate) at_least: Option<Stamp>,
}

/// Where values are kept.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub enum Tiers {
    /// In this process's memory, and in Redis where there is one.
    #[default]
    Both,
    /// In this process's memory only: each node loads for itself.
    Memory,
    /// In Redis only: every lookup asks Redis, and while Redis is out of reach (or where there is none) every lookup
    /// that begins after the last load has ended loads. Does not apply to [`Tenant::get`](crate::Tenant::get), which
    /// knows no policy and remembers what it read.
    Redis,
}

impl Policy {
    /// Fresh for `ttl` (more than zero, at most 30 days with the stale time), with 10 % jitter and nothing else.
    #[must_use]
    pub fn ttl(ttl: Duration) -> Self {
        Self {
            ttl,
            stale_while_revalidate: Duration::ZERO,
            stale_if_error: Duration::ZERO,
            retry_after: Duration::from_secs(1),
            negative_ttl: None,
            soft_timeout: None,
            hard_timeout: None,
            load_timeout: None,
            eager_refresh: 0.0,
            failure_cooldown: Duration::ZERO,
            tiers: Tiers::Both,
            jitter: 0.10,
            tags: SmallVec::new(),
            at_least: None,
        }
    }

    /// Labels the entry; an invalidation of the tag drops it. At most 32 tags of 256 bytes.
    #[must_use]
    pub fn tag(mut self, tag: impl AsRef<str>) -> Self {
        self.tags.push(Arc::from(tag.as_ref()));
        self
    }

    /// More tags.
    #[must_use]
    pub fn tags<T: AsRef<str>>(mut self, tags: impl IntoIterator<Item = T>) -> Self {
        self.tags.extend(tags.into_iter().map(|tag| Arc::from(tag.as_ref())));
        self
    }

    /// After its TTL the value is still served for this long, while a load runs behind (RFC 5861 §3). Default: zero.
    #[must_use]
    pub fn stale_while_revalidate(mut self, window: Duration) -> Self {
        self.stale_while_revalidate = window;
        self
    }

    /// After its TTL the value is still served for this long where a load fails (RFC 5861 §4). Default: zero. An
    /// invalidated value is never served, whatever fails.
    #[must_use]
    pub fn stale_if_error(mut self, window: Duration) -> Self {
        self.stale_if_error = window;
        self
    }

    /// How long the stale value is served after a load that failed, or outlasted the [soft
    /// time-out](Policy::soft_timeout), before the next lookup waits for a load. Default: 1 s.
    #[must_use]
    pub fn retry_after(mut self, pause: Duration) -> Self {
        self.retry_after = pause;
        self
    }

    /// How long absence (`None` of a loader) is remembered. Default: not at all.
    #[must_use]
    pub fn negative_ttl(mut self, ttl: Duration) -> Self {
        self.negative_ttl = Some(ttl);
        self
    }

    /// A lookup waits this long for a load if there is a value that [`Policy::stale_if_error`] allows, and then gets
    /// that one; the load goes on behind. Whoever joined the load does the same. Default: no such limit.
    #[must_use]
    pub fn soft_timeout(mut self, limit: Duration) -> Self {
        self.soft_timeout = Some(limit);
        self
    }

    /// A lookup waits this long for a load in any case, and then fails with
    /// [`ErrorKind::LoadTimeout`](crate::ErrorKind::LoadTimeout); the load goes on behind, until
    /// [`Policy::load_timeout`]. Default: as long as the load may take.
    #[must_use]
    pub fn hard_timeout(mut self, limit: Duration) -> Self {
        self.hard_timeout = Some(limit);
        self
    }

    /// A load that takes longer is ended, and has failed for all who wait for it. Default: the cache's
    /// ([`CacheBuilder::load_timeout`](crate::CacheBuilder::load_timeout)).
    #[must_use]
    pub fn load_timeout(mut self, limit: Duration) -> Self {
        self.load_timeout = Some(limit);
        self
    }

    /// Loads behind *before* the value expires, the more likely the nearer that is and the longer its load took (XFetch,
    /// VLDB 2015), so that hot values are never awaited and nodes do not all load when the TTL ends. `1.0` is the
    /// optimum of the paper, more is earlier. At most one load for all nodes, and none where another node has loaded
    /// since. Default: 0, never; at most 10.
    #[must_use]
    pub fn eager_refresh(mut self, beta: f32) -> Self {
        self.eager_refresh = beta;
        self
    }

    /// After a failed load nobody loads the key again for this long, on any node: lookups get the stale value where there
    /// is one, else the error at once ([`ErrorKind::CoolingDown`](crate::ErrorKind::CoolingDown) where the load failed on
    /// another node). An invalidation of the key, its tags or prefixes ends it. Default: zero; at most an hour.
    #[must_use]
    pub fn failure_cooldown(mut self, pause: Duration) -> Self {
        self.failure_cooldown = pause;
        self
    }

    /// Where values are kept. Default: in both tiers.
    #[must_use]
    pub fn tiers(mut self, tiers: Tiers) -> Self {
        self.tiers = tiers;
        self
    }

    /// By which part of the TTL an entry may expire early, so that entries made together do not expire together.
    /// Default 0.1; from 0 to 0.9.
    #[must_use]
    pub fn jitter(mut self, part: f32) -> Self {
        self.jitter = part;
        self
    }

    /// The longest time any value under this policy is kept beyond its TTL.
    pub(crate) fn stale_window(&self) -> Duration {
        self.stale_while_revalidate.max(self.stale_if_error)
    }
}

impl AsRef<Policy> for Policy {
    fn as_ref(&self) -> &Policy {
        self
    }
}
