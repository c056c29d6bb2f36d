//! What the cache tells the log, under the target `larder::cache`, at debug level. Switched off it costs one comparison.

/// The target of spans around loads.
pub(crate) const LOAD: &str = "larder::load";
/// The target of spans around calls of Redis.
pub(crate) const CALL: &str = "larder::redis::call";

use crate::l1::KeyRef;
use crate::status::{Outcome, Status, Tier};
use std::fmt;
use std::time::Duration;

/// A key as people see it, put together only if somebody reads the log.
struct Shown<'a>(KeyRef<'a>);

impl fmt::Display for Shown<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0.key.render(self.0.tenant))
    }
}

/// How a lookup ended.
#[inline]
pub(crate) fn lookup(key: KeyRef<'_>, status: &Status) {
    if tracing::enabled!(target: "larder::cache", tracing::Level::DEBUG) {
        tell_lookup(key, status);
    }
}

#[cold]
fn tell_lookup(key: KeyRef<'_>, status: &Status) {
    let (key, tier) = (Shown(key), status.tier.as_str());
    let (age, ttl) = (status.age.as_secs(), status.ttl.as_secs());
    match status.outcome {
        Outcome::Hit => tracing::debug!(target: "larder::cache", %key, tier, age, ttl, "Cache HIT"),
        Outcome::Stale => tracing::debug!(target: "larder::cache", %key, tier, age, ttl, "Cache STALE"),
        Outcome::Miss => {
            let load_ms = status.load.map_or(0, |load| load.as_millis());
            let coalesced = status.coalesced;
            tracing::debug!(target: "larder::cache", %key, tier, ttl, load_ms, coalesced, "Cache MISS");
        }
        Outcome::Bypass => tracing::debug!(target: "larder::cache", %key, "Cache BYPASS"),
    }
}

/// A value was put into a tier.
pub(crate) fn set(key: KeyRef<'_>, tier: Tier, ttl: Duration) {
    tracing::debug!(target: "larder::cache", key = %Shown(key), tier = tier.as_str(), ttl = ttl.as_secs(), "Cache SET");
}

/// Scopes were invalidated by this node. `first` is one of the keys named, if any was.
pub(crate) fn invalidated(scopes: usize, keys: usize, first: Option<KeyRef<'_>>) {
    match first {
        Some(key) => {
            tracing::debug!(target: "larder::cache", key = %Shown(key), scopes, keys, "Cache INVALIDATED");
        }
        None => tracing::debug!(target: "larder::cache", scopes, "Cache INVALIDATED"),
    }
}
