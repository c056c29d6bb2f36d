//! What the backend is told by whoever runs it. Reading variables and files is the program's business.

use std::collections::BTreeMap;
use std::time::Duration;

use url::Url;

/// Where the database is and how many connections to it there may be.
#[derive(Debug, Clone)]
pub struct DatabaseConfig {
    /// `sqlite://path` or `postgres://…`.
    pub url: String,
    /// Connections that are kept once they were opened.
    pub pool_size: u32,
    /// Connections above that, closed when they are idle.
    pub max_overflow: u32,
    /// How long a request waits for a connection before it is answered 503.
    pub pool_timeout: Duration,
    /// A connection older than this is replaced.
    pub pool_recycle: Duration,
}

impl DatabaseConfig {
    /// The defaults of the contract for this URL.
    pub fn new(url: impl Into<String>) -> Self {
        Self {
            url: url.into(),
            pool_size: 20,
            max_overflow: 40,
            pool_timeout: Duration::from_secs(30),
            pool_recycle: Duration::from_secs(3600),
        }
    }
}

/// How much is put into an empty database.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum SampleData {
    /// Enough that the uncached aggregates cost real time.
    Full,
    /// Hundreds of rows, for tests.
    Small,
    /// Nothing.
    None,
}

/// Who answers what §4 asks.
#[derive(Debug, Clone)]
pub enum SellerApi {
    /// The built-in one, on this loopback port; 0 is any free port.
    BuiltIn {
        /// The port; where it is taken, any free one.
        port: u16,
        /// How long it waits before every answer.
        delay: Duration,
    },
    /// Another server.
    Upstream(Url),
}

/// An OpenAI-compatible server.
#[derive(Clone)]
pub struct AiConfig {
    /// Its base URL, without `/chat/completions`.
    pub base_url: Url,
    /// Sent as a bearer token.
    pub api_key: Option<String>,
    /// The model to ask.
    pub model: String,
}

impl std::fmt::Debug for AiConfig {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("AiConfig").field("model", &self.model).finish_non_exhaustive()
    }
}

/// How tokens are signed.
#[derive(Clone)]
pub struct JwtConfig {
    /// The secret; where there is none, one is made once and kept in the database.
    pub secret: Option<String>,
    /// The secret before this one, whose tokens are still accepted.
    pub previous: Option<String>,
    /// How long a token is valid.
    pub ttl: Duration,
}

impl std::fmt::Debug for JwtConfig {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("JwtConfig").field("ttl", &self.ttl).finish_non_exhaustive()
    }
}

/// Everything the backend is told.
#[derive(Debug, Clone)]
pub struct SampleConfig {
    /// The database.
    pub database: DatabaseConfig,
    /// What is put into it when it is empty.
    pub data: SampleData,
    /// Whether the sample users can sign in (development only).
    pub sample_logins: bool,
    /// Tokens.
    pub jwt: JwtConfig,
    /// The source of the seller dashboard.
    pub seller: SellerApi,
    /// How long it may take to answer.
    pub upstream_timeout: Duration,
    /// The text generator; its route answers 503 without one.
    pub ai: Option<AiConfig>,
    /// TTLs that differ from the contract, by endpoint name (see [`crate::ttl`]).
    pub ttls: BTreeMap<String, Duration>,
    /// Endpoints that are never cold, by name.
    pub warm: Vec<String>,
}

impl SampleConfig {
    /// The development defaults of the contract on this database.
    pub fn new(database_url: impl Into<String>) -> Self {
        Self {
            database: DatabaseConfig::new(database_url),
            data: SampleData::Full,
            sample_logins: true,
            jwt: JwtConfig { secret: None, previous: None, ttl: Duration::from_secs(3600) },
            seller: SellerApi::BuiltIn { port: 8001, delay: Duration::ZERO },
            upstream_timeout: Duration::from_secs(2),
            ai: None,
            ttls: BTreeMap::new(),
            warm: Vec::new(),
        }
    }
}
