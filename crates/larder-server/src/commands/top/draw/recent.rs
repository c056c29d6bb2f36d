//! What has happened, with all that it dropped: on one line where there is room, on several where there is not.

use ratatui::Frame;
use ratatui::layout::Rect;
use ratatui::style::{Color, Style};
use ratatui::text::Line;

use super::super::figures::harmless;
use super::super::overview::Happened;
use super::super::state::State;
use crate::commands::tail::of_day;

/// Before the lines that go on with what the first one began.
const INDENT: &str = "  ";
/// A part of a key that is longer is an id, of which both ends are shown.
const LONGEST_PART: usize = 16;
const END_OF_PART: usize = 4;

/// The latest first.
pub(super) fn recent(frame: &mut Frame<'_>, area: Rect, state: &State) {
    let all = state.latest.recent.iter().flatten();
    let lines = all.flat_map(|one| {
        let style = if one.deferred { Style::new().fg(Color::Yellow) } else { Style::new() };
        lines(one, usize::from(area.width)).into_iter().map(move |text| Line::styled(text, style))
    });
    for (line, row) in lines.zip(area.rows()) {
        frame.render_widget(line, row);
    }
}

fn lines(one: &Happened, width: usize) -> Vec<String> {
    let head = head(one);
    let scopes = one.scopes();
    let short: Vec<String> = scopes.iter().map(|scope| shortened(scope)).collect();
    [&scopes, &short]
        .into_iter()
        .map(|scopes| on_one_line(&head, scopes, one))
        .find(|line| line.chars().count() <= width)
        .map_or_else(|| on_several(head, &short, one, width), |line| vec![line])
}

/// When, what was done, for whom, and the event that caused it.
fn head(one: &Happened) -> String {
    let event = one.event.as_deref().map(|event| format!(" {}", harmless(event))).unwrap_or_default();
    format!("{} {} {}{event}", &of_day(one.at_ms)[..8], harmless(&one.verb), one.whose())
}

fn on_one_line(head: &str, scopes: &[String], one: &Happened) -> String {
    let dropped = match (scopes.is_empty(), &one.event) {
        (true, _) => String::new(),
        (false, Some(_)) => format!(" ({})", scopes.join(", ")),
        (false, None) => format!(" {}", scopes.join(", ")),
    };
    format!("{head}{dropped}{}", one.rest())
}

/// The head, and below it as many scopes on a line as have room.
fn on_several(head: String, scopes: &[String], one: &Happened, width: usize) -> Vec<String> {
    let mut lines = vec![head];
    for (at, scope) in scopes.iter().enumerate() {
        let end = if at + 1 < scopes.len() { ",".to_owned() } else { one.rest() };
        let with = |line: &str| format!("{line} {scope}{end}");
        match lines.last_mut().filter(|line| line.starts_with(INDENT) && with(line).chars().count() <= width)
        {
            Some(line) => *line = with(line),
            None => lines.push(format!("{INDENT}{scope}{end}")),
        }
    }
    if scopes.is_empty() && !one.rest().is_empty() {
        lines.push(format!("{INDENT}{}", one.rest().trim_start()));
    }
    lines
}

/// A scope whose ids are cut in their middle: `key campaign:01a1…3a32`.
fn shortened(scope: &str) -> String {
    let part = |part: &str| {
        let letters: Vec<char> = part.chars().collect();
        if letters.len() <= LONGEST_PART || part.contains(' ') {
            return part.to_owned();
        }
        let (start, end) = (&letters[..END_OF_PART], &letters[letters.len() - END_OF_PART..]);
        format!("{}…{}", String::from_iter(start), String::from_iter(end))
    };
    scope.split(':').map(part).collect::<Vec<_>>().join(":")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn created() -> Happened {
        Happened {
            at_ms: 1_790_000_000_000,
            verb: "invalidated".into(),
            tenant: Some("acme".into()),
            event: Some("campaign.created".into()),
            what: [
                "key campaign:01a1fce9-df9a-7712-86d2-490769fb3a32",
                "prefix campaigns",
                "key dashboard_stats",
            ]
            .map(Into::into)
            .to_vec(),
            here: true,
            ..Happened::default()
        }
    }

    #[test]
    fn all_that_was_dropped_is_told_at_every_width() {
        let told = |width| lines(&created(), width);
        let head = "14:13:20 invalidated acme campaign.created";
        let full = format!(
            "{head} (key campaign:01a1fce9-df9a-7712-86d2-490769fb3a32, prefix campaigns, key dashboard_stats)"
        );
        assert_eq!(told(full.len()), std::slice::from_ref(&full));
        let short = format!("{head} (key campaign:01a1…3a32, prefix campaigns, key dashboard_stats)");
        assert_eq!(told(full.len() - 1), [short]);
        let several = [head, "  key campaign:01a1…3a32, prefix campaigns,", "  key dashboard_stats"];
        assert_eq!(told(48), several);
        let many = [head, "  key campaign:01a1…3a32,", "  prefix campaigns,", "  key dashboard_stats"];
        assert_eq!(told(30), many);
    }

    #[test]
    fn what_else_there_is_to_say_stands_after_the_scopes() {
        let elsewhere = Happened { more: 2, here: false, deferred: true, ..created() };
        let told = lines(&elsewhere, 60);
        assert_eq!(told.last().unwrap(), "  key dashboard_stats +2 by another node (waits for Redis)");
        let unknown = Happened { what: Vec::new(), event: None, tenant: None, ..elsewhere };
        let head = "14:13:20 invalidated all";
        assert_eq!(lines(&unknown, 80), [format!("{head} +2 by another node (waits for Redis)")]);
        assert_eq!(lines(&unknown, 40), [head, "  +2 by another node (waits for Redis)"]);
    }
}
