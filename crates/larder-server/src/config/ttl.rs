//! How long each endpoint's answers are kept, by the names of the `[ttl]` table.

use std::collections::BTreeMap;
use std::time::Duration;

use sample_backend::ttl::Endpoint;

/// The names, in the order of the documentation.
pub(crate) fn names() -> impl Iterator<Item = &'static str> {
    Endpoint::ALL.iter().map(|endpoint| endpoint.name())
}

/// Whether an endpoint is called `name`.
pub(crate) fn is_known(name: &str) -> bool {
    names().any(|known| known == name)
}

/// The TTL of every endpoint.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Ttls(BTreeMap<&'static str, Duration>);

impl Default for Ttls {
    fn default() -> Self {
        Self(Endpoint::ALL.iter().map(|endpoint| (endpoint.name(), endpoint.default_ttl())).collect())
    }
}

impl Ttls {
    /// All of them by name.
    pub fn iter(&self) -> impl Iterator<Item = (&'static str, Duration)> {
        self.0.iter().map(|(name, ttl)| (*name, *ttl))
    }

    /// That of `name`, where an endpoint is called so.
    pub fn get(&self, name: &str) -> Option<Duration> {
        self.0.get(name).copied()
    }

    pub(super) fn set(&mut self, name: &'static str, ttl: Duration) {
        self.0.insert(name, ttl);
    }
}
