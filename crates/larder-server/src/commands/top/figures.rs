//! Numbers as they are shown: few digits, the unit beside them.

/// `0`, `0.4`, `12`, `3 450`, `1.2 M`.
pub(super) fn count(number: f64) -> String {
    match number {
        n if n <= 0.0 => "0".to_owned(),
        n if n < 9.95 => format!("{n:.1}"),
        n if n < 99_999.5 => format!("{n:.0}"),
        n if n < 9_999_500.0 => format!("{:.1} k", n / 1e3),
        n => format!("{:.1} M", n / 1e6),
    }
}

#[expect(clippy::cast_precision_loss, reason = "shown with two digits")]
pub(super) fn whole(number: u64) -> String {
    if number < 100_000 { number.to_string() } else { count(number as f64) }
}

/// A share of one.
pub(super) fn percent(share: f64) -> String {
    let percent = share * 100.0;
    if percent > 0.0 && percent < 99.95 { format!("{percent:.1} %") } else { format!("{percent:.0} %") }
}

#[expect(clippy::cast_precision_loss, reason = "shown with two digits")]
pub(super) fn bytes(number: u64) -> String {
    let units = [(1_u64 << 30, "GiB"), (1 << 20, "MiB"), (1 << 10, "KiB")];
    match units.into_iter().find(|(unit, _)| number >= *unit) {
        Some((unit, name)) => {
            let value = number as f64 / unit as f64;
            if value < 10.0 { format!("{value:.1} {name}") } else { format!("{value:.0} {name}") }
        }
        None => format!("{number} B"),
    }
}

/// `0.12`, `3.4`, `56`: milliseconds, whose unit stands elsewhere.
pub(super) fn ms(number: f64) -> String {
    match number {
        n if n < 1.0 => format!("{n:.2}"),
        n if n < 10.0 => format!("{n:.1}"),
        n => format!("{n:.0}"),
    }
}

/// `45ms`, `6.7s`, `12s`, `3m 04s`, `5h 06m`, `7d 08h`.
pub(super) fn span(seconds: f64) -> String {
    #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "whole seconds, saturating")]
    let s = seconds.max(0.0) as u64;
    match s {
        0 if seconds > 0.0 => format!("{:.0}ms", seconds * 1e3),
        1..10 => format!("{seconds:.1}s"),
        0..60 => format!("{s}s"),
        60..3_600 => format!("{}m {:02}s", s / 60, s % 60),
        3_600..86_400 => format!("{}h {:02}m", s / 3_600, s / 60 % 60),
        _ => format!("{}d {:02}h", s / 86_400, s / 3_600 % 24),
    }
}

/// What a server has sent, without what would move the cursor or colour the terminal.
pub(super) fn harmless(text: &str) -> String {
    text.chars().map(|c| if c.is_control() { '\u{fffd}' } else { c }).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_have_few_digits_and_never_lose_their_size() {
        let counts = [0.0, 0.04, 9.94, 9.95, 99_999.0, 99_999.5, 12_345_678.0].map(count);
        assert_eq!(counts, ["0", "0.0", "9.9", "10", "99999", "100.0 k", "12.3 M"]);
        assert_eq!([0, 99_999, 100_000].map(whole), ["0", "99999", "100.0 k"]);
        assert_eq!(
            [0.0, 0.0004, 0.9994, 0.9996, 1.0].map(percent),
            ["0 %", "0.0 %", "99.9 %", "100 %", "100 %"]
        );
        assert_eq!(
            [0, 1023, 1024, 10 << 20, 3 << 30].map(bytes),
            ["0 B", "1023 B", "1.0 KiB", "10 MiB", "3.0 GiB"]
        );
        assert_eq!([0.004, 0.99, 1.25, 99.6].map(ms), ["0.00", "0.99", "1.2", "100"]);
        let spans = [-1.0, 0.0, 0.045, 6.75, 59.9, 60.0, 3_661.0, 90_000.0].map(span);
        assert_eq!(spans, ["0s", "0s", "45ms", "6.8s", "59s", "1m 00s", "1h 01m", "1d 01h"]);
    }

    #[test]
    fn nothing_that_a_server_sends_moves_the_cursor() {
        assert_eq!(harmless("a\x1b[2Jb\nc\u{9b}d"), "a\u{fffd}[2Jb\u{fffd}c\u{fffd}d");
    }
}
