//! The operations routes from outside, over real caches.

#![allow(clippy::unwrap_used, reason = "helpers of tests")]

mod clear;
mod health;
mod invalidate;
mod keys;
mod metrics;
mod overview;
mod stats;
mod support;
