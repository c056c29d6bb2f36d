//! How a lookup ended. The same value feeds counters, logs and the HTTP headers.

use std::sync::atomic::{AtomicU8, Ordering::Relaxed};
use std::{fmt, ops::Deref, sync::Arc, time::Duration};

/// What a lookup came to, in the words of RFC 9211.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Outcome {
    /// A fresh value was there.
    Hit,
    /// A value past its TTL was served, as its policy allows.
    Stale,
    /// The value was loaded, by this caller or by one that it joined.
    Miss,
    /// The cache is switched off: the value was loaded and not kept.
    Bypass,
}

impl Outcome {
    /// As `X-Cache` says it.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Hit => "HIT",
            Self::Stale => "STALE",
            Self::Miss => "MISS",
            Self::Bypass => "BYPASS",
        }
    }
}

impl fmt::Display for Outcome {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// Where a value came from.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Tier {
    /// This process's memory.
    Memory,
    /// Redis.
    Redis,
    /// The loader.
    Origin,
}

impl Tier {
    /// In lower case.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Memory => "memory",
            Self::Redis => "redis",
            Self::Origin => "origin",
        }
    }
}

/// How one lookup ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Status {
    /// Hit, stale, miss or bypass.
    pub outcome: Outcome,
    /// Where the value came from.
    pub tier: Tier,
    /// Whether this caller waited for a load that another had begun.
    pub coalesced: bool,
    /// Time since the value was loaded.
    pub age: Duration,
    /// Fresh time left; zero when stale.
    pub ttl: Duration,
    /// How long the load took, where this lookup waited for one.
    pub load: Option<Duration>,
}

/// How the last lookup of something ended, if there was one.
///
/// A hit writes it only where it changes: what many threads read at once would otherwise go from one processor's cache to
/// the next with each of them.
#[derive(Debug, Default)]
pub(crate) struct LastOutcome(AtomicU8);

impl LastOutcome {
    pub(crate) fn note(&self, outcome: Outcome) {
        let word = match outcome {
            Outcome::Hit => 1,
            Outcome::Stale => 2,
            Outcome::Miss => 3,
            Outcome::Bypass => 4,
        };
        if self.0.load(Relaxed) != word {
            self.0.store(word, Relaxed);
        }
    }

    pub(crate) fn get(&self) -> Option<Outcome> {
        [Outcome::Hit, Outcome::Stale, Outcome::Miss, Outcome::Bypass]
            .get(usize::from(self.0.load(Relaxed)).checked_sub(1)?)
            .copied()
    }

    /// Goes on from what another has noted.
    pub(crate) fn follow(&self, before: &Self) {
        self.0.store(before.0.load(Relaxed), Relaxed);
    }
}

/// A value with the [`Status`] of the lookup that brought it.
#[derive(Clone, Debug)]
pub struct Fetched<T> {
    /// The value, shared with the cache.
    pub value: Arc<T>,
    /// How the lookup ended.
    pub status: Status,
}

impl<T> Deref for Fetched<T> {
    type Target = T;

    fn deref(&self) -> &T {
        &self.value
    }
}
