//! `#[cached]` from outside: what it does at run time, and what it says about misuse.
#![allow(clippy::unwrap_used, reason = "a test fails where it cannot go on")]
#![cfg(feature = "macros")]

#[path = "macros/functions.rs"]
mod functions;
#[path = "macros/methods.rs"]
mod methods;
#[path = "macros/misuse.rs"]
mod misuse;

use larder::Cache;

/// A cache in this process, of its own.
async fn cache() -> Cache {
    Cache::builder("macros").build().await.unwrap()
}
