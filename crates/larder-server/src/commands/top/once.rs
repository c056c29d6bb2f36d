//! The plain table of `larder top --once`.

use super::endpoints::{Order, sorted};
use super::figures::{bytes, count, harmless, ms, percent, span, whole};
use super::overview::{Overview, Percentiles, tenant_name};
use crate::commands::table;
use crate::commands::tail::of_day;

pub(super) fn table(of: &Overview) -> String {
    let mut rows = vec![
        row("status", &harmless(&of.status)),
        row("version", &harmless(&of.version)),
        row("up", &span(of.uptime_s)),
    ];
    rows.extend(of.viewer.tenant.as_ref().map(|tenant| row("tenant", &harmless(tenant))));
    rows.extend(of.alerts.iter().map(|alert| row(&harmless(&alert.level), &harmless(&alert.text))));
    rows.extend(lookups(of));
    rows.extend(latencies(of));
    let of_max = of.memory.max_bytes.map(|max| format!(" of {}", bytes(max))).unwrap_or_default();
    let memory = &of.memory;
    rows.push(row("memory", &format!("{}{of_max}, {} entries", bytes(memory.bytes), whole(memory.entries))));
    rows.push(row("evictions", &whole(memory.evictions)));
    rows.extend(coherence(of));
    rows.push(row("redis", &redis(of)));
    if let Some(database) = &of.database {
        rows.push(row("database", &format!("{} of {} connections busy", database.busy, database.max)));
    }
    if let Some(connections) = &of.connections {
        let each: Vec<String> =
            connections.iter().map(|(kind, count)| format!("{count} {}", harmless(kind))).collect();
        rows.push(row("connections", &each.join(", ")));
    }
    let tables = [endpoints(of), tenants(of), recent(of)];
    tables.into_iter().flatten().fold(table::plain(rows), |text, table| text + "\n" + &table)
}

fn row(name: &str, value: &str) -> Vec<String> {
    vec![name.to_owned(), value.to_owned()]
}

fn lookups(of: &Overview) -> Vec<Vec<String>> {
    let totals = &of.totals;
    let since =
        format!("{} of {} since the start", percent(totals.hit_rate), whole(totals.hits + totals.misses));
    let mut rows = vec![row("hit rate", &since)];
    if let Some(now) = &of.now {
        rows.push(row("hit rate now", &now.hit_rate.map_or_else(|| "-".to_owned(), percent)));
        rows.push(row("lookups/s", &count(now.lookups_per_s)));
        rows.push(row("loads/s", &count(now.loads_per_s)));
    }
    rows.push(row("loads", &format!("{}, {} failed", whole(totals.loads), whole(totals.load_errors))));
    rows.push(row("saved", &format!("{} of loading", span(totals.saved_s))));
    rows.push(row("invalidations", &whole(totals.invalidations)));
    rows
}

fn latencies(of: &Overview) -> Vec<Vec<String>> {
    let Some(latency) = &of.latency else { return Vec::new() };
    let line = |name: &str, of: &Option<Percentiles>| {
        let of = of.as_ref()?;
        Some(row(
            name,
            &format!("{} / {} / {} ms (p50 / p90 / p99)", ms(of.p50_ms), ms(of.p90_ms), ms(of.p99_ms)),
        ))
    };
    [line("hits", &latency.hits), line("misses", &latency.misses), line("load time", &latency.loads)]
        .into_iter()
        .flatten()
        .collect()
}

fn coherence(of: &Overview) -> Vec<Vec<String>> {
    let Some(coherence) = &of.coherence else { return Vec::new() };
    let trusted = if coherence.trusted { "trusted" } else { "not trusted" };
    let lag = coherence.lag_s.map_or_else(|| "-".to_owned(), |lag| format!("{lag:.2} s"));
    let text = format!(
        "{trusted}, lag {lag}, {} new epochs, {} missed, {} undelivered",
        coherence.epoch_bumps, coherence.missed, coherence.undelivered
    );
    let nodes = of.nodes.as_ref().map(|nodes| row("nodes", &nodes.len().to_string()));
    [Some(row("coherence", &text)), nodes].into_iter().flatten().collect()
}

fn redis(of: &Overview) -> String {
    let redis = &of.redis;
    let mut parts = vec![harmless(&redis.state)];
    parts.extend(redis.server.as_deref().map(harmless));
    parts.extend(redis.round_trip_ms.map(|time| format!("{} ms", ms(time))));
    parts.extend(redis.ops_per_s.map(|ops| format!("{} operations/s", count(ops))));
    parts.extend(redis.used_bytes.map(bytes));
    parts.extend(redis.reason.as_deref().map(harmless));
    parts.join(", ")
}

/// A head and rows.
fn headed<const N: usize>(head: [&str; N], rows: impl Iterator<Item = [String; N]>) -> String {
    table::plain(std::iter::once(head.map(str::to_owned)).chain(rows).map(Vec::from))
}

fn endpoints(of: &Overview) -> Option<String> {
    let head = ["endpoint", "hit rate", "hits", "misses", "loads", "failed", "mean ms", "time", "saved"];
    let used = sorted(&of.endpoints, Order::Loads, false).into_iter().filter(|one| one.hits + one.misses > 0);
    let rows = used.map(|one| {
        [
            harmless(&one.name),
            one.rate(),
            whole(one.hits),
            whole(one.misses),
            whole(one.loads),
            whole(one.load_errors),
            one.load_mean_ms.map_or_else(|| "-".to_owned(), ms),
            span(one.load_s),
            span(one.saved_s),
        ]
    });
    Some(headed(head, rows))
}

/// Those of which this token is told.
fn tenants(of: &Overview) -> Option<String> {
    let tenants = of.tenants.as_ref()?;
    let head = ["tenant", "hit rate", "lookups", "loads", "time", "memory", "entries", "evicted"];
    let rows = tenants.iter().map(|one| {
        [
            tenant_name(&one.name),
            one.rate(),
            whole(one.lookups),
            whole(one.loads),
            span(one.load_s),
            bytes(one.bytes),
            whole(one.entries),
            whole(one.evictions),
        ]
    });
    Some(headed(head, rows))
}

/// What was invalidated and published, the latest first.
fn recent(of: &Overview) -> Option<String> {
    let recent = of.recent.as_ref().filter(|recent| !recent.is_empty())?;
    let head = ["at", "what", "whose", "event", "scopes"];
    let rows = recent.iter().map(|one| {
        let event = one.event.as_deref().map_or_else(|| "-".to_owned(), harmless);
        let scopes = one.scopes().join(", ") + &one.rest();
        [of_day(one.at_ms), harmless(&one.verb), one.whose(), event, scopes.trim().to_owned()]
    });
    Some(headed(head, rows))
}
