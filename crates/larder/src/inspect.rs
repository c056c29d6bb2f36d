//! What is in memory, for administrators. Nothing here is on the way of a lookup.

use crate::buckets::Buckets;
use crate::engine::Engine;
use crate::envelope;
use crate::error::Error;
use crate::job::{Stamps, local_expiry};
use crate::key::{Key, decode};
use crate::l1::{Entry, KeyRef};
use crate::scope::{Covered, EntryScopes, Selection};
use crate::status::{Outcome, Tier};
use crate::store::{EntryName, Tags};
use std::collections::BTreeMap;
use std::time::Duration;

/// One entry.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct EntryInfo {
    /// As people see it: `campaigns:acme:page:1`.
    pub key: String,
    /// The tenant; empty for shared entries.
    pub tenant: String,
    /// Where it was found.
    pub tier: Tier,
    /// Weight in memory, in bytes; in Redis, its length there.
    pub size: u64,
    /// Fresh time left; zero when stale.
    pub ttl: Duration,
    /// Time since it was loaded.
    pub age: Duration,
    /// The declared tags; of an entry found in Redis they are not known by name.
    pub tags: Vec<String>,
    /// How long its load took.
    pub load: Duration,
    /// How the last lookup of its key on this node ended; `None` if there was none since it came into memory. Not known of
    /// an entry found in Redis.
    pub last: Option<Outcome>,
}

/// Which entries to list.
#[derive(Clone, Debug, Default)]
#[non_exhaustive]
pub struct EntryFilter {
    /// Only this tenant's (empty: only shared entries).
    pub tenant: Option<String>,
    /// Only keys that match: `*` stands for anything, also for nothing; every other character for itself.
    pub pattern: Option<String>,
}

impl EntryFilter {
    /// Only keys that match the pattern.
    #[must_use]
    pub fn pattern(mut self, pattern: impl Into<String>) -> Self {
        self.pattern = Some(pattern.into());
        self
    }

    /// Only this tenant's.
    #[must_use]
    pub fn tenant(mut self, tenant: impl Into<String>) -> Self {
        self.tenant = Some(tenant.into());
        self
    }
}

/// One page of a listing, in the order of keys; those that look the same are on one page.
#[derive(Clone, Debug)]
pub struct EntryPage {
    /// The entries.
    pub entries: Vec<EntryInfo>,
    /// Where the next page begins; `None` at the end.
    pub next: Option<String>,
}

/// Entries that a listing gathers before it drops those that are on a later page.
const KEPT: usize = 1024;

fn sort(entries: &mut [EntryInfo]) {
    entries.sort_unstable_by(|a, b| (&a.key, &a.tenant).cmp(&(&b.key, &b.tenant)));
}

/// Where a page of at least so many ends: between names, since of two entries that look the same the next page would
/// leave one out.
fn page_end(sorted: &[EntryInfo], limit: usize) -> usize {
    let cut = |at: &usize| at.checked_sub(1).is_none_or(|last| sorted[last].key != sorted[*at].key);
    (limit..sorted.len()).find(cut).unwrap_or(sorted.len())
}

/// Keeps the page, and the first name of the next, which says that there is one.
fn prune(entries: &mut Vec<EntryInfo>, limit: usize) {
    sort(entries);
    let next = page_end(entries, limit);
    entries.truncate(page_end(entries, next + 1));
}

impl Buckets {
    /// Entries that would be served now, after `cursor`, at most `limit`; one more where the last looks like another.
    pub(crate) fn list(&self, filter: &EntryFilter, cursor: Option<&str>, limit: usize) -> EntryPage {
        let mut entries: Vec<EntryInfo> = Vec::new();
        // Names behind this one are on no page that begins here.
        let mut bound: Option<String> = None;
        let spare = KEPT.max(limit.saturating_mul(4));
        self.first().l1.for_each(|key, entry| {
            if filter.tenant.as_ref().is_some_and(|tenant| **tenant != *key.tenant) {
                return;
            }
            let name = key.key.render(&key.tenant);
            let wanted = filter.pattern.as_ref().is_none_or(|pattern| matches(pattern, &name))
                && cursor.is_none_or(|cursor| name.as_str() > cursor)
                && bound.as_ref().is_none_or(|bound| name <= *bound);
            if !wanted {
                return;
            }
            entries.extend(self.home(&key.tenant).of(&key.key).describe(key.borrow(), entry));
            if entries.len() > spare {
                prune(&mut entries, limit);
                bound = entries.last().map(|last| last.key.clone());
            }
        });
        sort(&mut entries);
        let end = page_end(&entries, limit);
        let more = entries.len() > end;
        entries.truncate(end);
        let next = if more { entries.last().map(|last| last.key.clone()) } else { None };
        EntryPage { entries, next }
    }

    /// How many entries of a tenant in memory a selection covers, by first segment.
    pub(crate) fn covered(&self, tenant: &str, what: Selection) -> Result<BTreeMap<String, u64>, Error> {
        let covered = Covered::of(Some(tenant), what)?;
        let scopes = covered.all();
        let is_covered = |key: &Key, entry: &Entry| {
            let named = scopes.iter().filter(|scope| !scope.is_of_rules());
            named.into_iter().any(|scope| entry.scopes.all().contains(scope))
                || covered.globs.iter().any(|glob| matches(&glob.pattern, key.as_str()))
        };
        let mut entries = BTreeMap::new();
        self.first().l1.for_each(|key, entry| {
            if *key.tenant == *tenant
                && is_covered(&key.key, entry)
                && self.home(tenant).of(&key.key).describe(key.borrow(), entry).is_some()
            {
                *entries.entry(key.key.first_segment().to_owned()).or_default() += 1;
            }
        });
        Ok(entries)
    }

    /// The entries that people see under this name, in this node's memory.
    pub(crate) fn find(&self, rendered: &str) -> impl Iterator<Item = EntryInfo> {
        names(rendered).filter_map(|(tenant, key)| self.home(&tenant).of(&key).describe_key(&tenant, &key))
    }

    /// The entries that people see under this name, each in this node's memory or else in Redis. Fills nothing, counts
    /// nothing.
    pub(crate) async fn find_anywhere(&self, rendered: &str) -> Vec<EntryInfo> {
        let mut found = Vec::new();
        for (tenant, key) in names(rendered) {
            let home = self.home(&tenant);
            found.extend(match home.of(&key).describe_key(&tenant, &key) {
                Some(info) => Some(info),
                None => home.of(&key).find_in_redis(&tenant, &key).await,
            });
        }
        found
    }
}

impl Engine {
    /// The entry of a key, fresh in memory (unless that is passed by) or else in Redis.
    pub(crate) async fn find_one(&self, tenant: &str, key: &Key, in_memory: bool) -> Option<EntryInfo> {
        match self.describe_key(tenant, key).filter(|info| in_memory && !info.ttl.is_zero()) {
            Some(info) => Some(info),
            None => self.find_in_redis(tenant, key).await,
        }
    }

    async fn find_in_redis(&self, tenant: &str, key: &Key) -> Option<EntryInfo> {
        let remote = self.remote.as_ref()?;
        let name = [EntryName { tenant, key: key.as_str() }];
        let mut scopes = EntryScopes::of(tenant, key);
        // Once more if something else has come between the value and the stamps of its tags.
        for _ in 0..2 {
            let (link, sent) = (remote.good_link()?, self.now());
            let asked = scopes.asked();
            let reply = link.read(&name, &asked, Tags::Carried, self.options.read_timeout).await;
            remote.note(&link, &reply);
            let mut reply = reply.ok()?;
            let stamps = Stamps::new(asked, &mut reply);
            let (state, bytes) = (reply.state?, reply.values.first()?.as_ref()?);
            let header = envelope::open(bytes, key.as_str())?.header;
            header.tags.iter().for_each(|tag| scopes.add(*tag));
            if !stamps.knows_all(&header.tags) {
                continue;
            }
            let mut expiry = local_expiry(remote, &header, sent);
            let mut valid = header.epoch == state.epoch && header.ver >= state.floor;
            for (scope, stamp) in stamps.later(scopes.all(), header.ver) {
                if scope.is_soft() {
                    expiry = expiry.stale_from(remote.moment_of(stamp, sent));
                } else {
                    valid &= self.is_spared(&scope, key.as_str(), header.epoch, header.ver, stamp);
                }
            }
            valid &= self.now() < expiry.hard;
            return valid.then(|| EntryInfo {
                key: key.render(tenant),
                tenant: tenant.to_owned(),
                tier: Tier::Redis,
                size: bytes.len() as u64,
                ttl: expiry.soft.since(self.now()),
                age: self.now().since(expiry.made),
                tags: Vec::new(),
                load: header.load,
                last: None,
            });
        }
        None
    }

    fn describe_key(&self, tenant: &str, key: &Key) -> Option<EntryInfo> {
        let key = KeyRef { tenant, key };
        self.describe(key, &*self.l1.get(key)?)
    }

    fn describe(&self, key: KeyRef<'_>, entry: &Entry) -> Option<EntryInfo> {
        let now = self.now();
        let expiry =
            entry.expiry.stale_from(self.mirror.standing(&entry.judged, entry.scopes.subject(key.key))?);
        (now < expiry.hard).then(|| EntryInfo {
            key: key.key.render(key.tenant),
            tenant: key.tenant.to_owned(),
            tier: Tier::Memory,
            size: entry.weight,
            ttl: expiry.soft.since(now),
            age: now.since(entry.expiry.made),
            tags: entry.tags.iter().map(ToString::to_string).collect(),
            load: entry.load,
            last: entry.last.get(),
        })
    }
}

/// The entries that people may mean by a name: a shared one, or one of the tenant in its second segment.
fn names(rendered: &str) -> impl Iterator<Item = (String, Key)> {
    let shared = Key::from_encoded(rendered).ok().map(|key| (String::new(), key));
    let of_tenant = || {
        let (first, rest) = rendered.split_once(':')?;
        let (tenant, key) = match rest.split_once(':') {
            Some((tenant, rest)) => (tenant, format!("{first}:{rest}")),
            None => (rest, first.to_owned()),
        };
        Some((decode(tenant)?, Key::from_encoded(&key).ok()?)).filter(|(tenant, _)| !tenant.is_empty())
    };
    shared.into_iter().chain(of_tenant())
}

/// Whether `text` matches, where `*` stands for anything. Takes time in the product of both lengths at most.
pub fn matches(pattern: &str, text: &str) -> bool {
    let mut parts = pattern.split('*');
    let first = parts.next().unwrap_or_default();
    let Some(mut rest) = text.strip_prefix(first) else { return false };
    let mut parts: Vec<&str> = parts.collect();
    let Some(last) = parts.pop() else { return rest.is_empty() };
    for part in parts {
        match rest.find(part) {
            Some(at) => rest = &rest[at + part.len()..],
            None => return false,
        }
    }
    rest.ends_with(last)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::key;

    #[test]
    fn patterns_match_whole_texts() {
        for (pattern, text, expected) in [
            ("", "", true),
            ("", "a", false),
            ("*", "", true),
            ("campaigns:*", "campaigns:acme:page:1", true),
            ("campaigns:*", "campaign:acme:1", false),
            ("*:page:*", "campaigns:acme:page:1", true),
            ("a*b*c", "axxbyyc", true),
            ("a*b*c", "axxbyy", false),
            ("a*a", "a", false),
            ("[a]", "[a]", true),
        ] {
            assert_eq!(matches(pattern, text), expected, "{pattern} {text}");
        }
    }

    #[test]
    fn what_is_kept_of_many_entries_is_a_page_and_the_next_name() {
        let named = |name: &&str| EntryInfo {
            key: (*name).to_owned(),
            tenant: String::new(),
            tier: Tier::Memory,
            size: 0,
            ttl: Duration::ZERO,
            age: Duration::ZERO,
            tags: Vec::new(),
            load: Duration::ZERO,
            last: None,
        };
        for (there, limit, kept) in [
            ("c b a d", 2, "a b c"),
            ("a b b b c c d", 2, "a b b b c c"),
            ("a a a", 2, "a a a"),
            ("b a", 2, "a b"),
            ("a", 2, "a"),
            ("", 2, ""),
        ] {
            let mut entries: Vec<EntryInfo> =
                there.split_whitespace().collect::<Vec<_>>().iter().map(named).collect();
            prune(&mut entries, limit);
            let names: Vec<&str> = entries.iter().map(|entry| entry.key.as_str()).collect();
            assert_eq!(names.join(" "), kept, "{there}");
        }
    }

    #[test]
    fn a_name_stands_for_a_shared_entry_and_for_a_tenants() {
        let meant: Vec<_> = names("a:x%3Ab:c").collect();
        assert_eq!(meant, [(String::new(), key!("a", "x:b", "c")), ("x:b".to_owned(), key!("a", "c"))]);
        assert!(names("a:x%3:c").next().is_none());
    }
}
