//! Values that are right each by itself but not together, or not for the cache: all that can be known at the start.

use larder::limits::MAX_PAYLOAD_BYTES;
use sample_backend::ttl::Endpoint;

use super::declared::Config;
use super::problem::Problem;
use super::sources::{Source, Sources};
use super::value::{Mode, Size, written};

/// Less memory than that is no cache.
const MEGABYTE: Size = Size(1 << 20);

/// Shorter keys than the hash's output weaken it (RFC 7518 §3.2).
const SECRET_BYTES: usize = 32;

const REDIS_TLS: [&str; 3] = ["REDIS_TLS_CA", "REDIS_TLS_CERT", "REDIS_TLS_KEY"];

/// Finds contradictions, and collects them with what was wrong already.
pub(super) struct Check<'a> {
    pub(super) config: &'a Config,
    pub(super) sources: &'a Sources,
    /// Settings whose value was refused. A default stands in, of which nothing can be said that would be of use.
    pub(super) refused: Vec<&'static str>,
    pub(super) problems: Vec<Problem>,
    pub(super) warnings: Vec<String>,
}

impl Check<'_> {
    pub(super) fn all(&mut self) {
        self.secrets();
        self.redis();
        self.sizes();
        self.ttls();
        self.without_redis();
    }

    /// Whether the values of all these are somebody's or a default, and none stands in for a refused one.
    fn are_read(&self, names: &[&str]) -> bool {
        names.iter().all(|name| !self.refused.contains(name))
    }

    fn is_chosen(&self, name: &str) -> bool {
        self.sources.find(name, false).is_some()
    }

    fn problem(&mut self, name: &str, what: String, accepted: impl Into<String>) {
        self.problems.push(Problem::new(name, what).accepted(accepted));
    }

    fn secrets(&mut self) {
        let config = self.config;
        if config.env == Mode::Production && config.jwt_secret.is_none() && self.are_read(&["JWT_SECRET"]) {
            self.problem(
                "JWT_SECRET",
                "is required where ENV is production".to_owned(),
                "a long random text, for example from: openssl rand -hex 32",
            );
        }
        for (name, secret) in
            [("JWT_SECRET", &config.jwt_secret), ("JWT_SECRET_PREVIOUS", &config.jwt_secret_previous)]
        {
            if secret.as_ref().is_some_and(|secret| secret.0.len() < SECRET_BYTES) {
                self.warnings
                    .push(format!("{name} is shorter than {SECRET_BYTES} bytes and could be guessed"));
            }
        }
    }

    fn redis(&mut self) {
        let Some(redis) = self.config.redis().filter(|_| self.are_read(&REDIS_TLS)) else { return };
        if let Err(found) = redis.validate() {
            self.problems.extend(found.into_iter().map(|what| Problem::new("REDIS_URL", what)));
        }
    }

    fn sizes(&mut self) {
        let Config { cache_memory: memory, cache_max_value_size: value, .. } = *self.config;
        for (name, size) in
            [("CACHE_MEMORY", memory), ("REDIS_MAXMEMORY", self.config.redis_maxmemory.unwrap_or(MEGABYTE))]
        {
            if size < MEGABYTE {
                self.problem(name, format!("{size} is less than 1mb"), "1mb or more");
            }
        }
        if usize::try_from(value.0).map_or(true, |size| size > MAX_PAYLOAD_BYTES) {
            self.problem("CACHE_MAX_VALUE_SIZE", format!("{value} is more than 64mb"), "64mb or less");
        }
        if !self.are_read(&["CACHE_MEMORY", "CACHE_MAX_VALUE_SIZE"]) {
            return;
        }
        // The default gives way to a smaller memory.
        if value > memory && self.is_chosen("CACHE_MAX_VALUE_SIZE") && self.is_chosen("CACHE_MEMORY") {
            let what = format!("{value} is more than CACHE_MEMORY, {memory}");
            self.problems.push(Problem::new("CACHE_MAX_VALUE_SIZE", what));
        }
        self.tenant_memory(value.min(memory), memory);
    }

    /// A tenant has to have room for one value.
    fn tenant_memory(&mut self, value: Size, memory: Size) {
        let Some(quota) = self.config.cache_tenant_memory else { return };
        let what = if quota < value {
            format!("{quota} is less than CACHE_MAX_VALUE_SIZE, {value}")
        } else if quota > memory {
            format!("{quota} is more than CACHE_MEMORY, {memory}")
        } else {
            return;
        };
        self.problem("CACHE_TENANT_MEMORY", what, format!("from {value} to {memory}"));
    }

    /// Lookups under a policy that can't be would all fail.
    fn ttls(&mut self) {
        for endpoint in Endpoint::ALL {
            let Some(ttl) = self.config.ttl.get(endpoint.name()) else { continue };
            if let Err(why) = endpoint.policy(ttl).validate() {
                let name = format!("ttl.{}", endpoint.name());
                let what = format!("{} ({}) can't be: {why}", written(ttl), Source::Toml);
                self.problem(&name, what, format!("a duration up to {}", written(endpoint.longest_ttl())));
            }
        }
    }

    /// Settings that have no effect since there is no Redis to apply them to, or another one than it seems.
    fn without_redis(&mut self) {
        if self.config.redis_url.is_none() && self.are_read(&["REDIS_URL"]) {
            let idle = REDIS_TLS.into_iter().chain(["REDIS_MAXMEMORY"]);
            let names: Vec<&str> = idle.filter(|name| self.is_chosen(name)).collect();
            if !names.is_empty() {
                self.warnings.push(format!("{} has no effect without REDIS_URL", names.join(", ")));
            }
        }
        if self.config.single_node && self.config.redis_url.is_some() {
            self.warnings.push(format!(
                "SINGLE_NODE is your word that no other process serves these tenants: while Redis is out of reach values \
                 are kept for their full TTL instead of {}",
                written(self.config.outage_memory_ttl.0)
            ));
        }
    }
}
