//! The only place that spells a Redis key or channel.
//!
//! Everything of one namespace lives under `ld1:<namespace>:{0}:`; `{0}` is the bucket, a Redis Cluster hash tag, and
//! stands before any byte that a user chose. A single server has this one; in a Cluster each bucket has a
//! [name](super::cluster::slot::NAMES) of its own. A tenant is preceded by its length, so that no tenant and key can be
//! confused with another pair, whatever they contain:
//!
//! ```text
//! ld1:larder:{0}:i                                            the coherence state (sorted set)
//! ld1:larder:{0}:e:4:acme:campaigns:page:1:limit:20           an entry
//! ld1:larder:{0}:l:4:acme:campaigns:page:1:limit:20           the lease to load it
//! ld1:larder:{0}:q                                            the number of the event logs' last message
//! ld1:larder:{0}:h:4:acme:                                    the state of a tenant's event log (hash)
//! ld1:larder:{0}:s:4:acme:                                    its events (stream)
//! ld1:larder:{0}:k:4:acme:ob-17                               where an event of that id is
//! ld1:larder:{0}:t:4:acme:live_ticket:Zk3…                    a name that somebody has taken
//! ld1:larder:{0}:b:4:acme:<node>                              the last batch of events that a node has put into it
//! ld1:larder:{0}:m:4:acme:chat:1                              who is in a room: expiry (sorted set), …
//! ld1:larder:{0}:n:4:acme:chat:1                              … the user of each connection, …
//! ld1:larder:{0}:u:4:acme:chat:1                              … and each user
//! ld1:larder:{0}:v:0                                          channel: what entered the event logs (database 0)
//! ld1:larder:{0}:c:0                                          channel: what was invalidated (database 0)
//! ld1:larder:{0}:w:0:<node>                                   channel: wake-ups of one node (database 0)
//! ```
//!
//! Channels are shared by all databases of a server, keys are not: so channels carry the database number.

use super::cluster::slot::{self, NAMES};
use crate::simulation::{Limit, limit};
use crate::store::EntryName;
use std::fmt::Write as _;

/// Longer keys are replaced by their hash: the whole key is in the envelope and is compared there.
pub const MAX_PLAIN_KEY: usize = 128;

/// Longest namespace: it is part of every key.
pub const MAX_NAMESPACE: usize = 64;

const LAYOUT: &str = "ld1";
/// The name of the only bucket of a single server.
const SINGLE: &str = "0";

/// Spells the keys and channels of one bucket of a namespace in one database.
#[derive(Clone, Debug)]
pub(super) struct Keyspace {
    prefix: String,
    state: String,
    changes: String,
    wakes: String,
    events: String,
    sequence: String,
    slot: u16,
}

impl Keyspace {
    /// The keys of `namespace` in database `database` of a single server.
    ///
    /// # Errors
    /// What is wrong with the namespace: it is part of key patterns (access lists, `SCAN`) and of the hash tag rule,
    /// so it may hold letters, digits, `-`, `_` and `.` only.
    pub(super) fn new(namespace: &str, database: u32) -> Result<Self, String> {
        check_namespace(namespace)?;
        Ok(Self::of_bucket(namespace, SINGLE, database))
    }

    /// The keys of `namespace` in a Cluster, by bucket.
    ///
    /// # Errors
    /// As [`Keyspace::new`].
    pub(super) fn in_cluster(namespace: &str) -> Result<Vec<Self>, String> {
        check_namespace(namespace)?;
        let buckets = NAMES.iter().take(limit(Limit::Buckets, NAMES.len()));
        Ok(buckets.map(|name| Self::of_bucket(namespace, name, 0)).collect())
    }

    fn of_bucket(namespace: &str, name: &str, database: u32) -> Self {
        let prefix = format!("{LAYOUT}:{namespace}:{{{name}}}:");
        Self {
            state: format!("{prefix}i"),
            changes: format!("{prefix}c:{database}"),
            wakes: format!("{prefix}w:{database}:"),
            events: format!("{prefix}v:{database}"),
            sequence: format!("{prefix}q"),
            prefix,
            slot: slot::slot_of(name),
        }
    }

    /// The hash slot of all keys and channels.
    pub(super) fn slot(&self) -> u16 {
        self.slot
    }

    /// The sorted set that is the coherence state.
    pub(super) fn state(&self) -> &str {
        &self.state
    }

    /// The channel on which invalidations and new epochs are told to all nodes.
    pub(super) fn changes(&self) -> &str {
        &self.changes
    }

    /// What precedes a node's name in the name of its wake-up channel.
    pub(super) fn wakes(&self) -> &str {
        &self.wakes
    }

    /// The channel on which `node` is told that loads have ended.
    pub(super) fn wakes_of(&self, node: &str) -> String {
        format!("{}{node}", self.wakes)
    }

    /// The channel on which all nodes are told what entered the event logs.
    pub(super) fn events(&self) -> &str {
        &self.events
    }

    /// The number of the last message on that channel.
    pub(super) fn sequence(&self) -> &str {
        &self.sequence
    }

    /// The state of a tenant's event log, and its events.
    pub(super) fn log(&self, tenant: &str) -> [String; 2] {
        let name = EntryName { tenant, key: "" };
        [self.named('h', name), self.named('s', name)]
    }

    /// Where an event of this id stands in a tenant's log.
    pub(super) fn event(&self, tenant: &str, id: &str) -> String {
        self.named('k', EntryName { tenant, key: id })
    }

    /// A name of a tenant's that somebody has taken.
    pub(super) fn claimed(&self, tenant: &str, name: &str) -> String {
        self.named('t', EntryName { tenant, key: name })
    }

    /// The last batch of events that a node has put into a tenant's log.
    pub(super) fn batch(&self, tenant: &str, node: &str) -> String {
        self.named('b', EntryName { tenant, key: node })
    }

    /// Who is in a room: expiry, whose, users.
    pub(super) fn room(&self, tenant: &str, room: &str) -> [String; 3] {
        let name = EntryName { tenant, key: room };
        ['m', 'n', 'u'].map(|kind| self.named(kind, name))
    }

    /// The key of an entry's bytes.
    pub(super) fn entry(&self, name: EntryName<'_>) -> String {
        self.named('e', name)
    }

    /// The key of the lease to load an entry.
    pub(super) fn lease(&self, name: EntryName<'_>) -> String {
        self.named('l', name)
    }

    /// A key that belongs to nobody, for trying out what the server allows.
    pub(super) fn probe(&self, token: &str) -> String {
        format!("{}p:{token}", self.prefix)
    }

    /// The pattern that matches all our keys.
    pub(super) fn pattern(&self) -> String {
        format!("{}*", self.prefix)
    }

    fn named(&self, kind: char, name: EntryName<'_>) -> String {
        let EntryName { tenant, key } = name;
        let mut out =
            String::with_capacity(self.prefix.len() + tenant.len() + key.len().min(MAX_PLAIN_KEY) + 8);
        out.push_str(&self.prefix);
        let length = tenant.len();
        write!(out, "{kind}:{length}:{tenant}:").expect("writing to a String never fails");
        // A key that begins with `#` is hashed too, or it could be taken for the hash of a long one.
        if key.len() > MAX_PLAIN_KEY || key.starts_with('#') {
            out.push('#');
            out.push_str(blake3::hash(key.as_bytes()).to_hex().as_str());
        } else {
            out.push_str(key);
        }
        out
    }
}

/// Says what is wrong with a namespace, if anything.
///
/// # Errors
/// A sentence for the person who chose it.
pub fn check_namespace(namespace: &str) -> Result<(), String> {
    if namespace.is_empty() || namespace.len() > MAX_NAMESPACE {
        return Err(format!("the namespace must have 1 to {MAX_NAMESPACE} bytes, `{namespace}` has not"));
    }
    match namespace.chars().find(|c| !c.is_ascii_alphanumeric() && !"-_.".contains(*c)) {
        Some(bad) => Err(format!(
            "the namespace may hold letters, digits, `-`, `_` and `.` only; `{namespace}` has {bad:?}"
        )),
        None => Ok(()),
    }
}

/// What a raw Redis key of ours names.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum RawKey {
    /// An entry.
    Entry {
        /// The tenant; empty for shared entries.
        tenant: String,
        /// Its key.
        key: KeyName,
    },
    /// The lease to load an entry.
    Lease {
        /// The tenant; empty for shared entries.
        tenant: String,
        /// Its key.
        key: KeyName,
    },
    /// The coherence state.
    State,
    /// Something of the event logs.
    Events,
}

/// A key as far as its Redis name tells it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum KeyName {
    /// The key itself.
    Plain(String),
    /// The BLAKE3 hash (hex) of a key; the key itself stands in the envelope.
    Hashed(String),
}

/// Reads a raw Redis key of `namespace` back; `None` if it is none of ours.
///
/// ```
/// use larder::store::redis::{KeyName, RawKey, parse_raw_key};
/// let raw = b"ld1:larder:{0}:e:4:acme:campaigns:page:1:limit:20";
/// let key = KeyName::Plain("campaigns:page:1:limit:20".into());
/// assert_eq!(parse_raw_key("larder", raw), Some(RawKey::Entry { tenant: "acme".into(), key }));
/// assert_eq!(parse_raw_key("larder", b"somebody:else"), None);
/// ```
pub fn parse_raw_key(namespace: &str, raw: &[u8]) -> Option<RawKey> {
    let raw = std::str::from_utf8(raw).ok()?;
    let rest = raw.strip_prefix(LAYOUT)?.strip_prefix(':')?.strip_prefix(namespace)?;
    let (name, rest) = rest.strip_prefix(":{")?.split_once("}:")?;
    if name != SINGLE && !NAMES.contains(&name) {
        return None;
    }
    match rest {
        "i" => return Some(RawKey::State),
        "q" => return Some(RawKey::Events),
        _ => {}
    }
    let (kind, rest) = rest.split_once(':')?;
    let (length, rest) = rest.split_once(':')?;
    let length = length.parse::<usize>().ok().filter(|parsed| parsed.to_string() == length)?;
    let tenant = rest.get(..length)?.to_owned();
    let key = rest.get(length..)?.strip_prefix(':')?;
    let key = match key.strip_prefix('#') {
        Some(hash) => KeyName::Hashed(hash.to_owned()),
        None => KeyName::Plain(key.to_owned()),
    };
    match kind {
        "e" => Some(RawKey::Entry { tenant, key }),
        "l" => Some(RawKey::Lease { tenant, key }),
        "h" | "s" | "k" | "b" | "m" | "n" | "t" | "u" => Some(RawKey::Events),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn keys() -> Keyspace {
        Keyspace::new("larder", 3).unwrap()
    }

    #[test]
    fn keys_look_as_the_contract_says() {
        let name = EntryName { tenant: "acme", key: "campaigns:page:1:limit:20" };
        assert_eq!(keys().entry(name), "ld1:larder:{0}:e:4:acme:campaigns:page:1:limit:20");
        assert_eq!(keys().lease(name), "ld1:larder:{0}:l:4:acme:campaigns:page:1:limit:20");
        assert_eq!(keys().entry(EntryName { tenant: "", key: "stats:" }), "ld1:larder:{0}:e:0::stats:");
        assert_eq!(keys().state(), "ld1:larder:{0}:i");
    }

    #[test]
    fn channels_carry_the_database_number() {
        assert_eq!(keys().changes(), "ld1:larder:{0}:c:3");
        assert_eq!(keys().wakes_of("n1"), "ld1:larder:{0}:w:3:n1");
    }

    #[test]
    fn what_belongs_to_an_event_log_is_known_as_such() {
        let keys = keys();
        assert_eq!(keys.log("acme"), ["ld1:larder:{0}:h:4:acme:", "ld1:larder:{0}:s:4:acme:"]);
        assert_eq!(keys.event("acme", "ob-17"), "ld1:larder:{0}:k:4:acme:ob-17");
        assert_eq!(keys.batch("acme", "n1"), "ld1:larder:{0}:b:4:acme:n1");
        assert_eq!(keys.events(), "ld1:larder:{0}:v:3");
        let all = keys.log("acme").into_iter().chain(keys.room("acme", "chat:1"));
        for key in all.chain([
            keys.event("", "x"),
            keys.batch("acme", "n"),
            keys.claimed("acme", "x"),
            keys.sequence().to_owned(),
        ]) {
            assert_eq!(parse_raw_key("larder", key.as_bytes()), Some(RawKey::Events), "{key}");
        }
    }

    #[test]
    fn a_key_is_spelled_out_up_to_128_bytes_and_hashed_beyond() {
        let at = "k".repeat(MAX_PLAIN_KEY);
        let past = "k".repeat(MAX_PLAIN_KEY + 1);
        assert!(keys().entry(EntryName { tenant: "t", key: &at }).ends_with(&at));
        let raw = keys().entry(EntryName { tenant: "t", key: &past });
        let hash = blake3::hash(past.as_bytes()).to_hex().to_string();
        assert_eq!(raw, format!("ld1:larder:{{0}}:e:1:t:#{hash}"));
        let parsed = parse_raw_key("larder", raw.as_bytes());
        assert_eq!(parsed, Some(RawKey::Entry { tenant: "t".into(), key: KeyName::Hashed(hash) }));
    }

    #[test]
    fn a_short_key_cannot_pose_as_the_hash_of_a_long_one() {
        let long = "k".repeat(500);
        let posing = format!("#{}", blake3::hash(long.as_bytes()).to_hex());
        let name = |key| keys().entry(EntryName { tenant: "t", key });
        assert_ne!(name(&long), name(&posing));
    }

    #[test]
    fn a_namespace_that_could_break_keys_or_patterns_is_refused() {
        for bad in ["", "a:b", "a{b", "a*", "a b", "ä", &"n".repeat(MAX_NAMESPACE + 1)] {
            assert!(Keyspace::new(bad, 0).is_err(), "{bad:?}");
        }
        assert!(Keyspace::new(&"n".repeat(MAX_NAMESPACE), 0).is_ok());
        assert!(Keyspace::new("shop-1.staging_eu", 0).is_ok());
    }

    #[test]
    fn what_is_not_ours_is_not_parsed() {
        for foreign in [
            "ld1:other:{0}:e:1:t:k",
            "ld1:larder:{0}:e:9:t:k",
            "ld1:larder:{0}:e:01:t:k",
            "ld1:larder:{0}:x:1:t:k",
            "ld1:larder:{0}:e:1:tt:k",
            "ld1:larder:{0}:e:1",
            "ld1:larder:{1}:e:1:t:k",
            "ld1:larder:{}:e:1:t:k",
            "",
        ] {
            assert_eq!(parse_raw_key("larder", foreign.as_bytes()), None, "{foreign}");
        }
        assert_eq!(parse_raw_key("larder", b"ld1:larder:{0}:e:1:t:\xff"), None);
        assert_eq!(parse_raw_key("larder", b"ld1:larder:{0}:i"), Some(RawKey::State));
    }

    #[test]
    fn in_a_cluster_each_bucket_has_a_hash_tag_of_its_own() {
        let buckets = Keyspace::in_cluster("larder").unwrap();
        let name = EntryName { tenant: "acme", key: "k" };
        assert_eq!(buckets[1].entry(name), "ld1:larder:{249}:e:4:acme:k");
        assert_eq!(buckets[1].changes(), "ld1:larder:{249}:c:0");
        assert_eq!(buckets[1].slot(), 1518);
        for keys in &buckets {
            let read = parse_raw_key("larder", keys.entry(name).as_bytes());
            let key = KeyName::Plain("k".into());
            assert_eq!(read, Some(RawKey::Entry { tenant: "acme".into(), key }));
            assert_eq!(parse_raw_key("larder", keys.state().as_bytes()), Some(RawKey::State));
        }
    }

    /// Names made of what could confuse an encoding, long ones included.
    fn part() -> impl Strategy<Value = String> {
        prop_oneof![
            proptest::collection::vec(
                proptest::sample::select(vec![":", "{", "}", "0", "1", "2", "#", "*", "[", "a", "\0", "é"]),
                0..8
            )
            .prop_map(|parts| parts.concat()),
            "\\PC{0,200}",
        ]
    }

    proptest! {
        #[test]
        fn two_names_never_share_a_key(a in part(), b in part(), c in part(), d in part()) {
            let (one, two) = (EntryName { tenant: &a, key: &b }, EntryName { tenant: &c, key: &d });
            let (first, second) = (keys().entry(one), keys().entry(two));
            prop_assert_eq!(one == two, first == second);
            prop_assert_ne!(first, keys().lease(two));
        }

        #[test]
        fn a_moved_boundary_never_shares_a_key(text in part(), at in 0usize..40, by in 1usize..40) {
            let cut = |n: usize| text.char_indices().map(|(i, _)| i).nth(n);
            if let (Some(x), Some(y)) = (cut(at), cut(at + by)) {
                let one = EntryName { tenant: &text[..x], key: &text[x..] };
                let two = EntryName { tenant: &text[..y], key: &text[y..] };
                prop_assert_ne!(keys().entry(one), keys().entry(two));
            }
        }

        #[test]
        fn raw_keys_read_back(tenant in part(), key in part()) {
            let raw = keys().entry(EntryName { tenant: &tenant, key: &key });
            let Some(RawKey::Entry { tenant: t, key: k }) = parse_raw_key("larder", raw.as_bytes()) else {
                return Err(TestCaseError::fail("not parsed"));
            };
            prop_assert_eq!(t, tenant);
            match k {
                KeyName::Plain(k) => prop_assert_eq!(k, key),
                KeyName::Hashed(hash) => prop_assert_eq!(hash, blake3::hash(key.as_bytes()).to_hex().to_string()),
            }
        }

        #[test]
        fn any_bytes_may_be_parsed(raw in proptest::collection::vec(any::<u8>(), 0..80)) {
            let mut ours = b"ld1:larder:{0}:".to_vec();
            ours.extend(&raw);
            let _ = (parse_raw_key("larder", &raw), parse_raw_key("larder", &ours));
        }
    }
}
