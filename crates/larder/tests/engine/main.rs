//! The engine from outside: what a backend that uses the library can rely on. Numbers in comments are rows of the
//! list of bugs that other caches shipped (docs/pitfalls.md).
#![allow(clippy::unwrap_used, reason = "helpers of tests fail the test")]

mod acked;
mod ahead;
mod alone;
mod at_least;
mod auditing;
mod bulk;
mod cancelling;
mod clocks;
mod cluster;
mod cluster_faults;
mod cooling;
mod cost;
mod counting;
mod event_log;
mod expiring;
mod failing;
mod globs;
mod history;
mod invalidating;
mod loading;
mod many_tags;
mod outage;
mod quotas;
mod sentinel;
mod shared;
mod staleness;
mod support;
mod tiers;
mod timeouts;
mod touching;
mod warming;
