//! Scopes: what an entry belongs to, and so what can invalidate it.

use crate::error::{Error, ErrorKind};
use crate::key::Key;
use crate::limits::{MAX_PATTERN_BYTES, MAX_PREFIX_SEGMENTS, MAX_SELECTORS, MAX_TAG_BYTES, MAX_TENANT_RULES};
use crate::simulation::{Limit, Mutant, is, limit};
use smallvec::SmallVec;
use std::fmt;
use std::sync::Arc;

/// Sixteen bytes that stand for a scope: `s` and 120 bits of a keyed BLAKE3 hash over kind, tenant and name. With `x`
/// instead of the `s` they stand for the same scope where it is expired, not invalidated.
///
/// Two scopes that collide are merged: an invalidation of one also drops entries of the other. Nothing stale can
/// come of it. This is the form in which scopes go to Redis (as members of the coherence key).
#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct ScopeHash([u8; 16]);

/// First byte of a scope.
const HARD: u8 = b's';
/// First byte of the form in which it is expired.
const SOFT: u8 = b'x';

/// The key of the hash. Changing it changes every scope, hence the version in it.
const HASH_KEY: &[u8; 32] = b"larder scope hash, version 1    ";

/// The first byte of the scope of a tenant's rules.
const RULES: u8 = b'g';

/// What kind of scope a name is hashed as.
#[derive(Clone, Copy)]
#[repr(u8)]
enum ScopeKind {
    All = b'*',
    First = b'F',
    Tenant = b'T',
    Prefix = b'P',
    Tag = b'G',
    Key = b'K',
    Rules = b'R',
}

impl ScopeHash {
    fn of(kind: ScopeKind, tenant: &str, name: &str) -> Self {
        let mut hasher = blake3::Hasher::new_keyed(HASH_KEY);
        hasher.update(&[kind as u8]);
        hasher.update(&(tenant.len() as u64).to_be_bytes());
        hasher.update(tenant.as_bytes());
        hasher.update(name.as_bytes());
        let mut bytes = [HARD; 16];
        bytes[1..].copy_from_slice(&hasher.finalize().as_bytes()[..15]);
        Self(bytes)
    }

    /// The scope of one entry.
    pub(crate) fn of_key(tenant: &str, key: &Key) -> Self {
        Self::of(ScopeKind::Key, tenant, key.as_str())
    }

    /// The scope of everything.
    pub(crate) fn everything() -> Self {
        Self::of(ScopeKind::All, "", "")
    }

    /// The scope of all entries of one tenant.
    pub(crate) fn of_tenant(tenant: &str) -> Self {
        Self::of(ScopeKind::Tenant, tenant, "")
    }

    pub(crate) fn of_tag(tenant: &str, tag: &str) -> Self {
        Self::of(ScopeKind::Tag, tenant, tag)
    }

    /// The scope of all rules of one tenant. Its first byte tells it from others.
    fn of_rules(tenant: &str) -> Self {
        let Self(mut bytes) = Self::of(ScopeKind::Rules, tenant, "");
        bytes[0] = RULES;
        Self(bytes)
    }

    /// Whether patterns decide what an invalidation of this scope concerns.
    pub(crate) const fn is_of_rules(&self) -> bool {
        self.0[0] == RULES
    }

    /// The bytes.
    pub const fn as_bytes(&self) -> &[u8; 16] {
        &self.0
    }

    /// From sixteen bytes as they came from the server; `None` if they are none of ours.
    pub fn from_bytes(bytes: &[u8]) -> Option<Self> {
        let bytes: [u8; 16] = bytes.try_into().ok()?;
        matches!(bytes[0], HARD | SOFT | RULES).then_some(Self(bytes))
    }

    /// The form under which this scope is [expired](crate::Tenant::expire) instead of invalidated.
    #[must_use]
    pub const fn soft(mut self) -> Self {
        self.0[0] = SOFT;
        self
    }

    /// The scope itself, whichever form this is.
    #[must_use]
    pub const fn hard(mut self) -> Self {
        if self.is_soft() {
            self.0[0] = HARD;
        }
        self
    }

    /// Whether this is the form under which a scope is expired.
    pub const fn is_soft(&self) -> bool {
        self.0[0] == SOFT
    }
}

impl fmt::Debug for ScopeHash {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for byte in &self.0[1..5] {
            write!(f, "{byte:02x}")?;
        }
        Ok(())
    }
}

/// An invalidation by a pattern: the scope of the tenant's rules, and the pattern that decides what it concerns.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Glob {
    /// The scope of all rules of the tenant.
    pub scope: ScopeHash,
    /// Matched against the encoded key: `*` stands for any text, every other character for itself.
    pub pattern: Arc<str>,
}

impl Glob {
    pub(crate) fn new(tenant: &str, pattern: &str) -> Self {
        Self { scope: ScopeHash::of_rules(tenant), pattern: pattern.into() }
    }
}

/// An entry as the mirror judges it.
#[derive(Clone, Copy)]
pub(crate) struct Subject<'a> {
    pub(crate) scopes: &'a [ScopeHash],
    /// The encoded key; empty where it is not known, and then every rule concerns it.
    pub(crate) key: &'a str,
}

impl<'a> From<&'a [ScopeHash]> for Subject<'a> {
    fn from(scopes: &'a [ScopeHash]) -> Self {
        Self { scopes, key: "" }
    }
}

impl<'a, const N: usize> From<&'a [ScopeHash; N]> for Subject<'a> {
    fn from(scopes: &'a [ScopeHash; N]) -> Self {
        Self { scopes, key: "" }
    }
}

/// What an invalidation changes in the mirror.
#[derive(Clone, Copy)]
pub(crate) struct Change<'a> {
    pub(crate) scopes: &'a [ScopeHash],
    pub(crate) globs: &'a [Glob],
}

impl<'a> From<&'a [ScopeHash]> for Change<'a> {
    fn from(scopes: &'a [ScopeHash]) -> Self {
        Self { scopes, globs: &[] }
    }
}

impl<'a, const N: usize> From<&'a [ScopeHash; N]> for Change<'a> {
    fn from(scopes: &'a [ScopeHash; N]) -> Self {
        Self { scopes, globs: &[] }
    }
}

/// The scopes of an entry without its tags: its key's own scope first, then all, first segment, tenant, the tenant's
/// rules, prefixes.
#[derive(Clone, Debug)]
pub(crate) struct EntryScopes(SmallVec<[ScopeHash; 12]>);

impl EntryScopes {
    pub(crate) fn of(tenant: &str, key: &Key) -> Self {
        let mut scopes = SmallVec::new();
        scopes.push(ScopeHash::of_key(tenant, key));
        scopes.push(ScopeHash::everything());
        scopes.push(ScopeHash::of(ScopeKind::First, "", key.first_segment()));
        scopes.push(ScopeHash::of_tenant(tenant));
        scopes.push(ScopeHash::of_rules(tenant));
        let text = key.as_str();
        scopes.extend(
            key.boundaries()
                .take(MAX_PREFIX_SEGMENTS)
                .map(|end| ScopeHash::of(ScopeKind::Prefix, tenant, &text[..end])),
        );
        Self(scopes)
    }

    /// With tags added, those already there left out.
    pub(crate) fn add_tags<'a>(&mut self, tenant: &str, tags: impl IntoIterator<Item = &'a str>) {
        for tag in tags {
            self.add(ScopeHash::of_tag(tenant, tag));
        }
    }

    pub(crate) fn add(&mut self, scope: ScopeHash) {
        if !self.0.contains(&scope) {
            self.0.push(scope);
        }
    }

    /// The key's own scope.
    pub(crate) fn key(&self) -> ScopeHash {
        self.0[0]
    }

    /// That of the first segment, across tenants.
    pub(crate) fn first_segment(&self) -> ScopeHash {
        self.0[2]
    }

    /// What the mirror judges, of the entry with this key.
    pub(crate) fn subject<'a>(&'a self, key: &'a Key) -> Subject<'a> {
        Subject { scopes: &self.0, key: key.as_str() }
    }

    /// All of them: what this node checks.
    pub(crate) fn all(&self) -> &[ScopeHash] {
        &self.0
    }

    /// What Redis is asked for when an entry is read: the stamps of [`EntryScopes::shared`], and of all where expired.
    pub(crate) fn asked(&self) -> Vec<ScopeHash> {
        // Patterns expire nothing by themselves.
        let soft = self.0.iter().filter(|scope| !scope.is_of_rules()).map(|scope| scope.soft());
        self.shared().iter().copied().chain(soft).collect()
    }

    /// Those that Redis keeps stamps of: all but the key's own, whose invalidation deletes value and lease instead.
    pub(crate) fn shared(&self) -> &[ScopeHash] {
        &self.0[1..]
    }
}

/// What an invalidation covers.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Selector {
    /// One entry.
    Key(Key),
    /// Every entry of the tenant that carries the tag.
    Tag(String),
    /// Every entry of the tenant whose key begins with these segments. Beyond eight segments it is widened to the
    /// first eight.
    Prefix(Key),
    /// Every entry of the tenant whose encoded key ([`Key::as_str`], without the tenant) matches, where `*` stands for any
    /// text and every other character for itself: for what no tag or prefix names. At most 1,024 bytes. Redis is told in
    /// one step, and nothing is listed: nodes match the pattern when they next look at an entry. They remember the last
    /// 64 patterns of a tenant; what is older than those, or than the node, is dropped whether it matches or not.
    Glob(String),
    /// Every entry whose key has this first segment, across tenants. Only on [`Cache::invalidate`](crate::Cache::invalidate).
    FirstSegment(String),
    /// Every entry: of the tenant, or on [`Cache::invalidate`](crate::Cache::invalidate) of everybody.
    All,
}

/// Every entry of the tenant that carries this tag.
pub fn tag(name: impl Into<String>) -> Selector {
    Selector::Tag(name.into())
}

/// Every entry of the tenant whose encoded key matches this pattern: see [`Selector::Glob`].
pub fn glob(pattern: impl Into<String>) -> Selector {
    Selector::Glob(pattern.into())
}

/// Every entry: of the tenant, or on [`Cache::invalidate`](crate::Cache::invalidate) of everybody.
pub fn all() -> Selector {
    Selector::All
}

/// Every entry with this first segment, across tenants.
pub fn first_segment(name: impl Into<String>) -> Selector {
    Selector::FirstSegment(name.into())
}

impl From<Key> for Selector {
    fn from(key: Key) -> Self {
        Self::Key(key)
    }
}

/// One or more [`Selector`]s, invalidated as one.
#[derive(Clone, Debug, Default)]
pub struct Selection(Vec<Selector>);

impl<S: Into<Selector>> From<S> for Selection {
    fn from(selector: S) -> Self {
        Self(vec![selector.into()])
    }
}

impl<const N: usize> From<[Selector; N]> for Selection {
    fn from(selectors: [Selector; N]) -> Self {
        Self(selectors.into())
    }
}

impl From<Vec<Selector>> for Selection {
    fn from(selectors: Vec<Selector>) -> Self {
        Self(selectors)
    }
}

impl Selection {
    pub(crate) fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    pub(crate) fn each(&self) -> impl Iterator<Item = &Selector> {
        self.0.iter()
    }

    pub(crate) fn filtered(&self, keep: impl Fn(&Selector) -> bool) -> Self {
        Self(self.0.iter().filter(|selector| keep(selector)).cloned().collect())
    }
}

/// A selection with its scopes worked out.
#[derive(Clone, Debug, Default)]
pub(crate) struct Covered {
    /// Scopes that get a stamp.
    pub(crate) scopes: Vec<ScopeHash>,
    /// Single entries, with their own scopes.
    pub(crate) keys: Vec<(String, Key, ScopeHash)>,
    /// Patterns. Their scope is among the scopes.
    pub(crate) globs: Vec<Glob>,
    /// The scope of their tenant.
    pub(crate) tenant: Option<ScopeHash>,
}

impl Covered {
    /// `tenant` is `None` for an invalidation across tenants.
    pub(crate) fn of(tenant: Option<&str>, selection: Selection) -> Result<Self, Error> {
        let Selection(selectors) = selection;
        if selectors.is_empty() || selectors.len() > MAX_SELECTORS {
            let why =
                format!("an invalidation takes 1 to {MAX_SELECTORS} selectors, not {}", selectors.len());
            return Err(Error::new(ErrorKind::InvalidRequest, why));
        }
        let mut covered = Self::default();
        for selector in selectors {
            covered.add(tenant, selector)?;
        }
        if covered.globs.len() > limit(Limit::TenantRules, MAX_TENANT_RULES)
            && let Some(tenant) = tenant
        {
            // More than nodes remember.
            covered.globs.clear();
            covered.scopes.push(ScopeHash::of_tenant(tenant));
        }
        Ok(covered)
    }

    fn add(&mut self, tenant: Option<&str>, selector: Selector) -> Result<(), Error> {
        let scope = match (selector, tenant) {
            (Selector::Key(key), Some(tenant)) => {
                key.check()?;
                let scope = ScopeHash::of_key(tenant, &key);
                self.keys.push((tenant.to_owned(), key, scope));
                return Ok(());
            }
            (Selector::Tag(tag), Some(tenant)) => {
                check_tag(&tag)?;
                ScopeHash::of_tag(tenant, &tag)
            }
            (Selector::Prefix(prefix), Some(tenant)) => {
                prefix.check()?;
                let end = prefix.boundaries().take(MAX_PREFIX_SEGMENTS).last().unwrap_or(0);
                ScopeHash::of(ScopeKind::Prefix, tenant, &prefix.as_str()[..end])
            }
            (Selector::Glob(pattern), Some(tenant)) => {
                check_pattern(&pattern)?;
                let glob = Glob::new(tenant, &pattern);
                let scope = glob.scope;
                self.globs.push(glob);
                self.tenant = Some(ScopeHash::of_tenant(tenant));
                if self.globs.len() > 1 || is(Mutant::PatternsUnstamped) {
                    return Ok(());
                }
                // Among the first scopes, so that they travel together.
                self.scopes.insert(0, scope);
                return Ok(());
            }
            (Selector::All, Some(tenant)) => ScopeHash::of_tenant(tenant),
            (Selector::All, None) => ScopeHash::everything(),
            (Selector::FirstSegment(name), None) => {
                let first = Key::empty().with(&name);
                first.check()?;
                ScopeHash::of(ScopeKind::First, "", first.as_str())
            }
            (Selector::FirstSegment(_), Some(_)) => {
                let why =
                    "first_segment covers all tenants: call it on the cache, or use prefix! on the tenant";
                return Err(Error::new(ErrorKind::InvalidRequest, why));
            }
            (Selector::Key(_) | Selector::Tag(_) | Selector::Prefix(_) | Selector::Glob(_), None) => {
                let why = "keys, tags, prefixes and patterns belong to a tenant: call it on the tenant, or use first_segment";
                return Err(Error::new(ErrorKind::InvalidRequest, why));
            }
        };
        self.scopes.push(scope);
        Ok(())
    }

    /// The same, to be expired: nothing is dropped, keys are scopes like others.
    pub(crate) fn softly(&self) -> Self {
        // What a pattern expires is widened to its tenant: it is only stale.
        let widened = |scope: ScopeHash| match self.tenant {
            Some(tenant) if scope.is_of_rules() => tenant,
            _ => scope,
        };
        let scopes = self.all().into_iter().map(|scope| widened(scope).soft()).collect();
        Self { scopes, ..Self::default() }
    }

    /// What changes in the mirror: `all` is [`Covered::all`].
    pub(crate) fn change<'a>(&'a self, all: &'a [ScopeHash]) -> Change<'a> {
        Change { scopes: all, globs: &self.globs }
    }

    /// Every scope that changes, the keys' own included.
    pub(crate) fn all(&self) -> Vec<ScopeHash> {
        self.scopes.iter().copied().chain(self.keys.iter().map(|(_, _, scope)| *scope)).collect()
    }
}

fn check_pattern(pattern: &str) -> Result<(), Error> {
    if pattern.is_empty() || pattern.len() > MAX_PATTERN_BYTES {
        let why = format!("a pattern has 1 to {MAX_PATTERN_BYTES} bytes, not {}", pattern.len());
        return Err(Error::new(ErrorKind::InvalidKey, why));
    }
    Ok(())
}

pub(crate) fn check_tag(tag: &str) -> Result<(), Error> {
    if tag.is_empty() || tag.len() > MAX_TAG_BYTES {
        let why = format!("a tag has 1 to {MAX_TAG_BYTES} bytes, not {}", tag.len());
        return Err(Error::new(ErrorKind::InvalidTag, why));
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::key;

    #[test]
    fn a_prefix_selects_whole_segments_only() {
        let entry = EntryScopes::of("acme", &key!("usersAbc", 1));
        let covered = Covered::of(Some("acme"), crate::prefix!("users").into()).expect("valid");
        assert!(!entry.all().contains(&covered.scopes[0]));
        let entry = EntryScopes::of("acme", &key!("users", 1));
        assert!(entry.all().contains(&covered.scopes[0]));
    }

    #[test]
    fn tenant_and_name_never_run_into_each_other() {
        assert_ne!(ScopeHash::of_tag("ab", "c"), ScopeHash::of_tag("a", "bc"));
        assert_ne!(ScopeHash::of_tag("a", ""), ScopeHash::of(ScopeKind::Tenant, "a", ""));
    }

    #[test]
    fn a_prefix_longer_than_the_limit_is_widened() {
        let long = key!(1, 2, 3, 4, 5, 6, 7, 8, 9, 10);
        let covered = Covered::of(Some("acme"), Selector::Prefix(long.clone()).into()).expect("valid");
        assert!(EntryScopes::of("acme", &long).all().contains(&covered.scopes[0]));
    }

    #[test]
    fn the_wrong_level_is_refused_with_the_right_one_named() {
        let err = Covered::of(None, tag("x").into()).expect_err("needs a tenant");
        assert!(err.to_string().contains("first_segment"));
        assert!(Covered::of(Some("a"), first_segment("x").into()).is_err());
        assert!(Covered::of(Some("a"), Vec::new().into()).is_err());
    }
}
