//! What `GET /api/cache/overview` says, as far as it is shown. What is not for this viewer is `null` there; what an older or
//! newer server does not say is taken for that.

use std::collections::BTreeMap;

use serde::Deserialize;

use super::figures::{harmless, percent};

#[derive(Clone, Debug, Default, Deserialize)]
#[serde(default)]
pub(super) struct Overview {
    pub(super) version: String,
    pub(super) uptime_s: f64,
    pub(super) viewer: Viewer,
    pub(super) status: String,
    pub(super) alerts: Vec<Alert>,
    pub(super) totals: Numbers,
    pub(super) now: Option<Rates>,
    pub(super) minute: Option<Rates>,
    pub(super) latency: Option<Latency>,
    pub(super) memory: Memory,
    pub(super) coherence: Option<Coherence>,
    pub(super) nodes: Option<Vec<Node>>,
    pub(super) endpoints: Vec<Endpoint>,
    pub(super) tenants: Option<Vec<Tenant>>,
    pub(super) tenant_count: Option<u64>,
    pub(super) connections: Option<BTreeMap<String, u64>>,
    pub(super) recent: Option<Vec<Happened>>,
    pub(super) redis: Redis,
    pub(super) database: Option<Database>,
    pub(super) process: Option<Process>,
}

#[derive(Clone, Debug, Default, Deserialize)]
#[serde(default)]
pub(super) struct Viewer {
    pub(super) tenant: Option<String>,
}

#[derive(Clone, Debug, Default, Deserialize)]
#[serde(default)]
pub(super) struct Alert {
    pub(super) level: String,
    pub(super) text: String,
}

/// Since the start.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(default)]
pub(super) struct Numbers {
    pub(super) hits: u64,
    pub(super) misses: u64,
    pub(super) hit_rate: f64,
    pub(super) loads: u64,
    pub(super) load_errors: u64,
    pub(super) saved_s: f64,
    pub(super) invalidations: u64,
    pub(super) evictions: u64,
}

/// Over a while that ends now.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(default)]
pub(super) struct Rates {
    pub(super) lookups_per_s: f64,
    pub(super) l1_hits_per_s: f64,
    pub(super) l2_hits_per_s: f64,
    pub(super) stale_hits_per_s: f64,
    pub(super) misses_per_s: f64,
    pub(super) loads_per_s: f64,
    pub(super) load_errors_per_s: f64,
    pub(super) invalidations_per_s: f64,
    pub(super) saved_s_per_s: f64,
    pub(super) hit_rate: Option<f64>,
}

#[derive(Clone, Debug, Default, Deserialize)]
#[serde(default)]
pub(super) struct Latency {
    pub(super) hits: Option<Percentiles>,
    pub(super) misses: Option<Percentiles>,
    pub(super) loads: Option<Percentiles>,
}

#[derive(Clone, Debug, Default, Deserialize)]
#[serde(default)]
pub(super) struct Percentiles {
    pub(super) p50_ms: f64,
    pub(super) p90_ms: f64,
    pub(super) p99_ms: f64,
}

#[derive(Clone, Debug, Default, Deserialize)]
#[serde(default)]
pub(super) struct Memory {
    pub(super) entries: u64,
    pub(super) bytes: u64,
    pub(super) max_bytes: Option<u64>,
    pub(super) evictions: u64,
    pub(super) flights: Option<u64>,
}

#[derive(Clone, Debug, Default, Deserialize)]
#[serde(default)]
pub(super) struct Coherence {
    pub(super) trusted: bool,
    pub(super) lease_left_s: Option<f64>,
    pub(super) lag_s: Option<f64>,
    pub(super) epoch_bumps: u64,
    pub(super) missed: u64,
    pub(super) breaker_open: bool,
    pub(super) undelivered: u64,
}

#[derive(Clone, Debug, Default, Deserialize)]
#[serde(default)]
pub(super) struct Node {
    pub(super) name: String,
}

#[derive(Clone, Debug, Default, Deserialize)]
#[serde(default)]
pub(super) struct Endpoint {
    pub(super) name: String,
    pub(super) hits: u64,
    pub(super) misses: u64,
    pub(super) hit_rate: f64,
    pub(super) loads: u64,
    pub(super) load_errors: u64,
    pub(super) load_s: f64,
    pub(super) load_mean_ms: Option<f64>,
    pub(super) saved_s: f64,
    pub(super) lookups_per_s: Option<f64>,
    pub(super) loads_per_s: Option<f64>,
}

impl Endpoint {
    /// Its hit rate in words: of an endpoint that nobody has asked there is none.
    pub(super) fn rate(&self) -> String {
        rate_of(self.hit_rate, self.hits + self.misses)
    }
}

#[derive(Clone, Debug, Default, Deserialize)]
#[serde(default)]
pub(super) struct Tenant {
    pub(super) name: String,
    pub(super) entries: u64,
    pub(super) bytes: u64,
    pub(super) evictions: u64,
    pub(super) lookups: u64,
    pub(super) hit_rate: f64,
    pub(super) loads: u64,
    pub(super) load_s: f64,
}

impl Tenant {
    pub(super) fn rate(&self) -> String {
        rate_of(self.hit_rate, self.lookups)
    }
}

fn rate_of(share: f64, lookups: u64) -> String {
    if lookups == 0 { "-".to_owned() } else { percent(share) }
}

/// The tenant's name: what all share has none.
pub(super) fn tenant_name(name: &str) -> String {
    if name.is_empty() { "shared".to_owned() } else { harmless(name) }
}

#[derive(Clone, Debug, Default, Deserialize)]
#[serde(default)]
pub(super) struct Happened {
    pub(super) at_ms: u64,
    pub(super) verb: String,
    pub(super) tenant: Option<String>,
    pub(super) event: Option<String>,
    pub(super) what: Vec<String>,
    pub(super) more: u64,
    pub(super) here: bool,
    pub(super) deferred: bool,
}

impl Happened {
    /// The tenant that it was for, or all of them.
    pub(super) fn whose(&self) -> String {
        self.tenant.as_deref().map_or_else(|| "all".to_owned(), tenant_name)
    }

    /// What it dropped.
    pub(super) fn scopes(&self) -> Vec<String> {
        self.what.iter().map(|scope| harmless(scope)).collect()
    }

    /// What is said after the scopes.
    pub(super) fn rest(&self) -> String {
        let more = if self.more > 0 { format!(" +{}", self.more) } else { String::new() };
        let place = if self.here { "" } else { " by another node" };
        let deferred = if self.deferred { " (waits for Redis)" } else { "" };
        format!("{more}{place}{deferred}")
    }
}

#[derive(Clone, Debug, Default, Deserialize)]
#[serde(default)]
pub(super) struct Redis {
    pub(super) state: String,
    pub(super) reason: Option<String>,
    pub(super) server: Option<String>,
    pub(super) round_trip_ms: Option<f64>,
    pub(super) used_bytes: Option<u64>,
    pub(super) max_bytes: Option<u64>,
    pub(super) evicted_keys: Option<u64>,
    pub(super) clients: Option<u64>,
    pub(super) ops_per_s: Option<f64>,
    pub(super) errors: Option<u64>,
}

#[derive(Clone, Debug, Default, Deserialize)]
#[serde(default)]
pub(super) struct Database {
    pub(super) busy: u64,
    pub(super) max: u64,
}

#[derive(Clone, Debug, Default, Deserialize)]
#[serde(default)]
pub(super) struct Process {
    pub(super) cpu_percent: Option<f64>,
    pub(super) resident_bytes: Option<u64>,
}
