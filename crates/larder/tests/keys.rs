//! Names from outside: keys, tenants and tags are exact, whatever they are made of, and no tenant reaches another.
//! `pitfalls.md` row 28 and invariant I11 of `consistency.md`.
#![allow(clippy::unwrap_used, reason = "a test fails where it cannot go on")]

#[path = "keys/encoding.rs"]
mod encoding;
#[path = "keys/isolation.rs"]
mod isolation;
#[path = "keys/limits.rs"]
mod limits;
#[cfg(feature = "redis")]
#[path = "keys/redis.rs"]
mod redis;

use larder::{Cache, Key, Policy};
use proptest::prelude::*;
use std::time::Duration;

/// Names that ended up in a separator, a pattern, a hash tag, a path or a C string somewhere.
const HOSTILE: [&str; 24] = [
    "a",
    "b",
    "a:b",
    ":",
    "::",
    "",
    " ",
    "%",
    "%3A",
    "%253A",
    "*",
    "?",
    "[a]",
    "{a}",
    "a*",
    "\\",
    "\0",
    "\n",
    "\u{7f}",
    "🦀",
    "é",
    "e\u{301}",
    "../..",
    "\u{202e}a",
];

async fn cache() -> Cache {
    Cache::builder("keys").build().await.unwrap()
}

fn policy() -> Policy {
    Policy::ttl(Duration::from_secs(60)).jitter(0.0)
}

fn key(segments: &[impl AsRef<str>]) -> Key {
    segments.iter().fold(Key::empty(), |key, segment| key.with(segment.as_ref()))
}

/// A name that is likely to collide with another if anything can.
fn name() -> impl Strategy<Value = String> {
    prop_oneof![
        4 => proptest::sample::select(HOSTILE.as_slice()).prop_map(str::to_owned),
        3 => "[ab:%{}*3A]{0,4}",
        1 => any::<String>(),
    ]
}

fn segments() -> impl Strategy<Value = Vec<String>> {
    proptest::collection::vec(name(), 1..4)
}
