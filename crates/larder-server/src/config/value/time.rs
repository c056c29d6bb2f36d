//! Lengths of time.

use std::time::Duration;

use super::Value;

/// No setting needs more than a year, and sums of these must not overflow.
const LONGEST: Duration = Duration::from_secs(365 * 24 * 3600);

/// A length of time; `0` is one.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Span(pub Duration);

/// A length of time to wait at most; never zero.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Timeout(pub Duration);

/// How long a node may trust its memory without hearing from the others: 1 s to 60 s.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Lease(pub Duration);

/// How long a server that stops waits before it does: 20 s at most.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Delay(pub Duration);

const FORM: &str = "a duration such as 250ms, 30s, 5m, 1h or 1d";

fn duration(text: &str) -> Result<Duration, String> {
    if text == "0" {
        return Ok(Duration::ZERO);
    }
    let lower = text.to_ascii_lowercase();
    let digits = lower.find(|c: char| !c.is_ascii_digit()).unwrap_or(lower.len());
    let (number, unit) = lower.split_at(digits);
    let milliseconds: u64 = match unit.trim_start() {
        "ms" => 1,
        "s" => 1_000,
        "m" => 60_000,
        "h" => 3_600_000,
        "d" => 86_400_000,
        "" if !number.is_empty() => return Err("has no unit".into()),
        _ => return Err("is not a duration".into()),
    };
    let number: u64 = number.parse().map_err(|_| "is not a duration".to_owned())?;
    let span = number.checked_mul(milliseconds).map(Duration::from_millis).ok_or("is too long")?;
    if span > LONGEST { Err("is longer than 365d".into()) } else { Ok(span) }
}

/// The length as it would be written.
pub(crate) fn written(span: Duration) -> String {
    let milliseconds = span.as_millis();
    let units = [(86_400_000, "d"), (3_600_000, "h"), (60_000, "m"), (1_000, "s")];
    match units.iter().find(|(unit, _)| milliseconds >= *unit && milliseconds.is_multiple_of(*unit)) {
        Some((unit, suffix)) => format!("{}{suffix}", milliseconds / unit),
        None if milliseconds == 0 => "0".into(),
        None => format!("{milliseconds}ms"),
    }
}

impl Value for Span {
    fn form() -> String {
        format!("{FORM}, or 0")
    }

    fn parse(text: &str) -> Result<Self, String> {
        duration(text).map(Self)
    }
}

impl Value for Timeout {
    fn form() -> String {
        FORM.into()
    }

    fn parse(text: &str) -> Result<Self, String> {
        let span = duration(text)?;
        if span.is_zero() { Err("leaves no time at all".into()) } else { Ok(Self(span)) }
    }
}

impl Value for Lease {
    fn form() -> String {
        "a duration from 1s to 60s".into()
    }

    fn parse(text: &str) -> Result<Self, String> {
        let span = duration(text)?;
        let bounds = Duration::from_secs(1)..=Duration::from_secs(60);
        if bounds.contains(&span) { Ok(Self(span)) } else { Err("is out of range".into()) }
    }
}

impl Value for Delay {
    fn form() -> String {
        "a duration up to 20s, or 0".into()
    }

    fn parse(text: &str) -> Result<Self, String> {
        let span = duration(text)?;
        // Of the 30 s in which everything has to end, some are for requests in flight.
        if span <= Duration::from_secs(20) { Ok(Self(span)) } else { Err("is longer than 20s".into()) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn durations_have_a_unit_unless_they_are_zero() {
        assert_eq!(Span::parse("250ms"), Ok(Span(Duration::from_millis(250))));
        assert_eq!(Span::parse("30s"), Ok(Span(Duration::from_secs(30))));
        assert_eq!(Span::parse("5M"), Ok(Span(Duration::from_secs(300))));
        assert_eq!(Span::parse("1h"), Ok(Span(Duration::from_secs(3600))));
        assert_eq!(Span::parse("2 d"), Ok(Span(Duration::from_secs(172_800))));
        assert_eq!(Span::parse("0"), Ok(Span(Duration::ZERO)));
        assert_eq!(Span::parse("30"), Err("has no unit".into()));
        for bad in
            ["", "s", "-1s", "1.5s", "soon", "1w", "99999999999999999999s", "18446744073709551615h", "366d"]
        {
            assert!(Span::parse(bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn a_timeout_of_nothing_is_refused() {
        assert!(Timeout::parse("0").is_err());
        assert!(Timeout::parse("0s").is_err());
        assert!(Timeout::parse("1ms").is_ok());
    }

    #[test]
    fn a_server_that_stops_waits_for_twenty_seconds_at_most() {
        for (text, good) in [("0", true), ("5s", true), ("20s", true), ("21s", false), ("1m", false)] {
            assert_eq!(Delay::parse(text).is_ok(), good, "{text}");
        }
    }

    #[test]
    fn a_lease_is_from_one_second_to_sixty() {
        for (text, good) in [("999ms", false), ("1s", true), ("60s", true), ("1m", true), ("61s", false)] {
            assert_eq!(Lease::parse(text).is_ok(), good, "{text}");
        }
    }

    #[test]
    fn durations_are_written_as_they_are_read() {
        for text in ["250ms", "30s", "5m", "1h", "1d", "90s", "0"] {
            assert_eq!(written(Span::parse(text).unwrap().0), text);
        }
    }
}
