//! `#[cached]` from outside: what it does at run time, and what it says about misuse.
#![allow(clippy::unwrap_used, reason = "a test fails where it cannot go on")]
#![cfg(feature = "macros")]

#[path = "macros/functions.rs"]
mod functions;
#[path = "macros/methods.rs"]
mod methods;

use larder::Cache;

/// A cache in this process, of its own.
async fn cache() -> Cache {
    Cache::builder("macros").build().await.unwrap()
}

/// The compiler that `tests/ui/compiler` was written with.
const COMPILER: &str = "rustc 1.95.";

/// After an intended change: `TRYBUILD=overwrite cargo test -p larder --test macros`.
#[test]
fn misuse_is_explained() {
    let cases = trybuild::TestCases::new();
    cases.compile_fail("tests/ui/*.rs");
    // The wording of these is the compiler's own, so another one cannot be held to it.
    let compiler = std::process::Command::new("rustc").arg("--version").output().unwrap();
    if String::from_utf8_lossy(&compiler.stdout).starts_with(COMPILER) {
        cases.compile_fail("tests/ui/compiler/*.rs");
    } else {
        eprintln!("tests/ui/compiler is for {COMPILER}x: not compared");
    }
}
