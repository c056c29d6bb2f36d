//! Numbers: counts within bounds, sizes in bytes, rates, worker threads.

use std::fmt;
use std::num::NonZeroU32;
use std::time::Duration;

use super::Value;

/// A whole number from `MIN` to `MAX`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Count<const MIN: u32, const MAX: u32>(pub u32);

impl<const MIN: u32, const MAX: u32> Count<MIN, MAX> {
    /// As the type that lengths have.
    pub fn as_usize(self) -> usize {
        usize::try_from(self.0).expect("usize has 32 bits or more wherever tokio runs")
    }
}

impl<const MIN: u32, const MAX: u32> Value for Count<MIN, MAX> {
    fn form() -> String {
        format!("a whole number from {MIN} to {MAX}")
    }

    fn parse(text: &str) -> Result<Self, String> {
        let number: u32 = text.parse().map_err(|_| "is not a whole number".to_owned())?;
        if (MIN..=MAX).contains(&number) { Ok(Self(number)) } else { Err("is out of range".into()) }
    }
}

/// Worker threads: a number, or one for each CPU core.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Workers {
    /// As many as there are cores.
    Cores,
    /// This many.
    Exactly(usize),
}

impl Workers {
    /// How many threads that is on a machine with `cores`.
    pub fn count(self, cores: usize) -> usize {
        match self {
            Self::Cores => cores.max(1),
            Self::Exactly(count) => count,
        }
    }
}

impl Value for Workers {
    fn form() -> String {
        "a whole number from 1 to 1024, or cores".into()
    }

    fn parse(text: &str) -> Result<Self, String> {
        if text.eq_ignore_ascii_case("cores") {
            return Ok(Self::Cores);
        }
        Count::<1, 1024>::parse(text).map(|count| Self::Exactly(count.as_usize()))
    }
}

/// A number of bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Size(pub u64);

const UNITS: [(&str, u64); 4] = [("gb", 1 << 30), ("mb", 1 << 20), ("kb", 1 << 10), ("b", 1)];

impl Value for Size {
    fn form() -> String {
        "a number with b, kb, mb or gb, such as 64kb or 256mb".into()
    }

    fn parse(text: &str) -> Result<Self, String> {
        let lower = text.to_ascii_lowercase();
        let (number, unit) = UNITS
            .iter()
            .find_map(|(suffix, unit)| Some((lower.strip_suffix(suffix)?, *unit)))
            .ok_or_else(|| {
                if lower.parse::<u64>().is_ok() {
                    "has no unit".to_owned()
                } else {
                    "is not a size".to_owned()
                }
            })?;
        let number: u64 = number.trim_end().parse().map_err(|_| "is not a size".to_owned())?;
        number.checked_mul(unit).filter(|bytes| *bytes > 0).map(Self).ok_or_else(|| "is out of range".into())
    }
}

impl fmt::Display for Size {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (suffix, unit) = UNITS
            .iter()
            .find(|(_, unit)| self.0 >= *unit && self.0.is_multiple_of(*unit))
            .unwrap_or(&("b", 1));
        write!(f, "{}{suffix}", self.0 / unit)
    }
}

/// How often a client may ask, or `Off`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Rate {
    /// As often as it likes.
    Off,
    /// So many times in each period.
    Per(NonZeroU32, Duration),
}

impl Value for Rate {
    fn form() -> String {
        "off, or a rate such as 100/s, 60/m or 1000/h".into()
    }

    fn parse(text: &str) -> Result<Self, String> {
        let lower = text.to_ascii_lowercase();
        if lower == "off" {
            return Ok(Self::Off);
        }
        let (number, period) = lower.split_once('/').ok_or("is not a rate")?;
        let period = match period.trim() {
            "s" => Duration::from_secs(1),
            "m" => Duration::from_secs(60),
            "h" => Duration::from_secs(3600),
            _ => return Err("has no known period".into()),
        };
        let number: u32 = number.trim().parse().map_err(|_| "is not a rate".to_owned())?;
        // Twice the rate is the burst, so that much must be countable too.
        if number > 1_000_000 {
            return Err("is more than 1000000".into());
        }
        let number = NonZeroU32::new(number).ok_or("allows nothing (off allows everything)")?;
        Ok(Self::Per(number, period))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sizes_are_powers_of_two_and_need_a_unit() {
        assert_eq!(Size::parse("64kb"), Ok(Size(65_536)));
        assert_eq!(Size::parse("1mb"), Ok(Size(1 << 20)));
        assert_eq!(Size::parse("2GB"), Ok(Size(2 << 30)));
        assert_eq!(Size::parse("512b"), Ok(Size(512)));
        assert_eq!(Size::parse("256"), Err("has no unit".into()));
        for bad in ["", "mb", "lots", "-1mb", "1.5mb", "0mb", "99999999999gb"] {
            assert!(Size::parse(bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn sizes_are_shown_in_the_largest_unit_that_fits() {
        for text in ["256mb", "64kb", "1gb", "1000b", "1500mb"] {
            assert_eq!(Size::parse(text).unwrap().to_string(), text);
        }
    }

    #[test]
    fn rates_are_per_second_minute_or_hour_or_off() {
        let per =
            |count, seconds| Ok(Rate::Per(NonZeroU32::new(count).unwrap(), Duration::from_secs(seconds)));
        assert_eq!(Rate::parse("100/s"), per(100, 1));
        assert_eq!(Rate::parse("60/M"), per(60, 60));
        assert_eq!(Rate::parse("5 / h"), per(5, 3600));
        assert_eq!(Rate::parse("OFF"), Ok(Rate::Off));
        for bad in ["", "100", "0/s", "-1/s", "fast", "1/d", "9999999/s"] {
            assert!(Rate::parse(bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn counts_stay_within_their_bounds() {
        assert_eq!(Count::<1, 10>::parse("10"), Ok(Count(10)));
        for bad in ["0", "11", "ten", "", "-1", "1.0"] {
            assert!(Count::<1, 10>::parse(bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn workers_are_a_number_or_the_cores() {
        assert_eq!(Workers::parse("cores").unwrap().count(6), 6);
        assert_eq!(Workers::parse("3").unwrap().count(6), 3);
        assert!(Workers::parse("0").is_err());
    }
}
