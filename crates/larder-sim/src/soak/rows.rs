//! The rows of the origin, and what writers do to them. Nodes and the coordinator make the same ones.

use crate::chance::Chance;
use crate::simulation::history::Effect;
use larder::{Key, Policy, Selection, Selector, Tiers, all, first_segment, glob, key, prefix, tag};
use std::time::Duration;

/// Whose rows there are: names that would be something else to Redis, or to a careless program; and enough of them for
/// every primary of a Cluster. The last is nobody's.
const TENANTS: [&str; 13] =
    ["acme", "beta", "a:b", "a", "{1}", "*", "ac*", "a\0", "t-1", "t-2", "t-3", "t-4", ""];

/// Who has the rows that are written by setting their values, one for each place of a node: a value that is set is as old
/// as the call, so its writer has to be the only one.
const SETTERS: &str = "set";

/// Nodes at a time.
pub(super) const MAX_NODES: usize = 8;

/// A tenant that is spread over several buckets of a Cluster.
pub(super) const SPREAD: &str = "acme";

/// A value: its version, its row, and what makes it long.
pub(super) type Value = (u64, usize, String);

/// One row.
pub(super) struct Row {
    /// Whose it is; nobody's if empty.
    pub(super) tenant: &'static str,
    /// Its key.
    pub(super) key: Key,
    first: &'static str,
    declared: &'static str,
    /// A tag that only its loader knows.
    pub(super) late: &'static str,
    /// How many bytes its value has beyond its version.
    size: usize,
}

impl Row {
    /// Its value in this version.
    pub(super) fn value(&self, row: usize, version: u64) -> Value {
        (version, row, "x".repeat(self.size))
    }

    /// How the name of its entry in Redis ends.
    pub(super) fn ending(&self) -> String {
        format!(":e:{}:{}:{}", self.tenant.len(), self.tenant, self.key.as_str())
    }

    /// Its tags.
    pub(super) fn tags(&self) -> [&'static str; 2] {
        [self.declared, self.late]
    }

    /// One of the policies under which it is read. `all_tags`: for calls that give no loader a say.
    pub(super) fn policy(&self, chance: &Chance, all_tags: bool) -> Policy {
        let (seconds, ms) = (Duration::from_secs, Duration::from_millis);
        let policy = match chance.below(10) {
            0 => Policy::ttl(seconds(2)).jitter(0.2).stale_while_revalidate(seconds(4)).eager_refresh(1.0),
            1 => Policy::ttl(seconds(3))
                .stale_if_error(seconds(5))
                .soft_timeout(ms(50))
                .failure_cooldown(ms(200)),
            2 => Policy::ttl(seconds(4)).hard_timeout(ms(900)),
            3 => Policy::ttl(seconds(30)).tiers(chance.pick(&[Tiers::Memory, Tiers::Redis])),
            4..6 => Policy::ttl(seconds(60)).stale_while_revalidate(seconds(30)).stale_if_error(seconds(60)),
            _ => Policy::ttl(seconds(60)),
        };
        let policy = policy.tag(self.declared);
        if all_tags { policy.tag(self.late) } else { policy }
    }
}

/// What a writer changes, and how it tells.
pub(super) struct Change {
    /// Whose call it is; `None`: across tenants.
    pub(super) tenant: Option<&'static str>,
    /// What is invalidated.
    pub(super) selection: Selection,
    /// Whether older values are gone or stale.
    pub(super) effect: Effect,
    /// Rows that change.
    pub(super) rows: Vec<usize>,
    /// Name of the kind.
    pub(super) kind: Kind,
}

/// Kinds of changes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Kind {
    Key,
    Keys,
    Tag,
    LateTag,
    KeyAndTag,
    Prefix,
    Pattern,
    Tenant,
    FirstSegment,
    Everything,
    /// No invalidation by name: its value is set.
    Set,
}

impl Kind {
    pub(super) const ALL: [Self; 11] = [
        Self::Key,
        Self::Keys,
        Self::Tag,
        Self::LateTag,
        Self::KeyAndTag,
        Self::Prefix,
        Self::Pattern,
        Self::Tenant,
        Self::FirstSegment,
        Self::Everything,
        Self::Set,
    ];

    /// One word.
    pub(super) fn as_str(self) -> &'static str {
        match self {
            Self::Key => "key",
            Self::Keys => "keys",
            Self::Tag => "tag",
            Self::LateTag => "late-tag",
            Self::KeyAndTag => "key-and-tag",
            Self::Prefix => "prefix",
            Self::Pattern => "pattern",
            Self::Tenant => "tenant",
            Self::FirstSegment => "first-segment",
            Self::Everything => "everything",
            Self::Set => "set",
        }
    }

    /// What covers one thing more often than what covers much.
    fn any(chance: &Chance) -> Self {
        match chance.below(100) {
            0..44 => Self::Key,
            44..52 => Self::Keys,
            52..64 => Self::Tag,
            64..76 => Self::LateTag,
            76..82 => Self::KeyAndTag,
            82..88 => Self::Prefix,
            88..92 => Self::Pattern,
            92..97 => Self::Tenant,
            97..99 => Self::FirstSegment,
            _ => Self::Everything,
        }
    }
}

/// All rows.
pub(super) struct Rows(pub(super) Vec<Row>);

impl Rows {
    /// Four of each tenant, and one for each place.
    pub(super) fn new() -> Self {
        let of = |tenant| {
            let row = |first, key, declared, late, size| Row { tenant, key, first, declared, late, size };
            [
                row("a", key!("a", 0), "one", "x", 10),
                // Beyond the size from which values take another way into Redis.
                row("a", key!("a", 1), "two", "y", 20_000),
                row("b", key!("b", "*"), "two", "y", 10),
                row("b", key!("b", "{2}:1"), "one", "y", 100),
            ]
        };
        let set = (0..MAX_NODES).map(|place| Row {
            tenant: SETTERS,
            key: key!("a", place),
            first: "a",
            declared: "one",
            late: "x",
            size: 10,
        });
        Self(TENANTS.into_iter().flat_map(of).chain(set).collect())
    }

    /// The row whose values are set by the node in this place.
    pub(super) fn set_by(&self, place: usize) -> usize {
        self.0.len() - MAX_NODES + place
    }

    /// Rows of a tenant.
    pub(super) fn of(&self, tenant: &str) -> Vec<usize> {
        (0..self.0.len()).filter(|row| self.0[*row].tenant == tenant).collect()
    }

    fn which(&self, holds: impl Fn(&Row) -> bool) -> Vec<usize> {
        (0..self.set_by(0)).filter(|row| holds(&self.0[*row])).collect()
    }

    /// What somebody changes next.
    pub(super) fn change(&self, chance: &Chance) -> Change {
        let one = chance.index(self.set_by(0));
        let row = &self.0[one];
        let own =
            |holds: &dyn Fn(&Row) -> bool| self.which(|other| other.tenant == row.tenant && holds(other));
        let kind = Kind::any(chance);
        let key = || Selector::from(row.key.clone());
        let (selectors, rows) = match kind {
            Kind::Key => (vec![key()], vec![one]),
            Kind::Keys => {
                let rows = self.of(row.tenant);
                (rows.iter().map(|row| self.0[*row].key.clone().into()).collect(), rows)
            }
            Kind::Tag => (vec![tag(row.declared)], own(&|other| other.declared == row.declared)),
            Kind::LateTag => (vec![tag(row.late)], own(&|other| other.late == row.late)),
            Kind::KeyAndTag => {
                (vec![key(), tag(row.late)], own(&|other| other.key == row.key || other.late == row.late))
            }
            Kind::Prefix => (vec![prefix!(row.first)], own(&|other| other.first == row.first)),
            Kind::Pattern => (vec![glob(format!("{}*", row.first))], own(&|other| other.first == row.first)),
            Kind::Tenant => (vec![all()], self.of(row.tenant)),
            Kind::FirstSegment => {
                (vec![first_segment(row.first)], self.which(|other| other.first == row.first))
            }
            Kind::Everything => (vec![all()], self.which(|_| true)),
            Kind::Set => unreachable!("it is drawn for nobody"),
        };
        let across = matches!(kind, Kind::FirstSegment | Kind::Everything);
        let effect = if chance.below(4) == 0 { Effect::Expired } else { Effect::Invalidated };
        Change { tenant: (!across).then_some(row.tenant), selection: selectors.into(), effect, rows, kind }
    }
}
