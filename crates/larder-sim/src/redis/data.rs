//! What a server holds.

use super::zset::ZSet;
use std::collections::BTreeMap;

/// A value of one of the types that are used.
#[derive(Clone, Debug, PartialEq)]
pub enum Value {
    /// Bytes.
    String(Vec<u8>),
    /// Fields.
    Hash(BTreeMap<Vec<u8>, Vec<u8>>),
    /// Members with scores.
    ZSet(ZSet),
    /// Entries in the order of their names.
    Stream(Stream),
}

/// Entries in the order of their names, each with names and values in turn.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Stream {
    /// Those that are kept.
    pub entries: BTreeMap<(u64, u64), Vec<Vec<u8>>>,
    /// The highest name that there ever was.
    pub last: (u64, u64),
}

/// A value and when it ends.
#[derive(Clone, Debug, PartialEq)]
struct Kept {
    value: Value,
    /// In ms of the server's clock.
    until: Option<u64>,
}

/// All keys.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Data(BTreeMap<Vec<u8>, Kept>);

impl Data {
    /// The value under a key, unless it has ended.
    pub fn get(&self, key: &[u8], now_ms: u64) -> Option<&Value> {
        self.0.get(key).filter(|kept| kept.until.is_none_or(|until| now_ms < until)).map(|kept| &kept.value)
    }

    /// The same, to change it.
    pub fn get_mut(&mut self, key: &[u8], now_ms: u64) -> Option<&mut Value> {
        self.collect(key, now_ms);
        self.0.get_mut(key).map(|kept| &mut kept.value)
    }

    /// The value under a key, made if there is none.
    pub fn or_insert(&mut self, key: &[u8], now_ms: u64, empty: impl FnOnce() -> Value) -> &mut Value {
        self.collect(key, now_ms);
        &mut self.0.entry(key.to_vec()).or_insert_with(|| Kept { value: empty(), until: None }).value
    }

    fn collect(&mut self, key: &[u8], now_ms: u64) {
        if self.get(key, now_ms).is_none() {
            self.0.remove(key);
        }
    }

    /// Puts a value in place of whatever was there.
    pub fn set(&mut self, key: &[u8], value: Value, until: Option<u64>) {
        self.0.insert(key.to_vec(), Kept { value, until });
    }

    /// Takes a value away; whether it was there.
    pub fn remove(&mut self, key: &[u8], now_ms: u64) -> bool {
        let there = self.get(key, now_ms).is_some();
        self.0.remove(key);
        there
    }

    /// Removes a hash or set that has become empty.
    pub fn remove_if_empty(&mut self, key: &[u8]) {
        let empty = self.0.get(key).is_some_and(|kept| match &kept.value {
            Value::String(_) | Value::Stream(_) => false,
            Value::Hash(fields) => fields.is_empty(),
            Value::ZSet(members) => members.is_empty(),
        });
        if empty {
            self.0.remove(key);
        }
    }

    /// Lets a value end at this time; whether there is one.
    pub fn expire(&mut self, key: &[u8], until: u64, now_ms: u64) -> bool {
        self.collect(key, now_ms);
        self.0.get_mut(key).map(|kept| kept.until = Some(until)).is_some()
    }

    /// When a value ends.
    pub fn until(&self, key: &[u8]) -> Option<u64> {
        self.0.get(key)?.until
    }

    /// Gives a value another key; whether there was one.
    pub fn rename(&mut self, from: &[u8], to: &[u8], now_ms: u64) -> bool {
        self.collect(from, now_ms);
        let Some(kept) = self.0.remove(from) else { return false };
        self.0.insert(to.to_vec(), kept);
        true
    }

    /// Takes away all keys of a kind.
    pub fn split_off(&mut self, chosen: impl Fn(&[u8]) -> bool) -> Self {
        let (gone, kept) = std::mem::take(&mut self.0).into_iter().partition(|(key, _)| chosen(key));
        self.0 = kept;
        Self(gone)
    }

    /// Takes in what was elsewhere.
    pub fn absorb(&mut self, other: Self) {
        self.0.extend(other.0);
    }

    /// All keys that have not ended.
    pub fn keys(&self, now_ms: u64) -> impl Iterator<Item = &[u8]> {
        self.0
            .iter()
            .filter(move |(_, kept)| kept.until.is_none_or(|until| now_ms < until))
            .map(|(key, _)| &key[..])
    }
}
