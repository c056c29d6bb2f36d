//! Values that are right each by itself but not together.

use larder::limits::MAX_PAYLOAD_BYTES;

use super::declared::Config;
use super::problem::Problem;
use super::sources::{Source, Sources};
use super::value::{Mode, Size, written};

/// Less memory than that is no cache.
const MEGABYTE: Size = Size(1 << 20);

/// Shorter keys than the hash's output weaken it (RFC 7518 §3.2).
const SECRET_BYTES: usize = 32;

pub(super) fn contradictions(
    config: &Config,
    sources: &Sources,
    problems: &mut Vec<Problem>,
    warnings: &mut Vec<String>,
) {
    if config.env == Mode::Production && config.jwt_secret.is_none() {
        problems.push(
            Problem::new("JWT_SECRET", "is required where ENV is production")
                .accepted("a long random text, for example from: openssl rand -hex 32"),
        );
    }
    for (name, secret) in
        [("JWT_SECRET", &config.jwt_secret), ("JWT_SECRET_PREVIOUS", &config.jwt_secret_previous)]
    {
        if secret.as_ref().is_some_and(|secret| secret.0.len() < SECRET_BYTES) {
            warnings.push(format!("{name} is shorter than {SECRET_BYTES} bytes and could be guessed"));
        }
    }
    if let Some(redis) = config.redis()
        && let Err(found) = redis.validate()
    {
        problems.extend(found.into_iter().map(|what| Problem::new("REDIS_URL", what)));
    }
    let sizes = [
        ("CACHE_MEMORY", config.cache_memory),
        ("REDIS_MAXMEMORY", config.redis_maxmemory.unwrap_or(MEGABYTE)),
    ];
    for (name, size) in sizes {
        if size < MEGABYTE {
            problems.push(Problem::new(name, format!("{size} is less than 1mb")).accepted("1mb or more"));
        }
    }
    if usize::try_from(config.cache_max_value_size.0).map_or(true, |size| size > MAX_PAYLOAD_BYTES) {
        let size = config.cache_max_value_size;
        problems.push(
            Problem::new("CACHE_MAX_VALUE_SIZE", format!("{size} is more than 64mb"))
                .accepted("64mb or less"),
        );
    }
    let chosen = |name| sources.find(name, false).is_some();
    if chosen("CACHE_MAX_VALUE_SIZE")
        && chosen("CACHE_MEMORY")
        && config.cache_max_value_size > config.cache_memory
    {
        problems.push(Problem::new(
            "CACHE_MAX_VALUE_SIZE",
            format!("{} is more than CACHE_MEMORY, {}", config.cache_max_value_size, config.cache_memory),
        ));
    }
    without_redis(config, sources, warnings);
}

const REDIS_ONLY: [&str; 4] = ["REDIS_TLS_CA", "REDIS_TLS_CERT", "REDIS_TLS_KEY", "REDIS_MAXMEMORY"];

/// Settings that have no effect since there is no Redis to apply them to, or another one than it seems.
fn without_redis(config: &Config, sources: &Sources, warnings: &mut Vec<String>) {
    let set = |name: &&str| sources.find(name, false).is_some_and(|(_, source)| source > Source::Default);
    if config.redis_url.is_none() {
        let names: Vec<&str> = REDIS_ONLY.into_iter().filter(set).collect();
        if !names.is_empty() {
            warnings.push(format!("{} has no effect without REDIS_URL", names.join(", ")));
        }
    }
    if config.single_node && config.redis_url.is_some() {
        warnings.push(format!(
            "SINGLE_NODE is your word that no other process serves these tenants: while Redis is out of reach values are kept \
             for their full TTL instead of {}",
            written(config.outage_memory_ttl.0)
        ));
    }
}
