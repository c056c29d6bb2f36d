//! The endpoints that statistics are told by.

use std::collections::BTreeMap;

use larder::Counts;

/// What is counted under a first segment that is no endpoint.
const OTHER: &str = "other";

/// The names that statistics are told by: a fixed set, so that nothing that a client sends can add to it.
#[derive(Debug, Clone, Default)]
pub struct Endpoints {
    names: Vec<&'static str>,
    /// First key segments that count under another name.
    also: Vec<(&'static str, &'static str)>,
}

impl Endpoints {
    /// These names; each is the first segment of its keys.
    pub fn new(names: impl IntoIterator<Item = &'static str>) -> Self {
        Self { names: names.into_iter().collect(), also: Vec::new() }
    }

    /// Counts keys that begin with `segment` under `name`.
    #[must_use]
    pub fn also(mut self, segment: &'static str, name: &'static str) -> Self {
        self.also.push((segment, name));
        self
    }

    pub(super) fn name_of(&self, segment: &str) -> &'static str {
        let name = self.also.iter().find(|(from, _)| *from == segment).map_or(segment, |(_, to)| to);
        self.names.iter().find(|known| **known == name).copied().unwrap_or(OTHER)
    }

    /// The counts of these tenants, each by first key segment, under every name; what belongs to none is under `other`,
    /// if there is any.
    pub(super) fn count<'a>(
        &self,
        tenants: impl IntoIterator<Item = &'a BTreeMap<String, Counts>>,
    ) -> BTreeMap<&'static str, Counts> {
        let mut by_name: BTreeMap<_, _> = self.names.iter().map(|name| (*name, Counts::default())).collect();
        for (segment, counts) in tenants.into_iter().flatten() {
            by_name.entry(self.name_of(segment)).or_default().add(counts);
        }
        by_name
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_name_is_there_and_what_is_unknown_is_under_one_more() {
        let endpoints = Endpoints::new(["campaigns", "leads"]).also("campaign", "campaigns");
        let count = |misses| {
            let mut counts = Counts::default();
            counts.misses = misses;
            counts
        };
        let acme = BTreeMap::from([("campaigns".into(), count(1)), ("campaign".into(), count(2))]);
        let globex = BTreeMap::from([("evil".into(), count(4))]);
        let misses = |tenants: &[&BTreeMap<String, Counts>]| -> Vec<(&str, u64)> {
            let counts = endpoints.count(tenants.iter().copied());
            counts.into_iter().map(|(name, counts)| (name, counts.misses)).collect()
        };
        assert_eq!(misses(&[&acme]), [("campaigns", 3), ("leads", 0)]);
        assert_eq!(misses(&[&acme, &globex]), [("campaigns", 3), ("leads", 0), ("other", 4)]);
        assert_eq!(misses(&[]), [("campaigns", 0), ("leads", 0)]);
    }
}
