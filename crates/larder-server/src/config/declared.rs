//! Every setting, declared once: from here come the environment variables, the keys of `larder.toml`, the flags, the help,
//! `larder config` and the names that a misspelt one is compared with.

use larder::limits::{MAX_KEEP, MAX_LOAD_TIMEOUT};

use super::ttl::Ttls;
use super::value::{
    Count, DatabaseUrl, EvictionPolicy, HttpUrl, Lease, Listen, LogFilter, Mode, Namespace, Origins, PemFile,
    Proxies, Rate, RedisUrl, SampleData, Secrecy, Secret, Size, Span, Timeout, Value, WarmList, Word,
    Workers,
};

/// What holds where nobody said otherwise.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Fallback {
    /// Nothing.
    Unset,
    /// The same in both modes.
    Always(&'static str),
    /// By mode.
    Modes { development: &'static str, production: &'static str },
}

impl Fallback {
    /// The text for `mode`; an empty one means unset.
    pub(crate) fn text(self, mode: Mode) -> &'static str {
        match (self, mode) {
            (Self::Unset, _) => "",
            (Self::Always(text), _) => text,
            (Self::Modes { development, .. }, Mode::Development) => development,
            (Self::Modes { production, .. }, Mode::Production) => production,
        }
    }
}

/// One setting as people see it.
#[derive(Debug)]
pub(crate) struct Setting {
    /// The environment variable.
    pub(crate) name: &'static str,
    /// The key in `larder.toml`; the flag is the same with hyphens.
    pub(crate) key: &'static str,
    /// What it is for.
    pub(crate) meaning: &'static str,
    /// What holds where nobody said otherwise.
    pub(crate) default: Fallback,
    /// What may be shown of it.
    pub(crate) secrecy: Secrecy,
    /// Whether its flag may stand without a value.
    pub(crate) switch: bool,
    /// Whether an empty text is a value of it.
    pub(crate) optional: bool,
    /// The accepted form.
    pub(crate) form: fn() -> String,
}

/// Hands out the value of each setting in turn.
pub(crate) trait Reader {
    /// The value of `setting`. Where it was refused that is noted, and the default stands in.
    fn value<T: Value>(&mut self, setting: &Setting) -> T;
}

/// The setting whose variable is `name`.
pub(crate) fn by_name(name: &str) -> Option<&'static Setting> {
    SETTINGS.iter().find(|setting| setting.name == name)
}

/// The setting whose key in `larder.toml` is `key`.
pub(crate) fn by_key(key: &str) -> Option<&'static Setting> {
    SETTINGS.iter().find(|setting| setting.key == key)
}

macro_rules! declare {
    ($( $(#[doc = $meaning:literal])+ $name:literal $field:ident: $type:ty = $default:expr; )+) => {
        /// The whole configuration, read and checked.
        #[derive(Clone, Debug)]
        pub struct Config {
            $( $(#[doc = $meaning])+ pub $field: $type, )+
            /// How long the answers of each endpoint are kept.
            pub ttl: Ttls,
        }

        /// All settings, in the order in which they are documented.
        pub(crate) static SETTINGS: &[Setting] = &[$( Setting {
            name: $name,
            key: stringify!($field),
            meaning: concat!($($meaning),+).trim_ascii(),
            default: $default,
            secrecy: <$type as Value>::SECRECY,
            switch: <$type as Value>::SWITCH,
            optional: <$type as Value>::OPTIONAL,
            form: <$type as Value>::form,
        } ),+];

        impl Config {
            /// Reads every setting, so that all problems are known.
            pub(crate) fn read(reader: &mut impl Reader, ttl: Ttls) -> Self {
                $( let $field = reader.value::<$type>(by_name($name).expect("it is declared here")); )+
                Self { $( $field, )+ ttl }
            }
        }
    };
}

use Fallback::{Always, Modes, Unset};

/// Seconds: of the 30 in which everything has to end, some are for requests in flight.
const MAX_DELAY: u64 = 20;

const fn modes(development: &'static str, production: &'static str) -> Fallback {
    Modes { development, production }
}

declare! {
    /// development, or production: JSON logs, all cores, JWT_SECRET required, no sample logins
    "ENV" env: Mode = Always("development");
    /// Sample data that the first start puts into the database: full, small or none
    "SAMPLE_DATA" sample_data: SampleData = modes("full", "none");
    /// Async worker threads
    "WORKERS" workers: Workers = modes("1", "cores");
    /// Requests served at a time; more are answered 503 at once
    "MAX_CONCURRENT_REQUESTS" max_concurrent_requests: Count<1, 1_000_000> = Always("1000");
    /// Threads for password hashing, compression and SQLite
    "BLOCKING_THREADS" blocking_threads: Count<1, 4096> = Always("40");
    /// Address to listen on
    "LISTEN" listen: Option<Listen> = Unset;
    /// Port to listen on at every address of the machine, where LISTEN is unset
    "PORT" port: Option<Count<0, 65_535>> = Unset;
    /// Networks from which X-Forwarded-For and X-Forwarded-Proto are believed
    "TRUSTED_PROXIES" trusted_proxies: Proxies = Unset;
    /// How long /health/ready says 503 after SIGTERM before nobody can connect any more; 5s with TRUSTED_PROXIES, else 0
    "SHUTDOWN_DELAY" shutdown_delay: Option<Span<MAX_DELAY>> = Unset;
    /// Origins whose pages may call this server
    "CORS_ORIGINS" cors_origins: Origins = modes("http://localhost:*,http://127.0.0.1:*", "");
    /// Where the rows are; an SQLite file is created and migrated at start
    "DATABASE_URL" database_url: DatabaseUrl = Always("sqlite://larder.db");
    /// Database connections that are kept
    "DB_POOL_SIZE" db_pool_size: Count<1, 10_000> = Always("20");
    /// Database connections beyond those, when needed
    "DB_MAX_OVERFLOW" db_max_overflow: Count<0, 10_000> = Always("40");
    /// How long a request waits for a database connection before it is answered 503
    "DB_POOL_TIMEOUT" db_pool_timeout: Timeout = Always("30s");
    /// Age at which a database connection is replaced
    "DB_POOL_RECYCLE" db_pool_recycle: Timeout = Always("1h");
    /// The shared tier; without it the cache is in memory only
    "REDIS_URL" redis_url: Option<RedisUrl> = Unset;
    /// Whether anything is cached
    "CACHE_ENABLED" cache_enabled: bool = Always("true");
    /// Part of every Redis key and channel, so that applications can share one Redis
    "CACHE_NAMESPACE" cache_namespace: Namespace = Always("larder");
    /// Bytes the in-process tier may hold
    "CACHE_MEMORY" cache_memory: Size = Always("256mb");
    /// Bytes of it that one tenant may hold; beyond it its own oldest entries make way
    "CACHE_TENANT_MEMORY" cache_tenant_memory: Option<Size> = Unset;
    /// Compare one in so many hits with the origin, behind, and count those that differ; 0 for none
    "CACHE_AUDIT" cache_audit: Count<0, 1_000_000_000> = Always("0");
    /// Set on the Redis server at start, together with REDIS_MAXMEMORY_POLICY
    "REDIS_MAXMEMORY" redis_maxmemory: Option<Size> = Unset;
    /// What the Redis server evicts when REDIS_MAXMEMORY is reached
    "REDIS_MAXMEMORY_POLICY" redis_maxmemory_policy: EvictionPolicy = Always("volatile-lru");
    /// How long connecting to Redis may take
    "REDIS_CONNECT_TIMEOUT" redis_connect_timeout: Timeout = Always("2s");
    /// How long an administrative Redis command may take
    "REDIS_TIMEOUT" redis_timeout: Timeout = Always("2s");
    /// How long one request may wait for Redis, retry included
    "REDIS_READ_TIMEOUT" redis_read_timeout: Timeout = Always("200ms");
    /// How long a value loaded while Redis is out of reach is kept in memory
    "OUTAGE_MEMORY_TTL" outage_memory_ttl: Span<{ MAX_KEEP.as_secs() }> = Always("5s");
    /// No other process serves these tenants, so the full TTL holds without Redis too
    "SINGLE_NODE" single_node: bool = Always("false");
    /// Hard time-out of one load
    "LOAD_TIMEOUT" load_timeout: Timeout<{ MAX_LOAD_TIMEOUT.as_secs() }> = Always("10s");
    /// How stale another node can be at worst; 1s, with Redis Cluster 2s
    "COHERENCE_LEASE" coherence_lease: Option<Lease> = Unset;
    /// Certificate authority of the Redis server, where it is none of the system's
    "REDIS_TLS_CA" redis_tls_ca: Option<PemFile> = Unset;
    /// Client certificate for Redis
    "REDIS_TLS_CERT" redis_tls_cert: Option<PemFile> = Unset;
    /// Private key of the client certificate for Redis
    "REDIS_TLS_KEY" redis_tls_key: Option<PemFile> = Unset;
    /// Connections to one Redis node at most
    "REDIS_POOL_SIZE" redis_pool_size: Count<2, 1000> = Always("10");
    /// How often idle Redis connections are checked
    "REDIS_HEALTH_INTERVAL" redis_health_interval: Timeout = Always("30s");
    /// Endpoints loaded for every tenant at start and again before they expire
    "CACHE_WARM" cache_warm: WarmList = Unset;
    /// A larger value is served but not stored
    "CACHE_MAX_VALUE_SIZE" cache_max_value_size: Size = Always("1mb");
    /// Key that signs tokens; made once and kept in the database in development
    "JWT_SECRET" jwt_secret: Option<Secret> = Unset;
    /// Key whose tokens are still accepted
    "JWT_SECRET_PREVIOUS" jwt_secret_previous: Option<Secret> = Unset;
    /// How long a token is valid
    "JWT_TTL" jwt_ttl: Timeout = Always("1h");
    /// Bearer that may read /metrics from anywhere
    "METRICS_TOKEN" metrics_token: Option<Secret> = Unset;
    /// The seller-data API; the built-in one where unset
    "UPSTREAM_API_URL" upstream_api_url: Option<HttpUrl> = Unset;
    /// How long one request to the seller-data API may take
    "UPSTREAM_TIMEOUT" upstream_timeout: Timeout = Always("2s");
    /// Port of the built-in seller-data API; 0 means any free one
    "SELLER_API_PORT" seller_api_port: Count<0, 65_535> = Always("8001");
    /// How long the built-in seller-data API takes for each answer
    "SELLER_API_DELAY" seller_api_delay: Span = Always("0");
    /// An OpenAI-compatible server
    "AI_BASE_URL" ai_base_url: Option<HttpUrl> = Unset;
    /// Its key
    "AI_API_KEY" ai_api_key: Option<Secret> = Unset;
    /// Its model
    "AI_MODEL" ai_model: Option<Word> = Unset;
    /// Requests of one client address; the burst is twice the rate
    "RATE_LIMIT_API" rate_limit_api: Rate = modes("off", "100/s");
    /// Imports and crawler uploads of one client address
    "RATE_LIMIT_UPLOADS" rate_limit_uploads: Rate = modes("off", "10/s");
    /// Which log lines are written
    "LOG" log: LogFilter = modes("info,larder::cache=debug", "info");
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_key_of_every_setting_is_its_name_in_small_letters() {
        for setting in SETTINGS {
            assert_eq!(setting.key, setting.name.to_ascii_lowercase());
            assert!(!setting.meaning.is_empty());
        }
    }
}
