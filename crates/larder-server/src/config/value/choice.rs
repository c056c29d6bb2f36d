//! Words out of a fixed set.

use super::Value;

/// What the server is run for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Mode {
    /// Sample data and logins, logs for people.
    Development,
    /// Nothing that was not configured, logs for machines.
    Production,
}

impl Mode {
    /// As it is written.
    pub fn name(self) -> &'static str {
        match self {
            Self::Development => "development",
            Self::Production => "production",
        }
    }
}

impl Value for Mode {
    fn form() -> String {
        "development or production".into()
    }

    fn parse(text: &str) -> Result<Self, String> {
        match text.to_ascii_lowercase().as_str() {
            "development" => Ok(Self::Development),
            "production" => Ok(Self::Production),
            _ => Err("is no mode".into()),
        }
    }
}

/// How much sample data the first start puts into the database.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum SampleData {
    /// Enough rows that uncached aggregates cost real time.
    Full,
    /// Hundreds of rows, for tests.
    Small,
    /// Nothing.
    None,
}

impl Value for SampleData {
    fn form() -> String {
        "full, small or none".into()
    }

    fn parse(text: &str) -> Result<Self, String> {
        match text.to_ascii_lowercase().as_str() {
            "full" => Ok(Self::Full),
            "small" => Ok(Self::Small),
            "none" => Ok(Self::None),
            _ => Err("is no amount of sample data".into()),
        }
    }
}

const POLICIES: [&str; 8] = [
    "volatile-lru",
    "volatile-lfu",
    "volatile-ttl",
    "volatile-random",
    "allkeys-lru",
    "allkeys-lfu",
    "allkeys-random",
    "noeviction",
];

/// What a Redis server evicts when its memory is full.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct EvictionPolicy(pub &'static str);

impl Value for EvictionPolicy {
    fn form() -> String {
        POLICIES.join(", ")
    }

    fn parse(text: &str) -> Result<Self, String> {
        let known = POLICIES.iter().find(|known| known.eq_ignore_ascii_case(text));
        known.map(|policy| Self(policy)).ok_or_else(|| "is no eviction policy".into())
    }
}
