//! The overview as it goes out.

use larder::{Change, ChangeVerb, Counts};
use serde::Serialize;
use utoipa::ToSchema;

use super::super::health::CacheStatus;
use super::super::numbers::{ratio, rounded};
use super::super::process;
use super::percentile::Percentiles;

/// What the cache does at this moment, as far as the viewer may know. Counts are of this node since the start of this process;
/// what the viewer may not know, and what nobody knows, is null.
#[derive(Serialize, ToSchema)]
pub(in super::super) struct Overview {
    /// Grows by one with every snapshot of this process.
    pub(super) seq: u64,
    /// When it was taken, in milliseconds of Unix time.
    pub(super) at_ms: u64,
    /// The version of the program.
    pub(super) version: &'static str,
    /// Seconds since it started.
    pub(super) uptime_s: f64,
    pub(super) viewer: Viewed,
    pub(super) status: CacheStatus,
    /// What is wrong, the worst first.
    pub(super) alerts: Vec<Alert>,
    pub(super) totals: Numbers,
    /// Over about the last second; null where nobody had asked for ten.
    #[schema(required)]
    pub(super) now: Option<Rates>,
    /// The same over the last minute, or as long as somebody has been asking.
    #[schema(required)]
    pub(super) minute: Option<Rates>,
    #[schema(required)]
    pub(super) latency: Option<Latency>,
    pub(super) memory: Memory,
    #[schema(required)]
    pub(super) coherence: Option<Coherence>,
    /// Those that share the cache, this one first; 200 at most.
    #[schema(required)]
    pub(super) nodes: Option<Vec<Node>>,
    /// Those with most loads first.
    pub(super) endpoints: Vec<Endpoint>,
    /// Those with most memory, most lookups and most loads, 20 of each, and those nearest to the end of a quota; for
    /// administrators.
    #[schema(required)]
    pub(super) tenants: Option<Vec<Tenant>>,
    /// How many tenants are counted.
    #[schema(required)]
    pub(super) tenant_count: Option<u64>,
    #[schema(required)]
    pub(super) connections: Option<Connections>,
    /// What was invalidated and published, the newest first, at most 50.
    #[schema(required)]
    pub(super) recent: Option<Vec<Happened>>,
    pub(super) redis: Redis,
    #[schema(required)]
    pub(super) database: Option<Rows>,
    #[schema(required)]
    pub(super) events: Option<Events>,
    #[schema(required)]
    pub(super) process: Option<Process>,
}

/// Whose figures these are.
#[derive(Clone, Copy, Serialize, ToSchema)]
#[serde(rename_all = "lowercase")]
pub(super) enum As {
    /// Those of the node and of all tenants.
    Admin,
    /// Those of the node, for somebody who is not signed in.
    Node,
    /// Those of one tenant.
    Tenant,
}

/// Whose figures these are.
#[derive(Serialize, ToSchema)]
#[schema(as = Viewer)]
pub(super) struct Viewed {
    pub(super) r#as: As,
    #[schema(required)]
    pub(super) tenant: Option<String>,
}

/// How bad it is.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug, Serialize, ToSchema)]
#[serde(rename_all = "lowercase")]
pub(super) enum Level {
    /// Something is broken.
    Bad,
    /// Something should be looked at.
    Warn,
}

/// Something that is wrong.
#[derive(Debug, PartialEq, Serialize, ToSchema)]
pub(super) struct Alert {
    pub(super) level: Level,
    /// A word for programs.
    pub(super) code: &'static str,
    /// What it means.
    pub(super) text: String,
}

/// Lookups and loads, counted.
#[derive(Serialize, ToSchema)]
#[schema(as = OverviewNumbers)]
pub(super) struct Numbers {
    pub(super) hits: u64,
    pub(super) misses: u64,
    /// Hits by lookups.
    #[schema(minimum = 0, maximum = 1)]
    pub(super) hit_rate: f64,
    pub(super) l1_hits: u64,
    pub(super) l2_hits: u64,
    pub(super) stale_hits: u64,
    pub(super) coalesced: u64,
    pub(super) loads: u64,
    pub(super) load_errors: u64,
    /// Seconds spent in loaders.
    pub(super) load_s: f64,
    /// Seconds in loaders that the hits would have cost: by endpoint, hits times the mean duration of its loads here.
    pub(super) saved_s: f64,
    pub(super) invalidations: u64,
    pub(super) evictions: u64,
    /// HTTP requests that were answered; null for a tenant.
    #[schema(required)]
    pub(super) requests: Option<u64>,
    /// Of these, those that were answered with 5xx.
    #[schema(required)]
    pub(super) server_errors: Option<u64>,
}

/// The same by the second.
#[derive(Clone, Serialize, ToSchema)]
pub(super) struct Rates {
    /// Over how many seconds.
    pub(super) over_s: f64,
    pub(super) lookups_per_s: f64,
    pub(super) l1_hits_per_s: f64,
    pub(super) l2_hits_per_s: f64,
    pub(super) stale_hits_per_s: f64,
    pub(super) misses_per_s: f64,
    pub(super) coalesced_per_s: f64,
    pub(super) loads_per_s: f64,
    pub(super) load_errors_per_s: f64,
    pub(super) invalidations_per_s: f64,
    pub(super) evictions_per_s: f64,
    /// Seconds of loading that hits made unnecessary, a second.
    pub(super) saved_s_per_s: f64,
    /// Hits by lookups; null without a lookup.
    #[schema(required, minimum = 0, maximum = 1)]
    pub(super) hit_rate: Option<f64>,
    /// HTTP requests that were answered; null for a tenant.
    #[schema(required)]
    pub(super) requests_per_s: Option<f64>,
    #[schema(required)]
    pub(super) server_errors_per_s: Option<f64>,
    /// Which part of the requests was answered with 5xx; null without a request, and for a tenant.
    #[schema(required, minimum = 0, maximum = 1)]
    pub(super) server_error_rate: Option<f64>,
}

/// How long things took.
#[derive(Serialize, ToSchema)]
pub(super) struct Latency {
    /// Over how many seconds.
    pub(super) over_s: f64,
    /// Requests that were answered with `X-Cache: HIT`.
    #[schema(required)]
    pub(super) hits: Option<Percentiles>,
    /// Requests that were answered with `X-Cache: MISS`.
    #[schema(required)]
    pub(super) misses: Option<Percentiles>,
    /// Loads from the source.
    #[schema(required)]
    pub(super) loads: Option<Percentiles>,
}

/// What is held in this process's memory.
#[derive(Serialize, ToSchema)]
pub(super) struct Memory {
    pub(super) entries: u64,
    pub(super) bytes: u64,
    #[schema(required)]
    pub(super) max_bytes: Option<u64>,
    /// Entries dropped for want of room.
    pub(super) evictions: u64,
    /// Loads running or waiting.
    #[schema(required)]
    pub(super) flights: Option<u64>,
}

/// How this node follows the invalidations of the others.
#[derive(Serialize, ToSchema)]
pub(super) struct Coherence {
    pub(super) trusted: bool,
    /// How long memory may be served without news; null without Redis: for ever.
    #[schema(required)]
    pub(super) lease_left_s: Option<f64>,
    /// How long it may be at most.
    pub(super) lease_s: f64,
    /// Age of what is known of the others' invalidations; null before the first heartbeat.
    #[schema(required)]
    pub(super) lag_s: Option<f64>,
    #[schema(required)]
    pub(super) epoch: Option<u64>,
    /// New epochs seen: with each, what Redis held before is cold.
    pub(super) epoch_bumps: u64,
    /// Times that invalidations of others had been missed, so that memory was dropped.
    pub(super) missed: u64,
    /// Requests leave Redis alone.
    pub(super) breaker_open: bool,
    /// Invalidations that wait to be told to Redis.
    pub(super) undelivered: u64,
    /// Invalidations that ever did.
    pub(super) deferred: u64,
    /// Invalidations that came over the stream, this node's own included.
    pub(super) told: u64,
    /// Invalidated scopes that are remembered.
    pub(super) scopes: u64,
}

/// A process that shares the cache.
#[derive(Serialize, ToSchema)]
pub(super) struct Node {
    pub(super) name: String,
    /// This process.
    pub(super) this: bool,
    /// Seconds since it was last known to be there.
    pub(super) seen_s: f64,
}

/// What one endpoint does.
#[derive(Serialize, ToSchema)]
pub(super) struct Endpoint {
    pub(super) name: &'static str,
    pub(super) hits: u64,
    pub(super) misses: u64,
    #[schema(minimum = 0, maximum = 1)]
    pub(super) hit_rate: f64,
    pub(super) l1_hits: u64,
    pub(super) l2_hits: u64,
    pub(super) stale_hits: u64,
    pub(super) coalesced: u64,
    pub(super) loads: u64,
    pub(super) load_errors: u64,
    pub(super) load_s: f64,
    /// The mean; null before the first load.
    #[schema(required)]
    pub(super) load_mean_ms: Option<f64>,
    pub(super) saved_s: f64,
    /// Over the last minute.
    #[schema(required)]
    pub(super) lookups_per_s: Option<f64>,
    /// Over the last minute.
    #[schema(required)]
    pub(super) loads_per_s: Option<f64>,
}

/// What one tenant does and holds.
#[derive(Clone, Serialize, ToSchema)]
#[schema(as = OverviewTenant)]
pub(super) struct Tenant {
    /// Empty for what all share.
    pub(super) name: String,
    pub(super) entries: u64,
    pub(super) bytes: u64,
    pub(super) evictions: u64,
    pub(super) invalidations: u64,
    pub(super) lookups: u64,
    #[schema(minimum = 0, maximum = 1)]
    pub(super) hit_rate: f64,
    pub(super) loads: u64,
    pub(super) load_s: f64,
    /// What its entries may weigh in this process's memory.
    pub(super) max_bytes: u64,
    /// Its loads that run and have one of its places.
    pub(super) loading: u64,
    /// How many may run at once.
    pub(super) max_loading: u64,
    /// Tags, keys and prefixes that were not remembered as invalidated, which it has invalidated in its present minute.
    pub(super) new_scopes: u64,
    /// How many of these it may bring in a minute before its invalidations are widened to all that it has.
    pub(super) max_new_scopes: u64,
    /// Invalidations that were widened.
    pub(super) widened: u64,
}

/// Open connections.
#[derive(Clone, Serialize, ToSchema)]
pub(super) struct Connections {
    pub(super) http: u64,
    pub(super) websocket: u64,
    pub(super) sse: u64,
    /// Those that follow this overview.
    pub(super) watchers: u64,
}

/// What became of the values.
#[derive(Clone, Copy, Serialize, ToSchema)]
#[serde(rename_all = "lowercase")]
pub(super) enum Verb {
    Invalidated,
    Expired,
    Published,
}

/// Something that was invalidated or published.
#[derive(Serialize, ToSchema)]
pub(super) struct Happened {
    pub(super) id: u64,
    pub(super) at_ms: u64,
    pub(super) verb: Verb,
    /// Empty for what all share; null across tenants, and where only another node knows.
    #[schema(required)]
    pub(super) tenant: Option<String>,
    /// The event that caused it.
    #[schema(required)]
    pub(super) event: Option<String>,
    /// What that event says has changed.
    #[schema(required)]
    pub(super) changed: Option<String>,
    /// What was covered, each with at most 120 characters.
    pub(super) what: Vec<String>,
    /// How much besides.
    pub(super) more: u64,
    /// Whether it was asked of this node.
    pub(super) here: bool,
    /// Whether it waited, or waits, for Redis.
    pub(super) deferred: bool,
}

impl Happened {
    pub(super) fn of(change: Change, at_ms: u64) -> Self {
        Self {
            id: change.id,
            at_ms: at_ms.saturating_sub(u64::try_from(change.ago.as_millis()).unwrap_or(u64::MAX)),
            verb: match change.verb {
                ChangeVerb::Expired => Verb::Expired,
                ChangeVerb::Published => Verb::Published,
                _ => Verb::Invalidated,
            },
            tenant: change.tenant,
            event: change.event.map(shortened),
            changed: change.changed.map(shortened),
            what: change.what.into_iter().map(shortened).collect(),
            more: change.more,
            here: change.here,
            deferred: change.deferred,
        }
    }
}

/// Characters of what people are told was covered: keys may be long, and all who look are sent fifty times six a second.
const SHOWN: usize = 120;

fn shortened(mut text: String) -> String {
    if let Some((at, _)) = text.char_indices().nth(SHOWN) {
        let end = text[..at].char_indices().next_back().map_or(0, |(last, _)| last);
        text.truncate(end);
        text.push('…');
    }
    text
}

/// How Redis is.
#[derive(Clone, Copy, Default, PartialEq, Eq, Serialize, ToSchema)]
#[serde(rename_all = "lowercase")]
#[schema(as = RedisStateWord)]
pub(super) enum RedisWord {
    Connected,
    #[default]
    Disabled,
    Unavailable,
    Unsupported,
}

/// Redis, by its own words.
#[derive(Clone, Default, Serialize, ToSchema)]
pub(super) struct Redis {
    pub(super) state: RedisWord,
    /// Why it is not in use.
    #[schema(required)]
    pub(super) reason: Option<String>,
    #[schema(required)]
    pub(super) server: Option<String>,
    #[schema(required)]
    pub(super) address: Option<String>,
    #[schema(required)]
    pub(super) tls: Option<bool>,
    /// What should be changed on it.
    pub(super) advice: Vec<String>,
    #[schema(required)]
    pub(super) round_trip_ms: Option<f64>,
    #[schema(required)]
    pub(super) used_bytes: Option<u64>,
    /// 0 is no limit.
    #[schema(required)]
    pub(super) max_bytes: Option<u64>,
    #[schema(required)]
    pub(super) policy: Option<String>,
    #[schema(required)]
    pub(super) evicted_keys: Option<u64>,
    #[schema(required)]
    pub(super) expired_keys: Option<u64>,
    #[schema(required)]
    pub(super) clients: Option<u64>,
    #[schema(required)]
    pub(super) ops_per_s: Option<u64>,
    /// Calls of this node that failed.
    #[schema(required)]
    pub(super) errors: Option<u64>,
    /// Of these, those without an answer in time.
    #[schema(required)]
    pub(super) timeouts: Option<u64>,
}

/// The application's database.
#[derive(Clone, Serialize, ToSchema)]
#[schema(as = OverviewDatabase)]
pub(super) struct Rows {
    pub(super) open: u32,
    pub(super) busy: u32,
    pub(super) max: u32,
    /// Statements that it was asked to run.
    pub(super) statements: u64,
    #[schema(required)]
    pub(super) outbox: Option<Outbox>,
}

/// What waits in its outbox.
#[derive(Clone, Serialize, ToSchema)]
pub(super) struct Outbox {
    /// Whether this process relays.
    pub(super) relays: bool,
    pub(super) waiting: u64,
    /// How long the oldest has waited.
    pub(super) lag_s: f64,
    /// Rows that were set aside.
    pub(super) dead: u64,
}

/// The event logs of this node.
#[derive(Serialize, ToSchema)]
#[schema(as = EventLogs)]
pub(super) struct Events {
    pub(super) appended: u64,
    pub(super) waiting: u64,
    pub(super) resets: u64,
    pub(super) missed: u64,
    /// Tenants whose log somebody watches.
    pub(super) watched: u64,
}

/// This process.
#[derive(Clone, Default, Serialize, ToSchema)]
pub(super) struct Process {
    /// Of one core, over the last interval.
    #[schema(required)]
    pub(super) cpu_percent: Option<f64>,
    #[schema(required)]
    pub(super) resident_bytes: Option<u64>,
    #[schema(required)]
    pub(super) threads: Option<u64>,
}

impl Process {
    pub(super) fn of(now: &process::Process, before: Option<&process::Process>) -> Self {
        Self {
            cpu_percent: before.map(|before| rounded(now.percent_since(before), 1)),
            resident_bytes: Some(now.resident),
            threads: Some(now.threads),
        }
    }
}

impl Endpoint {
    pub(super) fn of(name: &'static str, counts: &Counts) -> Self {
        let load_s = counts.load_time.as_secs_f64();
        Self {
            name,
            hits: counts.hits(),
            misses: counts.misses,
            hit_rate: rounded(counts.hit_rate(), 4),
            l1_hits: counts.l1_hits,
            l2_hits: counts.l2_hits,
            stale_hits: counts.stale_hits,
            coalesced: counts.coalesced,
            loads: counts.loads,
            load_errors: counts.load_errors,
            load_s: rounded(load_s, 6),
            load_mean_ms: (counts.loads > 0).then(|| rounded(load_s * 1e3 / ratio(counts.loads), 3)),
            saved_s: rounded(counts.saved().as_secs_f64(), 6),
            lookups_per_s: None,
            loads_per_s: None,
        }
    }
}
