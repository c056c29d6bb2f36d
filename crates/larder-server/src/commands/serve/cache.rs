//! The cache that the configuration asks for.

use larder::{Cache, ErrorKind, RedisState};

use crate::config::Config;
use crate::config::value::{Size, without_password, written};
use crate::failure::Failure;

/// Builds it. A Redis that can't be reached is none of its errors: it is used when it comes.
pub(super) async fn build(config: &Config) -> Result<Cache, Failure> {
    let mut builder = Cache::builder(config.cache_namespace.0.clone())
        .memory(config.cache_memory.0)
        .max_value_size(config.max_value_bytes())
        .load_timeout(config.load_timeout.0)
        .outage_memory_ttl(config.outage_memory_ttl.0)
        .single_node(config.single_node)
        .coherence_lease(config.lease())
        .audit(share(config.cache_audit.0))
        .enabled(config.cache_enabled);
    if let Some(quota) = &config.cache_tenant_memory {
        builder = builder.tenant_memory(quota.0);
    }
    if let Some(redis) = config.redis() {
        builder = builder.redis(redis);
    }
    builder.build().await.map_err(|error| match error.kind() {
        ErrorKind::Config => {
            Failure::configuration(format!("the cache can't be configured like this: {error}"))
        }
        _ => Failure::new(format!("the cache could not be started: {error}")),
    })
}

/// One in so many hits, as a share of all.
fn share(one_in: u32) -> f64 {
    if one_in == 0 { 0.0 } else { 1.0 / f64::from(one_in) }
}

/// The tiers, for the line at the start.
pub(super) fn tiers(config: &Config, state: &RedisState) -> String {
    if !config.cache_enabled {
        return "off (CACHE_ENABLED=false): every read goes to the database".to_owned();
    }
    let url = config.redis_url.as_ref().map(|url| without_password(&url.0)).unwrap_or_default();
    match state {
        RedisState::Connected { server, address, tls, .. } => {
            let encrypted = if *tls { " (TLS)" } else { "" };
            format!("memory + {server} at {address}{encrypted}")
        }
        RedisState::Unavailable { reason } => {
            let without = without_redis(config);
            format!("memory; Redis at {url} can't be used and is tried again and again: {reason}; {without}")
        }
        RedisState::Unsupported { missing } => {
            format!("memory; Redis at {url} can't be used: {missing}; {}", without_redis(config))
        }
        _ => "memory".to_owned(),
    }
}

/// What it means that other servers may use it and this one does not.
fn without_redis(config: &Config) -> String {
    if config.single_node {
        return "values are kept for their TTL meanwhile, since SINGLE_NODE says that nobody else changes them"
            .to_owned();
    }
    let ttl = written(config.outage_memory_ttl.0);
    format!(
        "until then this server does not learn what others change, and keeps what it loads for {ttl} \
         (OUTAGE_MEMORY_TTL)"
    )
}

/// Each has a coherence state of its own.
const BUCKETS_OF_A_CLUSTER: u128 = 16;

/// What coherence costs, for providers that bill commands: a heartbeat each quarter of the lease.
pub(super) fn coherence(config: &Config) -> Option<String> {
    config.redis_url.as_ref().filter(|_| config.cache_enabled)?;
    let lease = config.lease();
    let buckets = if config.is_cluster() { BUCKETS_OF_A_CLUSTER } else { 1 };
    let a_day = buckets * 4 * 86_400_000 / lease.as_millis().max(1);
    Some(format!("lease {}, which costs about {a_day} Redis commands a day", written(lease)))
}

impl Config {
    /// The largest value that is kept. The default gives way to a smaller memory; what was chosen does not, and was refused
    /// before.
    fn max_value_bytes(&self) -> usize {
        let Size(bytes) = self.cache_max_value_size.min(self.cache_memory);
        usize::try_from(bytes).unwrap_or(usize::MAX)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::of_test;

    #[test]
    fn the_tiers_are_named_as_they_are_and_without_a_password() {
        let config = of_test(&[("REDIS_URL", "redis://u:hunter2@host:6379/0")]);
        let connected = |tls| RedisState::Connected {
            server: "redis 7.0.15".into(),
            address: "redis://host:6379/0".into(),
            tls,
            advice: Vec::new(),
        };
        assert_eq!(tiers(&config, &connected(true)), "memory + redis 7.0.15 at redis://host:6379/0 (TLS)");
        assert_eq!(tiers(&config, &connected(false)), "memory + redis 7.0.15 at redis://host:6379/0");
        let reason = "not writable: it is a replica (hint: name the primary)";
        let away = tiers(&config, &RedisState::Unavailable { reason: reason.into() });
        assert!(
            away.contains(reason) && away.contains("keeps what it loads for 5s (OUTAGE_MEMORY_TTL)"),
            "{away}"
        );
        assert!(!away.contains("hunter2"), "{away}");
        assert_eq!(tiers(&of_test(&[]), &RedisState::Disabled), "memory");
        assert!(tiers(&of_test(&[("CACHE_ENABLED", "no")]), &RedisState::Disabled).starts_with("off"));
    }

    #[test]
    fn the_price_of_coherence_follows_the_lease() {
        let price = |lease| {
            coherence(&of_test(&[("REDIS_URL", "redis://host"), ("COHERENCE_LEASE", lease)])).unwrap()
        };
        let cluster = coherence(&of_test(&[("REDIS_URL", "redis+cluster://host")])).unwrap();
        assert_eq!(cluster, "lease 2s, which costs about 2764800 Redis commands a day");
        assert_eq!(price("1s"), "lease 1s, which costs about 345600 Redis commands a day");
        assert_eq!(price("60s"), "lease 1m, which costs about 5760 Redis commands a day");
        assert_eq!(coherence(&of_test(&[])), None);
    }

    #[test]
    fn the_default_size_of_a_value_fits_into_a_small_memory() {
        assert_eq!(of_test(&[]).max_value_bytes(), 1 << 20);
        assert_eq!(of_test(&[("CACHE_MEMORY", "1mb")]).max_value_bytes(), 1 << 20);
    }
}
