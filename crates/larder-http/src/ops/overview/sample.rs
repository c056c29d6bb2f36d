//! What is read once for everybody who looks.

use std::time::{Instant, SystemTime};

use larder::{
    Cache, Change, Counts, LOAD_BUCKETS, NodeInfo, QuotaStats, RedisState, StatsSnapshot, TenantStats,
};

use super::leaders::{LEADERS, Leaders};
use super::percentile::Spread;
use super::reading::{Reading, Spreads};
use super::shape::{self, Connections, Outbox, Redis, RedisWord, Rows, Tenant};
use crate::ops::Shared;
use crate::ops::numbers::rounded;
use crate::ops::process::Process;
use crate::ops::redis::Said;

/// Changes that are shown.
pub(super) const CHANGES: usize = 50;

/// What was read at a moment, of the node and of all tenants.
pub(super) struct Sample {
    pub(super) at: Instant,
    pub(super) at_ms: u64,
    pub(super) stats: StatsSnapshot,
    pub(super) state: RedisState,
    pub(super) redis: Redis,
    pub(super) nodes: Vec<NodeInfo>,
    pub(super) tenants: Vec<Tenant>,
    pub(super) tenant_count: u64,
    pub(super) connections: Connections,
    pub(super) recent: Vec<Change>,
    pub(super) rows: Option<Rows>,
    pub(super) process: Option<shape::Process>,
    /// This process, to compare the next with.
    pub(super) looked: Option<Process>,
}

/// Reads everything.
pub(super) async fn take(ops: &Shared, watchers: u64, before: Option<Process>) -> (Sample, Reading) {
    let state = ops.cache.redis_state();
    let mut redis = ask_redis(ops, &state).await;
    let (at, at_ms) = (Instant::now(), unix_ms());
    let (mut endpoints, mut leaders) = (ops.endpoints.count([]), Leaders::default());
    let stats = ops.cache.visit_stats(|tenant, segment, counts| {
        endpoints.entry(ops.endpoints.name_of(segment)).or_default().add(counts);
        leaders.add(tenant, counts);
    });
    leaders.end();
    for (segment, counts) in &stats.others {
        endpoints.entry(ops.endpoints.name_of(segment)).or_default().add(counts);
    }
    if redis.state != RedisWord::Disabled {
        (redis.errors, redis.timeouts) = (Some(stats.redis_errors), Some(stats.redis_timeouts));
    }
    let looked = Process::look();
    let reading = Reading {
        at,
        total: stats.total,
        endpoints,
        invalidations: stats.invalidations,
        evictions: stats.evictions,
        spreads: Some(Spreads {
            hits: ops.requests.hits().read(),
            misses: ops.requests.misses().read(),
            loads: Spread::of(&LOAD_BUCKETS, &stats.load_buckets),
        }),
        redis_evicted: redis.evicted_keys,
        answered: Some(ops.requests.answered()),
    };
    let sample = Sample {
        at,
        at_ms,
        state,
        redis,
        nodes: ops.cache.nodes(),
        tenant_count: leaders.seen,
        tenants: tenants(&ops.cache, &stats.quotas, leaders),
        connections: connections(ops, watchers),
        recent: ops.cache.recent(None, CHANGES),
        rows: rows(ops),
        process: looked.map(|now| shape::Process::of(&now, before.as_ref())),
        looked,
        stats,
    };
    (sample, reading)
}

fn unix_ms() -> u64 {
    let since = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default();
    u64::try_from(since.as_millis()).unwrap_or(u64::MAX)
}

/// The counters of one tenant.
pub(super) fn of_tenant(ops: &Shared, tenant: &str, at: Instant) -> (Reading, Tenant) {
    let stats = ops.cache.tenant(tenant).stats();
    let total = stats.total();
    let reading = Reading {
        at,
        total,
        endpoints: ops.endpoints.count([&stats.endpoints]),
        invalidations: stats.invalidations,
        evictions: stats.evictions,
        spreads: None,
        redis_evicted: None,
        answered: None,
    };
    let held = Tenant::of(tenant.to_owned(), &stats, &total);
    (reading, held)
}

async fn ask_redis(ops: &Shared, state: &RedisState) -> Redis {
    let mut redis = Redis::default();
    match state {
        RedisState::Disabled => {}
        RedisState::Unsupported { missing } => {
            (redis.state, redis.reason) = (RedisWord::Unsupported, Some(missing.clone()));
        }
        RedisState::Connected { server, address, tls, advice } => {
            redis.state = RedisWord::Connected;
            redis.server = Some(server.clone());
            redis.address = Some(address.clone());
            redis.tls = Some(*tls);
            redis.advice.clone_from(advice);
            if let Some(said) = ops.redis.ask(&ops.cache).await {
                tell(&said, &mut redis);
            }
        }
        RedisState::Unavailable { reason } => {
            (redis.state, redis.reason) = (RedisWord::Unavailable, Some(reason.clone()));
        }
        _ => redis.state = RedisWord::Unavailable,
    }
    redis
}

fn tell(said: &Said, redis: &mut Redis) {
    redis.round_trip_ms = said.round_trip.map(|took| rounded(took.as_secs_f64() * 1e3, 3));
    redis.used_bytes = said.number("used_memory");
    redis.max_bytes = said.number("maxmemory");
    redis.policy = said.word("maxmemory_policy");
    redis.evicted_keys = said.number("evicted_keys");
    redis.expired_keys = said.number("expired_keys");
    redis.clients = said.number("connected_clients");
    redis.ops_per_s = said.number("instantaneous_ops_per_sec");
}

fn connections(ops: &Shared, watchers: u64) -> Connections {
    let open = (ops.connections)();
    let of = |kind| open.iter().find(|(name, _)| *name == kind).map_or(0, |(_, count)| *count);
    Connections { http: of("http"), websocket: of("websocket"), sse: of("sse"), watchers }
}

fn rows(ops: &Shared) -> Option<Rows> {
    let database = ops.database.as_ref()?;
    let pool = database.pool();
    let outbox = database.outbox().map(|outbox| Outbox {
        relays: outbox.relays,
        waiting: outbox.waiting,
        lag_s: rounded(outbox.lag.as_secs_f64(), 3),
        dead: outbox.dead,
    });
    Some(Rows {
        open: pool.open,
        busy: pool.open.saturating_sub(pool.idle),
        max: pool.max,
        statements: database.statements(),
        outbox,
    })
}

/// Those with most memory, most lookups and most loads, and those nearest to the end of a quota, by name.
fn tenants(cache: &Cache, quotas: &QuotaStats, leaders: Leaders) -> Vec<Tenant> {
    let largest = cache.largest_tenants(LEADERS).into_iter().map(|(name, _)| name);
    let nearest = [&quotas.loads, &quotas.scopes].into_iter().flatten().map(|nearest| nearest.tenant.clone());
    let mut names: Vec<String> = largest.chain(leaders.names()).chain(nearest).collect();
    names.sort_unstable();
    names.dedup();
    let tenant = |name: String| {
        let stats = if name.is_empty() { cache.shared() } else { cache.tenant(&name) }.stats();
        Tenant::of(name, &stats, &stats.total())
    };
    names.into_iter().map(tenant).collect()
}

impl Tenant {
    fn of(name: String, held: &TenantStats, total: &Counts) -> Self {
        Self {
            name,
            entries: held.entries,
            bytes: held.memory_bytes,
            evictions: held.evictions,
            invalidations: held.invalidations,
            lookups: total.hits() + total.misses,
            hit_rate: rounded(total.hit_rate(), 4),
            loads: total.loads,
            load_s: rounded(total.load_time.as_secs_f64(), 6),
            max_bytes: held.max_memory_bytes,
            loading: held.loading,
            max_loading: held.max_loading,
            new_scopes: held.new_scopes,
            max_new_scopes: held.max_new_scopes,
            widened: held.widened,
        }
    }
}
