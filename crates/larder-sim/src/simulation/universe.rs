//! What there is to be cached, and what can be invalidated.

use crate::chance::Chance;
use larder::{Key, Policy, Selection, Selector, Tiers, all, first_segment, key, prefix, tag};
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

/// A value of the origin: its version, and what makes it long.
pub(super) type Value = (u64, String);

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
}

impl Row {
    fn new(
        tenant: &'static str,
        first: &'static str,
        id: u64,
        declared: &'static str,
        late: &'static str,
    ) -> Self {
        let size = if id == 1 { 20_000 } else { 10 };
        Self { tenant, key: key!(first, id), first, declared, late, version: AtomicU64::new(1), size }
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
    pub(super) fn tags(&self) -> [&'static str; 2] {
        [self.declared, self.late]
    }

    /// Its policy. `all_tags`: for calls that give no loader a say.
    pub(super) fn policy(&self, chance: &Chance, all_tags: bool) -> Policy {
        let seconds = Duration::from_secs;
        let ms = Duration::from_millis;
        let policy = match chance.below(7) {
            0 => Policy::ttl(seconds(2)).jitter(0.2).stale_while_revalidate(seconds(4)).eager_refresh(1.0),
            1 => Policy::ttl(seconds(3))
                .stale_if_error(seconds(5))
                .soft_timeout(ms(50))
                .failure_cooldown(ms(200)),
            2 => Policy::ttl(seconds(4)).hard_timeout(ms(900)),
            3 => Policy::ttl(seconds(30)).tiers(chance.pick(&[Tiers::Memory, Tiers::Redis])),
            _ => Policy::ttl(seconds(60)),
        };
        let policy = policy.tag(self.declared);
        if all_tags { policy.tag(self.late) } else { policy }
    }
}

/// Which rows change.
type Chosen<'a> = Box<dyn Fn(&Row) -> bool + 'a>;

/// All rows.
pub(super) struct Universe(pub Vec<Row>);

/// What a writer changes, and how it tells.
pub(super) struct Write {
    /// Whose call it is; `None`: across tenants.
    pub(super) tenant: Option<&'static str>,
    /// What is invalidated.
    pub(super) selection: Selection,
    /// Rows that change, each with its new version.
    pub(super) rows: Vec<(usize, u64)>,
    /// Name of the kind.
    pub(super) kind: &'static str,
}

impl Universe {
    /// Two tenants and what belongs to none.
    pub(super) fn new() -> Self {
        Self(vec![
            Row::new("acme", "a", 0, "one", "x"),
            Row::new("acme", "a", 1, "two", "y"),
            Row::new("acme", "b", 2, "two", "y"),
            Row::new("beta", "a", 0, "one", "x"),
            Row::new("", "b", 3, "one", "x"),
        ])
    }

    /// Rows of a tenant.
    pub(super) fn of(&self, tenant: &str) -> Vec<usize> {
        (0..self.0.len()).filter(|row| self.0[*row].tenant == tenant).collect()
    }

    /// Changes some rows, and says what is to be invalidated for it.
    pub(super) fn write(&self, chance: &Chance) -> Write {
        let row = &self.0[chance.index(self.0.len())];
        let own = |other: &Row| other.tenant == row.tenant;
        let mut tenant = Some(row.tenant);
        let (kind, selectors, changes): (_, Vec<Selector>, Chosen<'_>) = match chance.below(11) {
            0..3 => ("key", vec![row.key.clone().into()], Box::new(|other| std::ptr::eq(other, row))),
            3 => (
                "tag",
                vec![tag(row.declared)],
                Box::new(move |other| own(other) && other.declared == row.declared),
            ),
            4 => {
                ("late tag", vec![tag(row.late)], Box::new(move |other| own(other) && other.late == row.late))
            }
            5 => (
                "prefix",
                vec![prefix!(row.first)],
                Box::new(move |other| own(other) && other.first == row.first),
            ),
            6 => ("tenant", vec![all()], Box::new(own)),
            7 => {
                tenant = None;
                ("first segment", vec![first_segment(row.first)], Box::new(|other| other.first == row.first))
            }
            8 => {
                tenant = None;
                ("everything", vec![all()], Box::new(|_| true))
            }
            9 => (
                "several",
                vec![row.key.clone().into(), tag(row.late)],
                Box::new(move |other| own(other) && (std::ptr::eq(other, row) || other.late == row.late)),
            ),
            _ => {
                let keys = self.0.iter().filter(|other| own(other)).map(|other| other.key.clone().into());
                ("keys", keys.collect(), Box::new(own))
            }
        };
        let changed = self.0.iter().enumerate().filter(|(_, other)| changes(other));
        let rows = changed.map(|(index, row)| (index, row.commit())).collect();
        Write { tenant, selection: selectors.into(), rows, kind }
    }

    /// Changes one row.
    pub(super) fn commit(&self, row: usize) -> u64 {
        self.0[row].commit()
    }
}

impl Default for Universe {
    fn default() -> Self {
        Self::new()
    }
}
