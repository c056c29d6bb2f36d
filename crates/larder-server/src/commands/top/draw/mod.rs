//! The screen: what fits, the most important first. From 40×10 on; wide terminals get boxes, narrow ones lines.

mod lines;
mod recent;
mod tables;
#[cfg(test)]
mod tests;

use std::time::Instant;

use ratatui::Frame;
use ratatui::layout::{Alignment, Constraint, Layout, Rect};
use ratatui::style::{Color, Modifier, Style};
use ratatui::text::{Line, Span};
use ratatui::widgets::{Block, Clear, Paragraph, Sparkline};

use super::endpoints::Order;
use super::figures::{harmless, span};
use super::state::{Second, State};

/// The least that something can be read in.
const LEAST: (u16, u16) = (40, 10);
/// From here on there is room for boxes.
const BOXES: (u16, u16) = (80, 22);
/// And from here on for all of them side by side.
const WIDE: u16 = 132;
/// Alerts that are shown at once.
const ALERTS: usize = 3;

const DIM: Style = Style::new().add_modifier(Modifier::DIM);

pub(super) fn draw(frame: &mut Frame<'_>, state: &State) {
    let area = frame.area();
    if area.width < LEAST.0 || area.height < LEAST.1 {
        let text = format!(
            "{}×{} are too few:\n{}×{} are needed\n(q quits)",
            area.width, area.height, LEAST.0, LEAST.1
        );
        frame.render_widget(Paragraph::new(text).alignment(Alignment::Center), area);
        return;
    }
    let alerts = alerts(state, area.height);
    let told = u16::try_from(alerts.len()).unwrap_or(0);
    let rows = [Constraint::Length(1), Constraint::Length(told), Constraint::Min(0), Constraint::Length(1)];
    let [head, bad, body, foot] = Layout::vertical(rows).areas(area);
    frame.render_widget(header(state), head);
    frame.render_widget(Paragraph::new(alerts), bad);
    if body.width >= BOXES.0 && body.height >= BOXES.1 - 2 {
        boxes(frame, body, state);
    } else {
        narrow(frame, body, state);
    }
    frame.render_widget(footer(state), foot);
    if state.help {
        help(frame, area);
    }
}

fn header(state: &State) -> Line<'static> {
    let of = &state.latest;
    let colour = match (state.lost.is_some(), of.status.as_str()) {
        (true, _) => Color::Red,
        (false, "healthy") => Color::Green,
        _ => Color::Yellow,
    };
    let status = if state.lost.is_some() { "no connection".to_owned() } else { harmless(&of.status) };
    let mut spans = vec![
        Span::styled("larder ", Modifier::BOLD),
        Span::styled(status, Style::new().fg(colour).bold()),
        Span::raw(format!("  up {}", span(of.uptime_s))),
    ];
    if let Some(tenant) = &of.viewer.tenant {
        spans.push(Span::raw(format!("  tenant {}", harmless(tenant))));
    }
    if let Some(nodes) = of.nodes.as_ref().filter(|nodes| nodes.len() > 1) {
        spans.push(Span::raw(format!("  {} nodes", nodes.len())));
    }
    if let Some(tenants) = of.tenant_count {
        let word = if tenants == 1 { "tenant" } else { "tenants" };
        spans.push(Span::raw(format!("  {tenants} {word}")));
    }
    spans.push(Span::styled(format!("  {}", state.url), DIM));
    spans.push(Span::styled(format!("  {}", harmless(&of.version)), DIM));
    Line::from(spans)
}

/// The worst first. That nothing comes is worse than all that the last one said.
fn alerts(state: &State, height: u16) -> Vec<Line<'static>> {
    let room = if height < 16 { 1 } else { ALERTS };
    if let Some(lost) = &state.lost {
        let again = lost.again.saturating_duration_since(Instant::now()).as_secs_f64().ceil();
        let gone = span(lost.since.elapsed().as_secs_f64());
        let text = format!("gone for {gone}, tried again in {}: {}", span(again), lost.why);
        return vec![Line::styled(text, Style::new().fg(Color::Red).bold())];
    }
    let all = &state.latest.alerts;
    let mut lines: Vec<_> = all
        .iter()
        .take(room)
        .map(|alert| {
            let colour = if alert.level == "bad" { Color::Red } else { Color::Yellow };
            Line::styled(harmless(&alert.text), colour)
        })
        .collect();
    if let Some(last) = lines.last_mut().filter(|_| all.len() > room) {
        last.push_span(format!(" (and {} more)", all.len() - room));
    }
    lines
}

fn footer(state: &State) -> Line<'static> {
    let order = if state.reversed { "least first" } else { "" };
    Line::styled(format!("q quit  ? help  s sort: {} {order}", state.order.name()), DIM)
}

fn boxes(frame: &mut Frame<'_>, area: Rect, state: &State) {
    let wide = area.width >= WIDE;
    let facts = if wide { 5 } else { 10 };
    let rows = [Constraint::Length(6), Constraint::Length(facts), Constraint::Min(4)];
    let [curves, middle, tables] = Layout::vertical(rows).areas(area);
    let [left, right] = Layout::horizontal([Constraint::Fill(1); 2]).areas(curves);
    let (left, right) = (boxed(frame, left, "Lookups by tier"), boxed(frame, right, "Traffic"));
    tiers(frame, left, state);
    traffic(frame, right, state);
    let facts = [
        ("Time in ms", lines::latencies(&state.latest)),
        ("Memory", lines::memory(&state.latest, quarter(middle.width, wide))),
        ("Coherence", lines::coherence(&state.latest)),
        ("Redis and database", lines::redis(&state.latest)),
    ];
    for ((title, lines), area) in facts.into_iter().zip(places(middle, wide)) {
        let inner = boxed(frame, area, title);
        frame.render_widget(Paragraph::new(lines), inner);
    }
    let shares = match state.latest.recent {
        Some(_) => [Constraint::Percentage(58), Constraint::Fill(1)],
        None => [Constraint::Fill(1), Constraint::Length(0)],
    };
    let [endpoints, recent] = Layout::horizontal(shares).areas(tables);
    let inner = boxed(frame, endpoints, "Endpoints");
    tables::endpoints(frame, inner, state);
    if state.latest.recent.is_some() {
        let inner = boxed(frame, recent, "Invalidations and events");
        recent::recent(frame, inner, state);
    }
}

/// Four side by side, or two over two.
fn places(area: Rect, wide: bool) -> Vec<Rect> {
    if wide {
        return Layout::horizontal([Constraint::Fill(1); 4]).split(area).to_vec();
    }
    let rows = Layout::vertical([Constraint::Length(5); 2]).split(area);
    rows.iter().flat_map(|row| Layout::horizontal([Constraint::Fill(1); 2]).split(*row).to_vec()).collect()
}

/// The inside of one of them.
fn quarter(width: u16, wide: bool) -> u16 {
    (if wide { width / 4 } else { width / 2 }).saturating_sub(2)
}

fn boxed(frame: &mut Frame<'_>, area: Rect, title: &'static str) -> Rect {
    let block = Block::bordered().border_style(DIM).title(Span::styled(title, Modifier::BOLD));
    let inner = block.inner(area);
    frame.render_widget(block, area);
    inner
}

/// A share of the lookups of a second.
type Part = fn(&Second) -> Option<f64>;

/// One line for each tier: what it has answered, and its curve.
fn tiers(frame: &mut Frame<'_>, area: Rect, state: &State) {
    let now = state.seconds.back().copied().unwrap_or_default();
    let parts: [(&str, Color, Part); 4] = [
        ("memory", Color::Green, |second| second.memory),
        ("redis", Color::Cyan, |second| second.redis),
        ("stale", Color::Yellow, |second| second.stale),
        ("missed", Color::Red, |second| second.missed),
    ];
    for ((name, colour, part), row) in parts.into_iter().zip(area.rows()) {
        let share = part(&now).map_or_else(|| "-".to_owned(), super::figures::percent);
        let bars = state.seconds.iter().map(|second| part(second).map(parts_of_a_thousand));
        curve(frame, row, &format!("{name:<7}{share:>7} "), colour, bars, Some(1000));
    }
}

fn traffic(frame: &mut Frame<'_>, area: Rect, state: &State) {
    let text = lines::traffic(&state.latest);
    let parts: [fn(&Second) -> f64; 2] = [|second| second.lookups, |second| second.loads];
    let curves = [Color::Green, Color::Red].into_iter().zip(parts);
    for (at, (row, line)) in area.rows().zip(text).enumerate() {
        match curves.clone().nth(at) {
            Some((colour, part)) => {
                let bars = state.seconds.iter().map(|second| Some(rounded(part(second))));
                curve(frame, row, &format!("{line:<22} "), colour, bars, None);
            }
            None => frame.render_widget(line, row),
        }
    }
}

/// Text, and behind it the latest bars that fit.
fn curve(
    frame: &mut Frame<'_>,
    row: Rect,
    text: &str,
    colour: Color,
    bars: impl ExactSizeIterator<Item = Option<u64>>,
    max: Option<u64>,
) {
    let width = u16::try_from(text.chars().count()).unwrap_or(u16::MAX).min(row.width);
    let [left, right] = Layout::horizontal([Constraint::Length(width), Constraint::Fill(1)]).areas(row);
    frame.render_widget(text, left);
    let skipped = bars.len().saturating_sub(usize::from(right.width));
    let mut line = Sparkline::default().data(bars.skip(skipped)).style(colour).absent_value_symbol(" ");
    if let Some(max) = max {
        line = line.max(max);
    }
    frame.render_widget(line, right);
}

fn parts_of_a_thousand(share: f64) -> u64 {
    rounded(share * 1000.0)
}

/// In a curve a little is not nothing.
#[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "saturating")]
fn rounded(number: f64) -> u64 {
    number.ceil().max(0.0) as u64
}

/// Line under line, as far as there is room, with the endpoints last.
fn narrow(frame: &mut Frame<'_>, area: Rect, state: &State) {
    let of = &state.latest;
    let mut rows = area.rows();
    if let Some(row) = rows.next() {
        let now = of.now.as_ref().and_then(|now| now.hit_rate);
        let rate = now.map_or_else(|| "-".to_owned(), super::figures::percent);
        let hits = |second: &Second| Some(second.memory? + second.redis? + second.stale?);
        let bars = state.seconds.iter().map(|second| hits(second).map(parts_of_a_thousand));
        curve(frame, row, &format!("hit rate {rate:>6} "), Color::Green, bars, Some(1000));
    }
    for line in lines::in_short(of) {
        if let Some(row) = rows.next() {
            frame.render_widget(line, row);
        }
    }
    let used = area.height.saturating_sub(u16::try_from(rows.count()).unwrap_or(0));
    let left = Rect { y: area.y + used, height: area.height - used, ..area };
    let (table, rest) = match &of.recent {
        Some(recent) if left.height >= 14 && !recent.is_empty() => (left.height - 6, 6),
        _ => (left.height, 0),
    };
    let [table, rest] = Layout::vertical([Constraint::Length(table), Constraint::Length(rest)]).areas(left);
    if table.height >= 2 {
        tables::endpoints(frame, table, state);
    }
    if rest.height > 0 {
        recent::recent(frame, rest, state);
    }
}

fn help(frame: &mut Frame<'_>, area: Rect) {
    let mut text: Vec<Line<'_>> = Order::all()
        .map(|order| Line::from(format!("{}      endpoints by {}", order.letter(), order.name())))
        .to_vec();
    text.push("s Tab  by the next of these".into());
    text.push("r      the other way round".into());
    text.push("↑ ↓    scroll the endpoints".into());
    text.push("q Esc  quit".into());
    if area.height >= 18 {
        text.push("".into());
        text.push("Rates are of the last second.".into());
        text.push("mean, time: of loading".into());
        text.push("saved: loading avoided".into());
        text.push("lag: age of what is known of".into());
        text.push("  the others' invalidations".into());
    }
    let height = u16::try_from(text.len() + 2).unwrap_or(area.height).min(area.height);
    let width = 36.min(area.width);
    let place = Rect { x: (area.width - width) / 2, y: (area.height - height) / 2, width, height };
    frame.render_widget(Clear, place);
    let block = Block::bordered().title("Keys (? closes)");
    frame.render_widget(Paragraph::new(text).block(block), place);
}
