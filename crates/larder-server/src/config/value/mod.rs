//! The kinds of values a setting may have: each says what it accepts, and refuses everything else.

mod amount;
mod choice;
mod list;
mod place;
mod text;
mod time;

pub use amount::{Count, Rate, Size, Workers};
pub use choice::{EvictionPolicy, Mode, SampleData};
pub use list::{OriginPattern, Origins, Proxies, WarmList};
pub use place::{DatabaseUrl, HttpUrl, Listen, RedisUrl, without_password};
pub use text::{LogFilter, Namespace, PemFile, Secret, Word};
pub(crate) use time::written;
pub use time::{Lease, Span, Timeout};

/// How much of a value may be shown to people.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Secrecy {
    /// All of it.
    Open,
    /// All but the password of the URL.
    Url,
    /// Nothing but that it is set.
    Hidden,
}

/// A kind of value: what it looks like when written, and how it is read.
pub trait Value: Sized {
    /// How much of it may be shown.
    const SECRECY: Secrecy = Secrecy::Open;
    /// Whether the flag may stand alone, which then means `true`.
    const SWITCH: bool = false;
    /// Whether nothing at all is a value (an empty text then means "unset").
    const OPTIONAL: bool = false;

    /// The accepted form, in words that follow "accepted: ".
    fn form() -> String;

    /// Reads `text`, which carries no white space at its ends.
    ///
    /// # Errors
    /// Why it is none of this kind, in words that follow the value; the accepted form is added by the caller.
    fn parse(text: &str) -> Result<Self, String>;
}

impl<T: Value> Value for Option<T> {
    const SECRECY: Secrecy = T::SECRECY;
    const SWITCH: bool = T::SWITCH;
    const OPTIONAL: bool = true;

    fn form() -> String {
        T::form()
    }

    fn parse(text: &str) -> Result<Self, String> {
        if text.is_empty() { Ok(None) } else { T::parse(text).map(Some) }
    }
}

impl Value for bool {
    const SWITCH: bool = true;

    fn form() -> String {
        "true or false, 1 or 0, yes or no, on or off, in any case".into()
    }

    fn parse(text: &str) -> Result<Self, String> {
        match text.to_ascii_lowercase().as_str() {
            "true" | "1" | "yes" | "on" => Ok(true),
            "false" | "0" | "no" | "off" => Ok(false),
            _ => Err("is neither true nor false".into()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn booleans_are_read_in_any_case_and_in_every_spelling() {
        for yes in ["true", "TRUE", "True", "1", "yes", "YES", "on", "On"] {
            assert_eq!(bool::parse(yes), Ok(true), "{yes}");
        }
        for no in ["false", "False", "0", "no", "NO", "off", "OFF"] {
            assert_eq!(bool::parse(no), Ok(false), "{no}");
        }
        for neither in ["", "2", "y", "enabled", "tru"] {
            assert!(bool::parse(neither).is_err(), "{neither}");
        }
    }

    #[test]
    fn an_empty_optional_value_is_unset() {
        assert_eq!(Option::<bool>::parse(""), Ok(None));
        assert_eq!(Option::<bool>::parse("on"), Ok(Some(true)));
        assert!(Option::<bool>::parse("perhaps").is_err());
    }
}
