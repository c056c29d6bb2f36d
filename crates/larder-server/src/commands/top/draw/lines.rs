//! The facts as lines.

use ratatui::style::{Color, Style};
use ratatui::text::Line;

use super::super::figures::{bytes, count, harmless, ms, percent, whole};
use super::super::overview::{Latency, Memory, Overview, Percentiles};

/// What a server does not tell this person.
const HIDDEN: &str = "not told to this token";

/// Lookups, loads, what was saved.
pub(super) fn traffic(of: &Overview) -> Vec<String> {
    let Some(now) = &of.now else { return vec!["lookups -".into(), "loads -".into()] };
    let failed = if now.load_errors_per_s > 0.0 {
        format!(", {} fail", count(now.load_errors_per_s))
    } else {
        String::new()
    };
    vec![
        format!("{} lookups/s", count(now.lookups_per_s)),
        format!("{} loads/s{failed}", count(now.loads_per_s)),
        format!("{} s of loading saved a second", count(now.saved_s_per_s)),
        format!(
            "{} since the start, {} invalidations/s",
            percent(of.totals.hit_rate),
            count(now.invalidations_per_s)
        ),
    ]
}

/// A head and three lines.
pub(super) fn latencies(of: &Overview) -> Vec<Line<'static>> {
    let Some(latency) = &of.latency else { return vec![HIDDEN.into()] };
    let each = |name: &str, of: &Option<Percentiles>| -> Line<'static> {
        let [p50, p90, p99] = match of {
            Some(of) => [of.p50_ms, of.p90_ms, of.p99_ms].map(ms),
            None => ["-", "-", "-"].map(str::to_owned),
        };
        format!("{name:<6}{p50:>7} {p90:>7} {p99:>7}  {}", if name == "hits" { "p50 90 99" } else { "" })
            .into()
    };
    vec![each("hits", &latency.hits), each("misses", &latency.misses), each("loads", &latency.loads)]
}

/// A gauge of this width, and what it means.
pub(super) fn memory(of: &Overview, width: u16) -> Vec<Line<'static>> {
    let Memory { entries, bytes: held, max_bytes, evictions, flights } = &of.memory;
    let flights = flights.map(|flights| format!(", {flights} in flight")).unwrap_or_default();
    let mut lines = match max_bytes {
        Some(max) => {
            vec![gauge(*held, *max, width), format!("{} of {}{flights}", bytes(*held), bytes(*max)).into()]
        }
        None => vec![bytes(*held).into()],
    };
    lines.push(format!("{} entries, {} evicted", whole(*entries), whole(*evictions)).into());
    lines
}

fn gauge(held: u64, max: u64, width: u16) -> Line<'static> {
    #[expect(clippy::cast_precision_loss, reason = "a bar")]
    let share = if max == 0 { 0.0 } else { (held as f64 / max as f64).min(1.0) };
    let cells = usize::from(width).saturating_sub(8).max(1);
    #[expect(
        clippy::cast_possible_truncation,
        clippy::cast_sign_loss,
        clippy::cast_precision_loss,
        reason = "a bar"
    )]
    let full = (share * cells as f64).round() as usize;
    let colour = if share > 0.95 { Color::Yellow } else { Color::Green };
    let bar = format!("{}{}", "█".repeat(full), "░".repeat(cells - full));
    Line::from(vec![ratatui::text::Span::styled(bar, colour), format!(" {:>6}", percent(share)).into()])
}

pub(super) fn coherence(of: &Overview) -> Vec<Line<'static>> {
    let Some(coherence) = &of.coherence else { return vec![HIDDEN.into()] };
    let (word, colour) = trust(of);
    let lag = coherence.lag_s.map_or_else(|| "-".to_owned(), |lag| format!("{lag:.2} s"));
    let left = coherence.lease_left_s.map(|left| format!(", lease {left:.1} s")).unwrap_or_default();
    vec![
        Line::styled(word, Style::new().fg(colour).bold()),
        format!("lag {lag}{left}").into(),
        format!(
            "{} undelivered, {} missed, {} epochs",
            coherence.undelivered, coherence.missed, coherence.epoch_bumps
        )
        .into(),
    ]
}

fn trust(of: &Overview) -> (&'static str, Color) {
    match &of.coherence {
        Some(coherence) if coherence.breaker_open => ("does without Redis", Color::Red),
        Some(coherence) if !coherence.trusted => ("not trusted", Color::Red),
        _ => ("trusted", Color::Green),
    }
}

pub(super) fn redis(of: &Overview) -> Vec<Line<'static>> {
    let redis = &of.redis;
    let colour = match redis.state.as_str() {
        "connected" => Color::Green,
        "disabled" => Color::Reset,
        _ => Color::Red,
    };
    let told = redis.server.as_ref().or(redis.reason.as_ref()).map(|text| format!(" {}", harmless(text)));
    let mut lines = vec![Line::styled(harmless(&redis.state) + &told.unwrap_or_default(), colour)];
    if let Some(time) = redis.round_trip_ms {
        let ops = redis.ops_per_s.map(|ops| format!(", {} op/s", count(ops))).unwrap_or_default();
        let used = redis.used_bytes.map(|used| format!(", {}", bytes(used))).unwrap_or_default();
        lines.push(format!("{} ms{ops}{used}", ms(time)).into());
    }
    let mut last = Vec::new();
    last.extend(of.database.as_ref().map(|db| format!("database {} of {}", db.busy, db.max)));
    last.extend(redis.evicted_keys.filter(|keys| *keys > 0).map(|keys| format!("{} evicted", whole(keys))));
    last.extend(redis.errors.filter(|errors| *errors > 0).map(|errors| format!("{} errors", whole(errors))));
    last.extend(process(of));
    if !last.is_empty() {
        lines.push(last.join(", ").into());
    }
    lines
}

fn process(of: &Overview) -> Option<String> {
    let process = of.process.as_ref()?;
    Some(format!("cpu {} %, {}", count(process.cpu_percent?), bytes(process.resident_bytes?)))
}

/// Everything in a few lines, the most important first.
pub(super) fn in_short(of: &Overview) -> Vec<Line<'static>> {
    let mut lines = Vec::new();
    if let Some(now) = &of.now {
        let saved = count(now.saved_s_per_s);
        let (lookups, loads) = (count(now.lookups_per_s), count(now.loads_per_s));
        lines.push(format!("{lookups} lookups/s {loads} loads/s saved {saved} s/s").into());
    }
    if let Some(Latency { hits, loads, .. }) = &of.latency {
        let p99 = |of: &Option<Percentiles>| of.as_ref().map_or_else(|| "-".to_owned(), |of| ms(of.p99_ms));
        lines.push(format!("p99 hits {} ms, loads {} ms", p99(hits), p99(loads)).into());
    }
    let max = of.memory.max_bytes.map(|max| format!(" of {}", bytes(max))).unwrap_or_default();
    lines
        .push(format!("memory {}{max}, {} entries", bytes(of.memory.bytes), whole(of.memory.entries)).into());
    let redis = format!("redis {}", harmless(&of.redis.state));
    lines.push(match &of.coherence {
        Some(coherence) => {
            let (word, colour) = trust(of);
            let undelivered = match coherence.undelivered {
                0 => String::new(),
                some => format!(", {some} undelivered"),
            };
            Line::styled(format!("{word}, {redis}{undelivered}"), colour)
        }
        None => redis.into(),
    });
    lines
}
