//! What one viewer is shown of it.

use larder::{Change, RedisState};

use super::alerts::Alerts;
use super::reading::{History, Reading};
use super::sample::{CHANGES, Sample};
use super::shape::{
    As, Coherence, Endpoint, Events, Happened, Latency, Memory, Node, Overview, Redis, Viewed,
};
use crate::ops::Shared;
use crate::ops::health::CacheStatus;
use crate::ops::numbers::{ratio, rounded};

/// Nodes that are shown.
const NODES: usize = 200;

/// Whose figures somebody sees.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(in super::super) enum Viewer {
    Admin,
    Node,
    Tenant(String),
}

/// The node, with its tenants for an administrator.
pub(super) fn of_node(
    ops: &Shared,
    seq: u64,
    sample: &Sample,
    history: &History,
    admin: bool,
) -> Option<Overview> {
    let reading = history.last()?;
    let stats = &sample.stats;
    let minute = history.minute();
    let mut alerts = Alerts::default();
    alerts.cache(ops.cache.is_enabled());
    alerts.redis(&sample.state, true);
    alerts.coherence(stats, ops.cache.lease(), &sample.state);
    alerts.minute(minute.as_ref());
    alerts.redis_memory(&sample.redis, history);
    alerts.database(sample.rows.as_ref());
    let viewer = Viewed { r#as: if admin { As::Admin } else { As::Node }, tenant: None };
    Some(Overview {
        latency: Some(latency(history, reading, uptime(ops))),
        memory: Memory {
            entries: stats.entries,
            bytes: stats.memory_bytes,
            max_bytes: Some(stats.max_memory_bytes),
            evictions: stats.evictions,
            flights: Some(stats.flights),
        },
        coherence: Some(coherence(ops, sample)),
        nodes: Some(nodes(sample)),
        tenants: admin.then(|| sample.tenants.clone()),
        tenant_count: admin.then_some(sample.tenant_count),
        connections: Some(sample.connections.clone()),
        recent: admin.then(|| recent(&sample.recent, sample.at_ms)),
        redis: sample.redis.clone(),
        database: sample.rows.clone(),
        events: Some(Events {
            appended: stats.events.appended,
            waiting: stats.events.waiting,
            resets: stats.events.resets,
            missed: stats.events.missed,
            watched: stats.events.watched,
        }),
        process: sample.process.clone(),
        ..common(ops, (seq, sample), viewer, alerts, history)?
    })
}

/// One tenant: its own figures and nothing else.
pub(super) fn of_tenant(
    ops: &Shared,
    seq: u64,
    sample: &Sample,
    history: &History,
    held: super::shape::Tenant,
) -> Option<Overview> {
    let mut alerts = Alerts::default();
    alerts.cache(ops.cache.is_enabled());
    alerts.redis(&sample.state, false);
    alerts.minute(history.minute().as_ref());
    let own = ops.cache.recent(Some(&held.name), CHANGES);
    Some(Overview {
        memory: Memory {
            entries: held.entries,
            bytes: held.bytes,
            max_bytes: None,
            evictions: held.evictions,
            flights: None,
        },
        recent: Some(recent(&own, sample.at_ms)),
        ..common(
            ops,
            (seq, sample),
            Viewed { r#as: As::Tenant, tenant: Some(held.name.clone()) },
            alerts,
            history,
        )?
    })
}

fn uptime(ops: &Shared) -> f64 {
    rounded(ops.started.elapsed().as_secs_f64(), 1)
}

/// What everybody may see.
fn common(
    ops: &Shared,
    (seq, sample): (u64, &Sample),
    viewer: Viewed,
    alerts: Alerts,
    history: &History,
) -> Option<Overview> {
    let reading = history.last()?;
    Some(Overview {
        seq,
        at_ms: sample.at_ms,
        version: ops.version,
        uptime_s: uptime(ops),
        viewer,
        status: CacheStatus::of(&ops.cache),
        alerts: alerts.done(),
        totals: reading.numbers(),
        now: history.now(),
        minute: history.minute(),
        latency: None,
        memory: Memory { entries: 0, bytes: 0, max_bytes: None, evictions: 0, flights: None },
        coherence: None,
        nodes: None,
        endpoints: endpoints(history, reading),
        tenants: None,
        tenant_count: None,
        connections: None,
        recent: None,
        redis: Redis { state: sample.redis.state, ..Redis::default() },
        database: None,
        events: None,
        process: None,
    })
}

fn latency(history: &History, reading: &Reading, uptime: f64) -> Latency {
    let (over_s, earlier) = match history.window() {
        Some((last, first)) => (last.at.duration_since(first.at).as_secs_f64(), first.spreads.as_ref()),
        None => (uptime, None),
    };
    let now = reading.spreads.as_ref();
    Latency {
        over_s: rounded(over_s, 1),
        hits: now.and_then(|now| now.hits.since(earlier.map(|before| &before.hits))),
        misses: now.and_then(|now| now.misses.since(earlier.map(|before| &before.misses))),
        loads: now.and_then(|now| now.loads.since(earlier.map(|before| &before.loads))),
    }
}

fn coherence(ops: &Shared, sample: &Sample) -> Coherence {
    let stats = &sample.stats;
    let alone = sample.state == RedisState::Disabled;
    let seconds = |time: std::time::Duration| rounded(time.as_secs_f64(), 3);
    Coherence {
        trusted: stats.trusted,
        lease_left_s: (!alone).then(|| seconds(stats.lease_left)),
        lease_s: seconds(ops.cache.lease()),
        lag_s: stats.coherence_lag.map(seconds),
        epoch: stats.epoch,
        epoch_bumps: stats.epoch_bumps,
        missed: stats.missed_pushes,
        breaker_open: stats.breaker_open,
        undelivered: stats.undelivered,
        deferred: stats.deferred,
        told: stats.told,
        scopes: stats.scopes_remembered,
    }
}

fn nodes(sample: &Sample) -> Vec<Node> {
    let each = sample.nodes.iter().take(NODES);
    each.map(|node| Node {
        name: node.name.clone(),
        this: node.this,
        seen_s: rounded(node.seen.as_secs_f64(), 3),
    })
    .collect()
}

fn endpoints(history: &History, reading: &Reading) -> Vec<Endpoint> {
    let window = history.window();
    let mut endpoints: Vec<Endpoint> =
        reading.endpoints.iter().map(|(name, counts)| Endpoint::of(name, counts)).collect();
    if let Some((last, first)) = window {
        let over = last.at.duration_since(first.at).as_secs_f64().max(1e-3);
        for endpoint in &mut endpoints {
            let before = first.endpoints.get(endpoint.name).copied().unwrap_or_default();
            let lookups = (endpoint.hits + endpoint.misses).saturating_sub(before.hits() + before.misses);
            let rate = |count| Some(rounded(ratio(count) / over, 3));
            endpoint.lookups_per_s = rate(lookups);
            endpoint.loads_per_s = rate(endpoint.loads.saturating_sub(before.loads));
        }
    }
    endpoints.sort_by_key(|endpoint| std::cmp::Reverse(endpoint.loads));
    endpoints
}

fn recent(changes: &[Change], at_ms: u64) -> Vec<Happened> {
    changes.iter().map(|change| Happened::of(change.clone(), at_ms)).collect()
}
