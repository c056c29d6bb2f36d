//! A node: the engine as it is, and a host that decides what the operating system decides.

mod clock;
mod host;
mod stage;

pub use clock::HostClock;
pub use host::{Host, Limits};

use crate::network::Topology;
use larder::simulation::{Inside, bucket_of, inside, is_good, within};
use larder::{Cache, Key, RedisConfig, Tenant};
use std::sync::Arc;
use std::time::Duration;

/// What all nodes of a simulation have in common.
#[derive(Clone, Copy, Debug)]
pub struct Settings {
    /// The coherence lease.
    pub lease: Duration,
    /// How long a value loaded without Redis is kept.
    pub outage_memory_ttl: Duration,
    /// How many connections carry data.
    pub data_connections: usize,
    /// How servers stand to each other.
    pub topology: Topology,
}

/// The tenant that is spread over two parts of a Cluster.
pub const SPREAD: &str = "acme";

/// A process with a cache.
#[derive(Clone)]
pub struct Node {
    /// Its cache.
    pub cache: Cache,
    /// What it runs on.
    pub host: Arc<Host>,
}

impl Node {
    /// Starts one. It connects by itself.
    pub async fn start(host: Arc<Host>, settings: Settings) -> Self {
        let config = RedisConfig {
            data_connections: settings.data_connections,
            ..RedisConfig::new(settings.topology.url())
        };
        let builder = Cache::builder("sim")
            .redis(config)
            .memory(64 << 20)
            .spread(SPREAD, 2)
            .coherence_lease(settings.lease)
            .outage_memory_ttl(settings.outage_memory_ttl)
            .load_timeout(Duration::from_secs(3))
            .clock(Arc::new(host.clock()));
        let building =
            host.run(async move { builder.build().await.expect("the settings agree with each other") });
        Self { cache: building.await, host }
    }

    /// A tenant's part of its cache; without a name what belongs to none.
    pub fn tenant(&self, name: &str) -> Tenant {
        if name.is_empty() { self.cache.shared() } else { self.cache.tenant(name) }
    }

    /// What is under way in it.
    pub fn inside(&self) -> Inside {
        within(&self.host.simulator(), || inside(&self.cache))
    }

    /// Whether it follows the stream of this key's bucket, with a valid lease.
    pub fn is_good(&self, tenant: &str, key: &Key) -> bool {
        within(&self.host.simulator(), || is_good(&self.tenant(tenant), key))
    }

    /// The hash tag under which Redis has this key.
    pub fn tag_of(&self, tenant: &str, key: &Key) -> &'static str {
        bucket_of(&self.cache, tenant, key).1
    }
}
