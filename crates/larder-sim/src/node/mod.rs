//! A node: the engine as it is, and a host that decides what the operating system decides.

mod clock;
mod host;
mod stage;

pub use clock::HostClock;
pub use host::{Host, Limits};

use larder::simulation::{Inside, inside, within};
use larder::{Cache, RedisConfig};
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
}

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
            ..RedisConfig::new("redis://simulated")
        };
        let builder = Cache::builder("sim")
            .redis(config)
            .memory(64 << 20)
            .coherence_lease(settings.lease)
            .outage_memory_ttl(settings.outage_memory_ttl)
            .load_timeout(Duration::from_secs(3))
            .clock(Arc::new(host.clock()));
        let building =
            host.run(async move { builder.build().await.expect("the settings agree with each other") });
        Self { cache: building.await, host }
    }

    /// What is under way in it.
    pub fn inside(&self) -> Inside {
        within(&self.host.simulator(), || inside(&self.cache))
    }
}
