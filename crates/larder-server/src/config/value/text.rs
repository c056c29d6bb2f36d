//! Texts: secrets, names, files, the log filter.

use std::fmt;
use std::path::PathBuf;

use tracing_subscriber::EnvFilter;

use super::{Secrecy, Value};

/// Something that nobody may see: neither in logs nor in `larder config`.
#[derive(Clone, PartialEq, Eq)]
pub struct Secret(pub String);

impl fmt::Debug for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("(secret)")
    }
}

impl Value for Secret {
    const SECRECY: Secrecy = Secrecy::Hidden;

    fn form() -> String {
        "a text that is not empty".into()
    }

    fn parse(text: &str) -> Result<Self, String> {
        if text.is_empty() { Err("is empty".into()) } else { Ok(Self(text.to_owned())) }
    }
}

/// A text without white space.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Word(pub String);

impl Value for Word {
    fn form() -> String {
        "a name without white space".into()
    }

    fn parse(text: &str) -> Result<Self, String> {
        if text.is_empty() || text.contains(char::is_whitespace) {
            return Err("is no single word".into());
        }
        Ok(Self(text.to_owned()))
    }
}

/// The part of every Redis key and channel that belongs to this application.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Namespace(pub String);

impl Value for Namespace {
    fn form() -> String {
        "1 to 64 letters, digits, - _ or .".into()
    }

    fn parse(text: &str) -> Result<Self, String> {
        let allowed = |c: char| c.is_ascii_alphanumeric() || matches!(c, '-' | '_' | '.');
        if text.is_empty() || text.len() > 64 || !text.chars().all(allowed) {
            return Err("can't be part of a Redis key".into());
        }
        Ok(Self(text.to_owned()))
    }
}

/// A file that exists.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PemFile(pub PathBuf);

impl Value for PemFile {
    fn form() -> String {
        "the path of a PEM file that can be read".into()
    }

    fn parse(text: &str) -> Result<Self, String> {
        let path = PathBuf::from(text);
        let content = std::fs::read(&path).map_err(|error| format!("can't be read ({error})"))?;
        if content.windows(11).any(|window| window == b"-----BEGIN ") {
            Ok(Self(path))
        } else {
            Err("is no PEM file".into())
        }
    }
}

/// Which log lines are written.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LogFilter(pub String);

impl Value for LogFilter {
    fn form() -> String {
        "a tracing filter such as info or info,larder::cache=debug".into()
    }

    fn parse(text: &str) -> Result<Self, String> {
        match EnvFilter::try_new(text) {
            Ok(_) if !text.is_empty() => Ok(Self(text.to_owned())),
            Ok(_) => Err("is empty".into()),
            Err(error) => Err(format!("is no filter ({error})")),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_secret_does_not_show_itself() {
        assert_eq!(format!("{:?}", Secret::parse("hunter2").unwrap()), "(secret)");
    }

    #[test]
    fn a_namespace_has_nothing_that_would_break_a_key() {
        for (text, good) in
            [("larder", true), ("shop-2_a.b", true), ("a:b", false), ("{a}", false), ("", false)]
        {
            assert_eq!(Namespace::parse(text).is_ok(), good, "{text}");
        }
    }

    #[test]
    fn a_filter_with_an_unknown_level_is_refused() {
        assert!(LogFilter::parse("info,larder::cache=debug").is_ok());
        assert!(LogFilter::parse("larder=loud").is_err());
    }
}
