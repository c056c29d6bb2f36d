//! `/metrics`: everything in numbers, for Prometheus.
//!
//! Every label has a fixed set of values: routes, methods, status classes, endpoints, workers. None names a tenant, so a
//! scrape is as long with 10,000 tenants as with one. It reads counters that requests and lookups add to; no hit waits for it.
//! Redis is asked how it is, and waited for half a second at most.

mod durations;
mod events;
mod exposition;
mod redis;
mod requests;
mod runtime;
mod saved;
mod tenants;

use axum::extract::State;
use axum::response::{IntoResponse, Response};
use http::header::{CACHE_CONTROL, CONTENT_TYPE};
use larder::{Counts, LOAD_BUCKETS, RedisState, StatsSnapshot};

use super::gate::Scraper;
use super::process::{Files, Process};
use super::{Ops, OutboxUse};
use exposition::{Exposition, Observed};

pub(super) use requests::Answered;
pub use requests::Requests;
pub(super) use saved::Saved;

/// Shows everything in numbers, in the text format of Prometheus.
#[utoipa::path(
    get, path = "/metrics", tag = "operations", operation_id = "metrics", security((), ("bearer" = [])),
    responses((status = 200, description = "Counters and gauges", content_type = "text/plain", body = String))
)]
pub(in super::super) async fn scrape(State(ops): State<Ops>, _: Scraper) -> Response {
    let mut out = Exposition::default();
    // Reads files, though such as wait for no disk.
    let process = tokio::task::spawn_blocking(|| Process::look().zip(Files::count()));
    let said = ops.redis.ask(&ops.cache).await;
    let stats = ops.cache.stats();
    ops.describe_server(&mut out);
    ops.describe_lookups(&mut out, &stats);
    describe_cache(&mut out, &stats);
    tenants::describe(&mut out, &stats.quotas);
    events::describe(&mut out, &stats.events);
    ops.describe_coherence(&mut out, &stats);
    if let Some(said) = &said {
        redis::describe(&mut out, said);
    }
    for measure in (ops.measures)() {
        let mut family = out.counter(measure.name, measure.help);
        for (value, count) in &measure.counts {
            match measure.label {
                Some(label) => family.number(&[(label, value)], *count),
                None => family.number(&[], *count),
            }
        }
    }
    runtime::describe(&mut out);
    if let Ok(Some((process, files))) = process.await {
        runtime::describe_process(&mut out, &process, &files);
    }
    ([(CONTENT_TYPE, exposition::CONTENT_TYPE), (CACHE_CONTROL, "no-store")], out.finish()).into_response()
}

/// A counter for each endpoint: name, help, and which of the counts it is.
type PerEndpoint = (&'static str, &'static str, fn(&Counts) -> u64);

impl Ops {
    fn describe_server(&self, out: &mut Exposition) {
        out.gauge("larder_build_info", "The version of the program").number(&[("version", self.version)], 1);
        out.gauge("larder_uptime_seconds", "Time since the start")
            .float(&[], self.started.elapsed().as_secs_f64());
        self.requests.describe(out);
        let mut connections = out.gauge("larder_connections", "Open connections by kind");
        for (kind, count) in (self.connections)() {
            connections.number(&[("kind", kind)], count);
        }
        if let Some(database) = &self.database {
            let pool = database.pool();
            let mut connections =
                out.gauge("larder_database_connections", "Connections to the database by state");
            connections.number(&[("state", "busy")], u64::from(pool.open.saturating_sub(pool.idle)));
            connections.number(&[("state", "idle")], u64::from(pool.idle));
            out.gauge("larder_database_connections_max", "How many connections to the database there may be")
                .number(&[], u64::from(pool.max));
            let help = "Statements and transactions that wait for a connection";
            out.gauge("larder_database_waiting", help).number(&[], pool.waiting);
            let help = "Statements and transactions that waited too long for a connection, so that their requests failed";
            out.counter("larder_database_timeouts_total", help).number(&[], pool.timeouts);
            out.counter("larder_database_statements_total", "Statements that the database was asked to run")
                .number(&[], database.statements());
            if let Some(outbox) = database.outbox() {
                describe_outbox(out, &outbox);
            }
        }
    }

    fn describe_lookups(&self, out: &mut Exposition, stats: &StatsSnapshot) {
        let counts = self.endpoints.count(stats.tenants.values().chain([&stats.others]));
        let mut hits = out.counter("larder_cache_hits_total", "Fresh values served, by tier");
        for (endpoint, counts) in &counts {
            hits.number(&[("endpoint", endpoint), ("tier", "memory")], counts.l1_hits);
            hits.number(&[("endpoint", endpoint), ("tier", "redis")], counts.l2_hits);
        }
        let each: [PerEndpoint; 6] = [
            ("larder_cache_stale_served_total", "Values served past their TTL", |counts| counts.stale_hits),
            ("larder_cache_misses_total", "Lookups that needed a load or brought nothing", |counts| {
                counts.misses
            }),
            ("larder_cache_coalesced_total", "Misses that waited for another's load", |counts| {
                counts.coalesced
            }),
            ("larder_cache_bypassed_total", "Lookups with the cache off", |counts| counts.bypassed),
            ("larder_cache_loads_total", "Loads from the source", |counts| counts.loads),
            ("larder_cache_load_errors_total", "Loads that failed", |counts| counts.load_errors),
        ];
        for (name, help, number) in each {
            let mut family = out.counter(name, help);
            for (endpoint, counts) in &counts {
                family.number(&[("endpoint", endpoint)], number(counts));
            }
        }
        let help = "Time in loaders that hits made unnecessary: each counts as a load of its endpoint takes on average";
        let mut saved = out.counter("larder_cache_saved_seconds_total", help);
        for (endpoint, seconds) in self.saved.up_to(&counts) {
            saved.float(&[("endpoint", endpoint)], seconds);
        }
        let help = "Duration of loads from the source";
        let (counts, sum) = (&stats.load_buckets, stats.load_time.as_secs_f64());
        let seen = Observed { bounds: &LOAD_BUCKETS, counts, sum };
        out.histogram("larder_cache_load_duration_seconds", help).observed(&[], &seen);
    }

    fn describe_coherence(&self, out: &mut Exposition, stats: &StatsSnapshot) {
        let connected = matches!(self.cache.redis_state(), RedisState::Connected { .. });
        for (name, help, is_so) in [
            ("larder_redis_connected", "1 while Redis is in use; 0 where none is configured, too", connected),
            (
                "larder_redis_breaker_open",
                "1 while requests leave Redis alone, because it failed or was never reached; it is tried in the background",
                stats.breaker_open,
            ),
            (
                "larder_coherence_trusted",
                "1 while this node follows the invalidations of the others; always, without Redis. At 0 it reads nothing \
                 from Redis, and memory serves no longer than larder_coherence_lease_left_seconds",
                stats.trusted,
            ),
        ] {
            out.gauge(name, help).flag(is_so);
        }
        for (name, help, time) in [
            (
                "larder_coherence_lag_seconds",
                "Age of what this node knows of the others' invalidations: time since the last heartbeat that was answered \
                 after all of them were applied. About a quarter of the lease at most when all is well; +Inf before the \
                 first; 0 without Redis",
                stats.coherence_lag,
            ),
            (
                "larder_coherence_lease_left_seconds",
                "How long memory may be served without news from Redis; +Inf without Redis",
                // Without Redis it never ends.
                Some(stats.lease_left).filter(|left| left.as_secs() < 1 << 32),
            ),
        ] {
            out.gauge(name, help).float(&[], time.map_or(f64::INFINITY, |time| time.as_secs_f64()));
        }
        for (name, help, number) in [
            (
                "larder_redis_errors_total",
                "Redis calls that failed, those without an answer in time included",
                stats.redis_errors,
            ),
            ("larder_redis_timeouts_total", "Redis calls without an answer in time", stats.redis_timeouts),
            (
                "larder_coherence_epochs_total",
                "New epochs that this node has seen: with each, what Redis held before is cold for all nodes",
                stats.epoch_bumps,
            ),
            (
                "larder_coherence_missed_total",
                "Times that invalidations of other nodes had been missed, so that memory was dropped",
                stats.missed_pushes,
            ),
        ] {
            out.counter(name, help).number(&[], number);
        }
        for (name, help, number) in [
            (
                "larder_coherence_undelivered",
                "Invalidations that are in force on this node and wait to be told to Redis",
                stats.undelivered,
            ),
            (
                "larder_coherence_scopes",
                "Invalidated scopes that this node remembers, 65536 at most",
                stats.scopes_remembered,
            ),
        ] {
            out.gauge(name, help).number(&[], number);
        }
    }
}

fn describe_outbox(out: &mut Exposition, outbox: &OutboxUse) {
    out.gauge("larder_outbox_relays", "1 where this process is the one that relays the outbox")
        .flag(outbox.relays);
    out.gauge(
        "larder_outbox_lag_seconds",
        "How long the oldest event in the outbox has waited; 0 if none waits",
    )
    .float(&[], outbox.lag.as_secs_f64());
    for (name, help, number) in [
        ("larder_outbox_waiting", "Events in the outbox, counted up to 10001", outbox.waiting),
        (
            "larder_outbox_dead",
            "Rows of the outbox that can't be published, in larder_outbox_dead",
            outbox.dead,
        ),
        (
            "larder_outbox_stalled_tenants",
            "Tenants whose events in the outbox wait for Redis",
            outbox.stalled,
        ),
    ] {
        out.gauge(name, help).number(&[], number);
    }
    for (name, help, number) in [
        ("larder_outbox_relayed_total", "Events that this process relayed", outbox.relayed),
        ("larder_outbox_direct_total", "Events that this process published past the relay", outbox.direct),
        ("larder_outbox_failures_total", "Times that the database failed the relay", outbox.failures),
    ] {
        out.counter(name, help).number(&[], number);
    }
}

fn describe_cache(out: &mut Exposition, stats: &StatsSnapshot) {
    for (name, help, number) in [
        ("larder_cache_invalidations_total", "Invalidations asked of this node", stats.invalidations),
        (
            "larder_cache_invalidations_deferred_total",
            "Invalidations that could not reach Redis at once",
            stats.deferred,
        ),
        ("larder_cache_evictions_total", "Entries dropped for want of room", stats.evictions),
        ("larder_cache_oversize_total", "Values too large to be kept", stats.oversize),
        ("larder_cache_corrupt_total", "Bytes in Redis that could not be used", stats.corrupt),
        ("larder_audits_total", "Hits that were compared with the origin", stats.audits),
        (
            "larder_audits_stale_total",
            "Audited hits whose value the origin had not any more, though nothing had invalidated it",
            stats.audits_stale,
        ),
    ] {
        out.counter(name, help).number(&[], number);
    }
    let help = "The greatest age of a value that an audit found stale; 0 if none was";
    out.gauge("larder_audits_stale_age_seconds", help).float(&[], stats.audits_oldest.as_secs_f64());
    for (name, help, number) in [
        ("larder_cache_entries", "Entries in memory", stats.entries),
        ("larder_cache_memory_bytes", "What the entries in memory weigh", stats.memory_bytes),
        (
            "larder_cache_memory_max_bytes",
            "What the entries in memory may weigh at most",
            stats.max_memory_bytes,
        ),
        ("larder_cache_flights", "Loads running or waiting", stats.flights),
    ] {
        out.gauge(name, help).number(&[], number);
    }
}
