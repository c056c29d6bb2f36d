//! Starts every example and every block of the guide, and runs the code of the pages in `docs/`.
#![allow(clippy::unwrap_used, reason = "a test fails where it cannot go on")]

mod guide;
mod markdown;
mod pages;
mod programs;
mod quoted;
#[path = "../../testing/tests.rs"]
mod testing;
