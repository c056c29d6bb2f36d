//! The endpoints.

use ratatui::Frame;
use ratatui::layout::{Constraint, Rect};
use ratatui::style::{Color, Modifier, Style};
use ratatui::text::Line;
use ratatui::widgets::{Cell, Row, Table};

use super::super::endpoints::{Order, sorted};
use super::super::figures::{count, harmless, ms, span, whole};
use super::super::overview::Endpoint;
use super::super::state::State;
use super::DIM;

/// A column: head, width, the least width of the table that it is in, what it shows, and the order that it stands for.
struct Column {
    head: &'static str,
    width: u16,
    from: u16,
    order: Option<Order>,
    show: fn(&Endpoint) -> String,
}

const COLUMNS: [Column; 8] = [
    Column { head: "hit", width: 7, from: 0, order: Some(Order::Hits), show: Endpoint::rate },
    Column { head: "loads", width: 7, from: 0, order: Some(Order::Loads), show: |of| whole(of.loads) },
    Column {
        head: "mean ms",
        width: 7,
        from: 0,
        order: None,
        show: |of| of.load_mean_ms.map_or_else(|| "-".into(), ms),
    },
    Column { head: "time", width: 7, from: 48, order: Some(Order::Time), show: |of| span(of.load_s) },
    Column { head: "misses", width: 7, from: 56, order: Some(Order::Misses), show: |of| whole(of.misses) },
    Column {
        head: "look/s",
        width: 7,
        from: 64,
        order: None,
        show: |of| of.lookups_per_s.map_or_else(|| "-".into(), count),
    },
    Column { head: "saved", width: 7, from: 72, order: None, show: |of| span(of.saved_s) },
    Column { head: "failed", width: 7, from: 80, order: None, show: |of| whole(of.load_errors) },
];

pub(super) fn endpoints(frame: &mut Frame<'_>, area: Rect, state: &State) {
    let columns: Vec<&Column> = COLUMNS.iter().filter(|column| column.from <= area.width).collect();
    let sorted_by = |order: Option<Order>| match order == Some(state.order) {
        true => Style::new().add_modifier(Modifier::BOLD | Modifier::UNDERLINED),
        false => DIM,
    };
    let name = Cell::from("endpoint").style(sorted_by(Some(Order::Name)));
    let heads = columns.iter().map(|column| Cell::from(right(column.head)).style(sorted_by(column.order)));
    let head = Row::new(std::iter::once(name).chain(heads));
    let all = sorted(&state.latest.endpoints, state.order, state.reversed);
    let room = usize::from(area.height.saturating_sub(1));
    let above = state.above.min(all.len().saturating_sub(room.max(1)));
    let rows = all.into_iter().skip(above).take(room).map(|one| {
        let cells = columns.iter().map(|column| Cell::from(right(&(column.show)(one))));
        let style = match (one.load_errors, one.hits + one.misses) {
            (_, 0) => DIM,
            (0, _) => Style::new(),
            _ => Style::new().fg(Color::Yellow),
        };
        Row::new(std::iter::once(Cell::from(harmless(&one.name))).chain(cells)).style(style)
    });
    let widths = std::iter::once(Constraint::Min(8))
        .chain(columns.iter().map(|column| Constraint::Length(column.width)));
    frame.render_widget(Table::new(rows, widths).header(head).column_spacing(1), area);
}

fn right(text: &str) -> Line<'static> {
    Line::from(text.to_owned()).right_aligned()
}
