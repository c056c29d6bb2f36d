//! The tenants with most lookups and most loads, of any number of them.

use std::cmp::Reverse;
use std::collections::BinaryHeap;

use larder::Counts;

/// Tenants of each kind.
pub(super) const LEADERS: usize = 20;

/// Those with most of something, the least of them on top. Names are copied of these only.
#[derive(Default)]
struct Top(BinaryHeap<Reverse<(u64, Box<str>)>>);

impl Top {
    fn add(&mut self, rank: u64, name: &str) {
        if self.0.len() < LEADERS {
            self.0.push(Reverse((rank, name.into())));
        } else if let Some(mut least) = self.0.peek_mut()
            && least.0.0 < rank
        {
            *least = Reverse((rank, name.into()));
        }
    }
}

/// Sees the counts of all tenants.
#[derive(Default)]
pub(super) struct Leaders {
    /// Tenants that were seen.
    pub(super) seen: u64,
    /// Whose counts come now, and what they are so far.
    now: Option<(String, Counts)>,
    lookups: Top,
    loads: Top,
}

impl Leaders {
    /// All counts of one tenant come in a row.
    pub(super) fn add(&mut self, tenant: &str, counts: &Counts) {
        match &mut self.now {
            Some((name, sum)) if *name == tenant => return sum.add(counts),
            _ => self.end(),
        }
        self.seen += 1;
        // The last one's name is room for this one's.
        let mut name = self.now.take().map_or_else(String::new, |(name, _)| name);
        name.clear();
        name.push_str(tenant);
        self.now = Some((name, *counts));
    }

    /// There are no more.
    pub(super) fn end(&mut self) {
        if let Some((name, sum)) = &self.now {
            self.lookups.add(sum.hits() + sum.misses, name);
            self.loads.add(sum.loads, name);
        }
    }

    /// In no order, some twice.
    pub(super) fn names(self) -> impl Iterator<Item = String> {
        self.lookups.0.into_iter().chain(self.loads.0).map(|Reverse((_, name))| name.into())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::BTreeSet;

    #[test]
    fn of_many_tenants_those_with_most_are_kept() {
        let mut leaders = Leaders::default();
        for number in 0..10_000_u64 {
            let (mut here, mut there) = (Counts::default(), Counts::default());
            // Lookups grow with the number, loads fall; each of two endpoints has its part.
            (here.l1_hits, there.stale_hits) = (number, number);
            (here.loads, there.loads) = (10_000 - number, 10_000 - number);
            let name = number.to_string();
            leaders.add(&name, &here);
            leaders.add(&name, &there);
        }
        leaders.end();
        assert_eq!(leaders.seen, 10_000);
        let names: BTreeSet<String> = leaders.names().collect();
        let expected = (0..20).chain(9_980..10_000).map(|number: u64| number.to_string());
        assert_eq!(names, expected.collect());
    }

    #[test]
    fn few_tenants_are_all_kept_and_none_is_no_trouble() {
        let mut leaders = Leaders::default();
        leaders.end();
        assert_eq!(leaders.seen, 0);
        leaders.add("", &Counts::default());
        leaders.add("a", &Counts::default());
        leaders.end();
        assert_eq!(leaders.names().collect::<BTreeSet<_>>(), BTreeSet::from([String::new(), "a".to_owned()]));
    }
}
