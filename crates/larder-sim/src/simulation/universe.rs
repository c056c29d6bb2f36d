//! What there is to be cached, and what can be invalidated.

use super::history::Effect;
use crate::chance::Chance;
use larder::{Key, Policy, Selector, Tiers, all, first_segment, glob, key, prefix, tag};
use std::collections::BTreeSet;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

/// A value of the origin: its version, and what makes it long.
pub(super) type Value = (u64, String);

/// How a call is made.
pub(super) struct How {
    pub(super) policy: Policy,
    /// Whether its loads are shared with other nodes.
    pub(super) shares: bool,
    /// Whether it waits for as long as loads may take.
    pub(super) is_patient: bool,
}

/// One row of the origin.
pub(super) struct Row {
    /// Whose it is; nobody's if empty.
    pub(super) tenant: &'static str,
    /// Its key.
    pub(super) key: Key,
    first: &'static str,
    declared: &'static str,
    /// A tag that only its loader knows.
    pub(super) late: &'static str,
    version: AtomicU64,
    /// How many bytes its value has beyond its version.
    size: usize,
    /// Whether it is one of many, which are loaded quickly.
    pub(super) is_one_of_many: bool,
}

/// Whose rows are many.
pub(super) const MANY: &str = "many";

/// More than one lookup of many asks Redis for in as many rounds as it goes through (32).
const HOW_MANY: u64 = 45;

/// The bytes of the largest value: Redis is given it as one argument, in many parts.
const LARGEST: usize = 1_000_000;

impl Row {
    fn new(
        tenant: &'static str,
        first: &'static str,
        id: u64,
        (declared, late): (&'static str, &'static str),
        size: usize,
    ) -> Self {
        Self {
            tenant,
            key: key!(first, id),
            first,
            declared,
            late,
            version: AtomicU64::new(1),
            size,
            is_one_of_many: false,
        }
    }

    fn one_of_many(id: u64) -> Self {
        Self { is_one_of_many: true, ..Self::new(MANY, "m", id, ("one", "x"), 10) }
    }

    /// Its version now.
    pub(super) fn version(&self) -> u64 {
        self.version.load(Ordering::SeqCst)
    }

    /// Its value now.
    pub(super) fn value(&self) -> Value {
        (self.version(), "x".repeat(self.size))
    }

    fn commit(&self) -> u64 {
        self.version.fetch_add(1, Ordering::SeqCst) + 1
    }

    /// Its tags.
    fn tags(&self) -> [&'static str; 2] {
        [self.declared, self.late]
    }

    /// Its policy. `all_tags`: for calls that give no loader a say.
    pub(super) fn policy(&self, chance: &Chance, all_tags: bool) -> Policy {
        self.how(chance, all_tags).policy
    }

    /// The same, with what follows from it.
    pub(super) fn how(&self, chance: &Chance, all_tags: bool) -> How {
        let seconds = Duration::from_secs;
        let ms = Duration::from_millis;
        let kind = chance.below(8);
        let mut shares = true;
        let policy = match kind {
            0 => Policy::ttl(seconds(2)).jitter(0.2).stale_while_revalidate(seconds(4)).eager_refresh(1.0),
            1 => Policy::ttl(seconds(3))
                .stale_if_error(seconds(5))
                .soft_timeout(ms(50))
                .failure_cooldown(ms(200)),
            2 => Policy::ttl(seconds(4)).hard_timeout(ms(900)),
            3 => {
                let tiers = chance.pick(&[Tiers::Memory, Tiers::Redis]);
                shares = tiers != Tiers::Memory;
                Policy::ttl(seconds(30)).tiers(tiers)
            }
            4 => Policy::ttl(LONGEST).stale_while_revalidate(seconds(30)).stale_if_error(seconds(60)),
            _ => Policy::ttl(LONGEST),
        };
        let policy = policy.tag(self.declared);
        let policy = if all_tags { policy.tag(self.late) } else { policy };
        How { policy, shares, is_patient: kind != 2 }
    }
}

/// The longest TTL of any policy.
pub(super) const LONGEST: Duration = Duration::from_secs(60);

/// Patterns of keys: of parts of segments, in the middle, of everything, of nothing.
const PATTERNS: [&str; 8] = ["a*", "a:*", "*:1", "b:2", "*", "*2*", "c*", "a:1*"];

/// Whether a pattern matches: written once more, to be compared.
fn matches(pattern: &str, text: &str) -> bool {
    match pattern.split_once('*') {
        None => pattern == text,
        Some((before, after)) => text.strip_prefix(before).is_some_and(|rest| {
            (0..=rest.len()).filter(|at| rest.is_char_boundary(*at)).any(|at| matches(after, &rest[at..]))
        }),
    }
}

/// Which rows change.
type Chosen<'a> = Box<dyn Fn(&Row) -> bool + 'a>;

/// What is invalidated: its name, how it is said, which rows it concerns.
type Kind<'a> = (&'static str, Vec<Selector>, Chosen<'a>);

/// All rows: a few, then perhaps many of another tenant.
pub(super) struct Universe(pub Vec<Row>);

/// What a writer changes, and how it tells.
pub(super) struct Write {
    /// Whose call it is; `None`: across tenants.
    pub(super) tenant: Option<&'static str>,
    /// What is invalidated.
    pub(super) selectors: Vec<Selector>,
    /// Whether older values are gone or stale.
    pub(super) effect: Effect,
    /// Rows that change, each with its new version.
    pub(super) rows: Vec<(usize, u64)>,
    /// Name of the kind.
    pub(super) kind: &'static str,
}

impl Universe {
    /// Two tenants and what belongs to none; now and then a third, which has many rows.
    pub(super) fn new(chance: &Chance) -> Self {
        let large = chance.pick(&[20_000, 20_000, 20_000, 20_000, 100_000, LARGEST]);
        let many = if chance.below(4) == 0 { HOW_MANY } else { 0 };
        let few = [
            Row::new("acme", "a", 0, ("one", "x"), 10),
            Row::new("acme", "a", 1, ("two", "y"), large),
            Row::new("acme", "b", 2, ("two", "y"), 10),
            Row::new("beta", "a", 0, ("one", "x"), 10),
            Row::new("", "b", 3, ("one", "x"), 10),
        ];
        Self(few.into_iter().chain((0..many).map(Row::one_of_many)).collect())
    }

    /// Every tag of these rows.
    pub(super) fn tags_of(&self, rows: &[usize]) -> BTreeSet<&'static str> {
        rows.iter().flat_map(|row| self.0[*row].tags()).collect()
    }

    /// One of the few rows.
    pub(super) fn some(&self, chance: &Chance) -> usize {
        chance.index(self.0.iter().filter(|row| !row.is_one_of_many).count())
    }

    /// Whether there is a tenant that has many rows.
    pub(super) fn has_many(&self) -> bool {
        self.0.iter().any(|row| row.is_one_of_many)
    }

    /// Rows of a tenant.
    pub(super) fn of(&self, tenant: &str) -> Vec<usize> {
        (0..self.0.len()).filter(|row| self.0[*row].tenant == tenant).collect()
    }

    /// Changes some rows, and says what is to be invalidated for it.
    pub(super) fn write(&self, chance: &Chance) -> Write {
        let row = if self.has_many() && chance.below(8) == 0 { self.0.len() - 1 } else { self.some(chance) };
        self.any_write(chance, row, chance.below(12) < 2)
    }

    /// The same of one tenant's rows.
    pub(super) fn write_within(&self, chance: &Chance) -> Write {
        self.any_write(chance, self.some(chance), false)
    }

    fn any_write(&self, chance: &Chance, row: usize, across: bool) -> Write {
        let row = &self.0[row];
        let (kind, selectors, changes) =
            if across { Self::across(row, chance) } else { self.within(row, chance) };
        let effect = if chance.below(4) == 0 { Effect::Expired } else { Effect::Invalidated };
        let changed = self.0.iter().enumerate().filter(|(_, other)| changes(other));
        let rows = changed.map(|(index, row)| (index, row.commit())).collect();
        let tenant = (!across).then_some(row.tenant);
        Write { tenant, selectors, effect, rows, kind }
    }

    /// What concerns rows of all tenants.
    fn across<'a>(row: &'a Row, chance: &Chance) -> Kind<'a> {
        if chance.below(2) == 0 {
            ("everything", vec![all()], Box::new(|_| true))
        } else {
            ("first segment", vec![first_segment(row.first)], Box::new(|other| other.first == row.first))
        }
    }

    /// What concerns rows of this one's tenant.
    fn within<'a>(&'a self, row: &'a Row, chance: &Chance) -> Kind<'a> {
        let own = |other: &Row| other.tenant == row.tenant;
        let all_keys = || self.0.iter().filter(move |other| own(other)).map(|other| other.key.clone().into());
        match chance.below(12) {
            0..3 => ("key", vec![row.key.clone().into()], Box::new(|other| std::ptr::eq(other, row))),
            3 => {
                let changes = move |other: &Row| own(other) && other.declared == row.declared;
                ("tag", vec![tag(row.declared)], Box::new(changes))
            }
            4 => {
                let changes = move |other: &Row| own(other) && other.late == row.late;
                ("late tag", vec![tag(row.late)], Box::new(changes))
            }
            5 => {
                let changes = move |other: &Row| own(other) && other.first == row.first;
                ("prefix", vec![prefix!(row.first)], Box::new(changes))
            }
            6 => ("tenant", vec![all()], Box::new(own)),
            7 => {
                let changes =
                    move |other: &Row| own(other) && (std::ptr::eq(other, row) || other.late == row.late);
                ("several", vec![row.key.clone().into(), tag(row.late)], Box::new(changes))
            }
            8 => ("keys", all_keys().collect(), Box::new(own)),
            9..11 => {
                let pattern = chance.pick(&PATTERNS);
                let changes = move |other: &Row| own(other) && matches(pattern, other.key.as_str());
                ("pattern", vec![glob(pattern)], Box::new(changes))
            }
            _ => {
                let patterns: Vec<&str> = (0..2 + chance.below(3)).map(|_| chance.pick(&PATTERNS)).collect();
                let mut selectors: Vec<Selector> = patterns.iter().map(|pattern| glob(*pattern)).collect();
                selectors.push(tag(row.declared));
                let matching = move |key: &str| patterns.iter().any(|pattern| matches(pattern, key));
                let changes = move |other: &Row| {
                    own(other) && (matching(other.key.as_str()) || other.declared == row.declared)
                };
                ("patterns and a tag", selectors, Box::new(changes))
            }
        }
    }

    /// Changes one row.
    pub(super) fn commit(&self, row: usize) -> u64 {
        self.0[row].commit()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_star_stands_for_any_text() {
        for (pattern, text, expected) in [
            ("a*", "a:0", true),
            ("*:1", "a:1", true),
            ("a:1*", "a:0", false),
            ("*2*", "b:2", true),
            ("", "a", false),
        ] {
            assert_eq!(matches(pattern, text), expected, "{pattern} {text}");
        }
    }
}
