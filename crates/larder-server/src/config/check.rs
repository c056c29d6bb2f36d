//! Values that are right each by itself but not together.

use super::declared::Config;
use super::problem::Problem;
use super::sources::{Source, Sources};
use super::value::{Mode, written};

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
    match (&config.redis_tls_cert, &config.redis_tls_key) {
        (Some(_), None) => {
            problems.push(Problem::new("REDIS_TLS_KEY", "is required where REDIS_TLS_CERT is set"))
        }
        (None, Some(_)) => {
            problems.push(Problem::new("REDIS_TLS_CERT", "is required where REDIS_TLS_KEY is set"))
        }
        _ => {}
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

/// Settings that have no effect since there is no Redis, or no TLS, to apply them to.
fn without_redis(config: &Config, sources: &Sources, warnings: &mut Vec<String>) {
    let tls = ["REDIS_TLS_CA", "REDIS_TLS_CERT", "REDIS_TLS_KEY"];
    let set = |name: &&str| sources.find(name, false).is_some_and(|(_, source)| source > Source::Default);
    match &config.redis_url {
        None => {
            let names: Vec<&str> = tls.into_iter().chain(["REDIS_MAXMEMORY"]).filter(set).collect();
            if !names.is_empty() {
                warnings.push(format!("{} has no effect without REDIS_URL", names.join(", ")));
            }
        }
        Some(url) if url.0.starts_with("redis://") && tls.iter().any(set) => {
            warnings
                .push("REDIS_TLS_CA, _CERT and _KEY have no effect on redis://; TLS is rediss://".to_owned());
        }
        Some(_) => {}
    }
    if config.single_node && config.redis_url.is_some() {
        warnings.push(format!(
            "SINGLE_NODE is your word that no other process serves these tenants: while Redis is out of reach values are kept \
             for their full TTL instead of {}",
            written(config.outage_memory_ttl.0)
        ));
    }
}
