//! What the cache did, and how full it is.

use std::collections::BTreeMap;

use axum::Json;
use axum::extract::State;
use larder::{Counts, StatsSnapshot, TenantStats};
use serde::Serialize;
use utoipa::ToSchema;

use super::gate::{Admin, Anyone};
use super::health::{Backend, CacheStatus};
use super::numbers::{mebibytes, percent};
use super::{Endpoints, Ops};
use crate::who::Role;

/// What the cache did since the start: for somebody of a tenant in that tenant, for everybody else on this node.
#[derive(Serialize, ToSchema)]
pub(super) struct CacheStats {
    status: CacheStatus,
    /// Whether lookups are cached at all.
    enabled: bool,
    /// Entries in this process's memory, with those that were invalidated or are past their time and not yet dropped.
    total_keys: u64,
    #[serde(flatten)]
    counts: Numbers,
    /// Invalidations that this process was asked for; a tenant is told of those that it asked for.
    invalidations: u64,
    /// Entries that this process dropped for want of room.
    evictions: u64,
    /// The same by endpoint, for those who are signed in.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(required = false, nullable = false)]
    by_endpoint: Option<BTreeMap<&'static str, Numbers>>,
}

/// Lookups and loads, counted. Each lookup is in exactly one of `l1_hits`, `l2_hits`, `stale_hits` and `misses`.
#[derive(Serialize, ToSchema)]
struct Numbers {
    /// Lookups answered from a tier: the sum of the next three hits.
    hits: u64,
    /// Lookups that needed a load, their own or another's, or brought nothing.
    misses: u64,
    /// Hits by lookups.
    #[schema(minimum = 0, maximum = 1)]
    hit_rate: f64,
    /// Fresh values out of this process's memory.
    l1_hits: u64,
    /// Fresh values out of Redis.
    l2_hits: u64,
    /// Values past their TTL, served while the source failed.
    stale_hits: u64,
    /// Of the misses, those that waited for another's load.
    coalesced: u64,
    /// Loads from the source.
    loads: u64,
    /// Of these, those that failed.
    load_errors: u64,
}

impl Numbers {
    fn of(counts: &Counts) -> Self {
        Self {
            hits: counts.hits(),
            misses: counts.misses,
            hit_rate: (counts.hit_rate() * 1e4).round() / 1e4,
            l1_hits: counts.l1_hits,
            l2_hits: counts.l2_hits,
            stale_hits: counts.stale_hits,
            coalesced: counts.coalesced,
            loads: counts.loads,
            load_errors: counts.load_errors,
        }
    }
}

/// Tells what the cache did: to anyone in total, to those who are signed in for their tenant, to an admin for all.
#[utoipa::path(
    get, path = "/api/cache/stats", tag = "operations", operation_id = "cache_stats", security((), ("bearer" = [])),
    responses((status = 200, description = "Since the start of this process", body = CacheStats))
)]
pub(super) async fn stats(State(ops): State<Ops>, Anyone(who): Anyone) -> Json<CacheStats> {
    let totals = match &who {
        None => Totals::of_all(&ops.cache.stats(), None),
        Some(who) if who.role == Role::Admin => Totals::of_all(&ops.cache.stats(), Some(&ops.endpoints)),
        Some(who) => Totals::of_tenant(&ops.cache.tenant(&who.tenant).stats(), &ops.endpoints),
    };
    let numbers = |counts: BTreeMap<_, Counts>| {
        counts.into_iter().map(|(name, counts)| (name, Numbers::of(&counts))).collect()
    };
    Json(CacheStats {
        status: CacheStatus::of(&ops.cache),
        enabled: ops.cache.is_enabled(),
        total_keys: totals.entries,
        counts: Numbers::of(&totals.counts),
        invalidations: totals.invalidations,
        evictions: totals.evictions,
        by_endpoint: totals.by_endpoint.map(numbers),
    })
}

/// What is told, of whomever.
struct Totals {
    counts: Counts,
    entries: u64,
    invalidations: u64,
    evictions: u64,
    by_endpoint: Option<BTreeMap<&'static str, Counts>>,
}

impl Totals {
    fn of_all(stats: &StatsSnapshot, by: Option<&Endpoints>) -> Self {
        Self {
            counts: stats.total,
            entries: stats.entries,
            invalidations: stats.invalidations,
            evictions: stats.evictions,
            by_endpoint: by.map(|endpoints| endpoints.count(stats.tenants.values().chain([&stats.others]))),
        }
    }

    fn of_tenant(stats: &TenantStats, by: &Endpoints) -> Self {
        Self {
            counts: stats.total(),
            entries: stats.entries,
            invalidations: stats.invalidations,
            evictions: stats.evictions,
            by_endpoint: Some(by.count([&stats.endpoints])),
        }
    }
}

/// How the cache is used, and how full it is.
#[derive(Serialize, ToSchema)]
pub(super) struct CacheMetrics {
    /// Whose memory the next numbers are about.
    backend: Backend,
    /// Lookups answered from a tier since this process started.
    hits: u64,
    /// Lookups that were not.
    misses: u64,
    /// Both together.
    total_requests: u64,
    /// Hits by lookups.
    #[schema(minimum = 0, maximum = 100)]
    hit_rate_percent: f64,
    /// Memory in use by the backend, in MiB.
    #[schema(minimum = 0)]
    used_memory_mb: f64,
    /// What it may use, in MiB; 0 is no limit.
    #[schema(minimum = 0)]
    max_memory_mb: f64,
    /// One by the other; 0 without a limit.
    #[schema(minimum = 0)]
    memory_usage_percent: f64,
    /// Entries in this process's memory.
    memory_entries: u64,
    /// Entries that this process dropped for want of room.
    memory_evicted_keys: u64,
    /// Statements that this process asked its database to run, loads and all others; null without a database.
    #[schema(required)]
    database_statements: Option<u64>,
    /// Keys that Redis dropped for want of room.
    redis_evicted_keys: u64,
    /// Keys that Redis dropped because their time was over.
    redis_expired_keys: u64,
    /// What Redis itself counts as hits, the cache's own bookkeeping included.
    redis_keyspace_hits: u64,
    /// What Redis itself counts as misses.
    redis_keyspace_misses: u64,
    /// Clients of that Redis.
    redis_connected_clients: u64,
    /// Its version; empty without one.
    redis_version: String,
    /// The tenants that hold most of this process's memory, the largest first, at most 20.
    largest_tenants: Vec<TenantMemory>,
}

/// What one tenant holds.
#[derive(Serialize, ToSchema)]
struct TenantMemory {
    /// The tenant; empty for what all share.
    tenant: String,
    /// Its entries in this process's memory.
    entries: u64,
    /// Their weight, in MiB.
    #[schema(minimum = 0)]
    memory_mb: f64,
    /// Those of its entries that this process dropped for want of room.
    evictions: u64,
}

/// How many tenants an operator is told of.
const LARGEST: usize = 20;

/// Tells how the cache is used and how full it is: Redis where there is one, else this process's memory.
#[utoipa::path(
    get, path = "/api/v1/cache/metrics", tag = "operations", operation_id = "cache_metrics", security(("bearer" = [])),
    responses((status = 200, description = "At this moment", body = CacheMetrics))
)]
pub(super) async fn metrics(State(ops): State<Ops>, _: Admin) -> Json<CacheMetrics> {
    let stats = ops.cache.stats();
    let info = ops.cache.redis_info().await.unwrap_or_default();
    let number = |name: &str| info.get(name).and_then(|value| value.parse::<u64>().ok()).unwrap_or(0);
    let (backend, used, max) = if info.is_empty() {
        (Backend::Memory, stats.memory_bytes, stats.max_memory_bytes)
    } else {
        (Backend::Redis, number("used_memory"), number("maxmemory"))
    };
    Json(CacheMetrics {
        backend,
        hits: stats.total.hits(),
        misses: stats.total.misses,
        total_requests: stats.total.hits() + stats.total.misses,
        hit_rate_percent: percent(stats.total.hit_rate()),
        used_memory_mb: mebibytes(used),
        max_memory_mb: mebibytes(max),
        memory_usage_percent: if max == 0 { 0.0 } else { percent(mebibytes(used) / mebibytes(max)) },
        memory_entries: stats.entries,
        memory_evicted_keys: stats.evictions,
        database_statements: ops.database.as_ref().map(|database| database.statements()),
        redis_evicted_keys: number("evicted_keys"),
        redis_expired_keys: number("expired_keys"),
        redis_keyspace_hits: number("keyspace_hits"),
        redis_keyspace_misses: number("keyspace_misses"),
        redis_connected_clients: number("connected_clients"),
        redis_version: info.get("redis_version").cloned().unwrap_or_default(),
        largest_tenants: ops
            .cache
            .largest_tenants(LARGEST)
            .into_iter()
            .map(|(tenant, held)| TenantMemory {
                tenant,
                entries: held.entries,
                memory_mb: mebibytes(held.memory_bytes),
                evictions: held.evictions,
            })
            .collect(),
    })
}
