//! How much happened.

use std::collections::BTreeMap;
use std::fmt;
use std::ops::AddAssign;

/// Counts by group and name.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Counts(BTreeMap<(&'static str, &'static str), u64>);

impl Counts {
    /// One more.
    pub fn count(&mut self, group: &'static str, name: &'static str) {
        self.add(group, name, 1);
    }

    /// So many more.
    pub fn add(&mut self, group: &'static str, name: &'static str, count: u64) {
        *self.0.entry((group, name)).or_default() += count;
    }

    /// How many there were.
    pub fn of(&self, group: &str, name: &str) -> u64 {
        self.0.iter().filter(|((g, n), _)| *g == group && *n == name).map(|(_, count)| count).sum()
    }

    /// The names of a group, and how many there were of each.
    pub fn names(&self, group: &str) -> impl Iterator<Item = (&'static str, u64)> {
        self.0.iter().filter(move |((of, _), _)| *of == group).map(|((_, name), count)| (*name, *count))
    }

    /// How many there were of a group.
    pub fn total(&self, group: &str) -> u64 {
        self.0.iter().filter(|((of, _), _)| *of == group).map(|(_, count)| count).sum()
    }
}

impl AddAssign<&Self> for Counts {
    fn add_assign(&mut self, other: &Self) {
        for ((group, name), count) in &other.0 {
            self.add(group, name, *count);
        }
    }
}

impl fmt::Display for Counts {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut last = "";
        for ((group, name), count) in &self.0 {
            if *group != last {
                writeln!(f, "{group}: {}", self.total(group))?;
                last = group;
            }
            writeln!(f, "    {name:<40} {count:>12}")?;
        }
        Ok(())
    }
}
