//! Lengths of time.

use std::time::Duration;

use super::Value;

/// No setting needs more than a year of seconds, and sums of these must not overflow.
const LONGEST: u64 = 365 * 24 * 3600;

/// A length of time of `MAX` seconds at most; `0` is one.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Span<const MAX: u64 = LONGEST>(pub Duration);

/// A length of time to wait at most, up to `MAX` seconds; never zero.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Timeout<const MAX: u64 = LONGEST>(pub Duration);

/// How long a node may trust its memory without hearing from the others: 1 s to 60 s.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Lease(pub Duration);

fn form(max: u64) -> String {
    if max == LONGEST {
        return "a duration such as 250ms, 30s, 5m, 1h or 1d".into();
    }
    format!("a duration up to {}", written(Duration::from_secs(max)))
}

fn duration(text: &str, max: u64) -> Result<Duration, String> {
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
    let max = Duration::from_secs(max);
    if span > max { Err(format!("is longer than {}", written(max))) } else { Ok(span) }
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

impl<const MAX: u64> Value for Span<MAX> {
    fn form() -> String {
        format!("{}, or 0", form(MAX))
    }

    fn parse(text: &str) -> Result<Self, String> {
        duration(text, MAX).map(Self)
    }
}

impl<const MAX: u64> Value for Timeout<MAX> {
    fn form() -> String {
        form(MAX)
    }

    fn parse(text: &str) -> Result<Self, String> {
        let span = duration(text, MAX)?;
        if span.is_zero() { Err("leaves no time at all".into()) } else { Ok(Self(span)) }
    }
}

impl Value for Lease {
    fn form() -> String {
        "a duration from 1s to 60s".into()
    }

    fn parse(text: &str) -> Result<Self, String> {
        let span = duration(text, LONGEST)?;
        let bounds = Duration::from_secs(1)..=Duration::from_secs(60);
        if bounds.contains(&span) { Ok(Self(span)) } else { Err("is out of range".into()) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    type Span = super::Span;
    type Timeout = super::Timeout;

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
    fn a_limit_is_a_good_value_and_one_past_it_is_refused_with_the_limit() {
        type Short = super::Span<20>;
        for (text, good) in [("0", true), ("5s", true), ("20s", true), ("20001ms", false), ("1m", false)] {
            assert_eq!(Short::parse(text).is_ok(), good, "{text}");
        }
        assert_eq!(Short::form(), "a duration up to 20s, or 0");
        type Hour = super::Timeout<3600>;
        assert!(Hour::parse("1h").is_ok() && Hour::parse("0").is_err());
        assert_eq!(Hour::parse("61m"), Err("is longer than 1h".into()));
        assert_eq!(Hour::form(), "a duration up to 1h");
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
