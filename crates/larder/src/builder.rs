//! Building a cache: every setting with its default, and all contradictions refused at once.

use crate::announcer::Announcer;
use crate::buckets::{Buckets, check_spread};
use crate::cache::Cache;
use crate::clock::{Clock, SystemClock};
use crate::coherence::Mirror;
use crate::engine::{Engine, Options};
use crate::error::{Error, ErrorKind};
use crate::limits::{MAX_CONCURRENT_LOADS, MAX_KEEP, MAX_LOAD_TIMEOUT, TENANT_LOADS};
use crate::remote::{RedisState, Remote, random_name};
use crate::stats::Stats;
use crate::store::Connector;
use crate::supervise::supervise;
use futures_util::future::join_all;
use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

/// Settings of a [`Cache`], from [`Cache::builder`].
#[must_use = "nothing happens until `build` is called"]
pub struct CacheBuilder {
    namespace: String,
    memory: u64,
    tenant_memory: Option<u64>,
    tenant_loads: usize,
    audit: f64,
    max_value_size: usize,
    load_timeout: Duration,
    outage_memory_ttl: Duration,
    single_node: bool,
    lease: Option<Duration>,
    enabled: bool,
    read_timeout: Duration,
    clock: Arc<dyn Clock>,
    store: Shared,
    spread: HashMap<String, u16>,
}

/// Where the shared tier comes from.
enum Shared {
    None,
    Connector(Arc<dyn Connector>),
    #[cfg(feature = "redis")]
    Redis(crate::store::redis::RedisConfig),
}

impl CacheBuilder {
    pub(crate) fn new(namespace: String) -> Self {
        Self {
            namespace,
            memory: 256 << 20,
            tenant_memory: None,
            tenant_loads: TENANT_LOADS,
            audit: 0.0,
            max_value_size: 1 << 20,
            load_timeout: Duration::from_secs(10),
            outage_memory_ttl: Duration::from_secs(5),
            single_node: false,
            lease: None,
            enabled: true,
            read_timeout: Duration::from_millis(200),
            clock: Arc::new(SystemClock),
            store: Shared::None,
            spread: HashMap::new(),
        }
    }

    /// Bytes that the in-process tier may hold. Default 256 MiB, at least 1 MiB.
    pub fn memory(mut self, bytes: u64) -> Self {
        self.memory = bytes;
        self
    }

    /// Bytes that one tenant may hold in the in-process tier; beyond it its own oldest entries make way. At least
    /// `max_value_size`. Default: no less than all tenants together, so that a tenant that fills the tier competes with the
    /// others by how often its values are read.
    pub fn tenant_memory(mut self, bytes: u64) -> Self {
        self.tenant_memory = Some(bytes);
        self
    }

    /// Loaders of one tenant that run at once on this node, of 1,000 in all; further ones wait within their time-out.
    /// Default 500.
    pub fn tenant_loads(mut self, loads: usize) -> Self {
        self.tenant_loads = loads;
        self
    }

    /// Audits this share (0 to 1) of the hits in memory of [`Tenant::get_or_load`](crate::Tenant::get_or_load) and its
    /// kin: their values are loaded again behind, and compared. A value that the origin has not any more, though nothing has
    /// invalidated it within a lease before and after that load, is counted and logged: some write does not invalidate what
    /// it changes, or the loader reads a replica that lags. Values that are kept for their TTL by design are found, too.
    /// Costs a load each, at most four at once. Default 0; 0.00001 is one in 100,000.
    pub fn audit(mut self, share: f64) -> Self {
        self.audit = share;
        self
    }

    /// Encoded bytes of the largest value that is kept; a larger one is served and counted. Default 1 MiB, at most
    /// 64 MiB.
    pub fn max_value_size(mut self, bytes: usize) -> Self {
        self.max_value_size = bytes;
        self
    }

    /// Hard time-out of one load, where its policy names none. Default 10 s.
    pub fn load_timeout(mut self, limit: Duration) -> Self {
        self.load_timeout = limit;
        self
    }

    /// How long a value loaded while Redis is out of reach is kept, from the start of its load. Default 5 s; zero keeps
    /// nothing then.
    pub fn outage_memory_ttl(mut self, ttl: Duration) -> Self {
        self.outage_memory_ttl = ttl;
        self
    }

    /// Promises that no other process serves these tenants, so that values keep their full TTL while Redis is out of
    /// reach. Default `false`.
    pub fn single_node(mut self, single: bool) -> Self {
        self.single_node = single;
        self
    }

    /// The coherence lease: how stale another node can be at worst. 1 s to 60 s, default 1 s, with a Redis Cluster 2 s; a
    /// heartbeat is sent every quarter of it (by each bucket of a Cluster). The same on all nodes of a namespace.
    pub fn coherence_lease(mut self, lease: Duration) -> Self {
        self.lease = Some(lease);
        self
    }

    /// `false`: every lookup loads and nothing is kept. Default `true`.
    pub fn enabled(mut self, enabled: bool) -> Self {
        self.enabled = enabled;
        self
    }

    /// Spreads one tenant over several buckets of a Redis Cluster (1 to 64; a tenant lives in one by default): for a tenant
    /// that is too much for one server. Its keys then divide among them; an invalidation of a tag, a prefix or the whole
    /// tenant goes to each, and is atomic in each, not across them. The same on all nodes; when it changes, invalidate the
    /// tenant under both numbers for as long as its longest TTL. Without a Cluster it means nothing.
    pub fn spread(mut self, tenant: impl Into<String>, parts: u16) -> Self {
        self.spread.insert(tenant.into(), parts);
        self
    }

    /// Another clock, for tests.
    pub fn clock(mut self, clock: Arc<dyn Clock>) -> Self {
        self.clock = clock;
        self
    }

    /// The tier shared by all nodes, in Redis or Valkey.
    #[cfg(feature = "redis")]
    pub fn redis(mut self, config: impl Into<crate::store::redis::RedisConfig>) -> Self {
        self.store = Shared::Redis(config.into());
        self
    }

    /// A shared tier of another make, for tests. `read_timeout` is a request's budget for it.
    pub fn connector(mut self, connector: Arc<dyn Connector>, read_timeout: Duration) -> Self {
        self.store = Shared::Connector(connector);
        self.read_timeout = read_timeout;
        self
    }

    /// Builds the cache. With Redis it waits for the first attempt to connect, and goes on without if that fails.
    ///
    /// # Errors
    /// [`ErrorKind::Config`] with all contradictions at once. An unreachable Redis is none.
    ///
    /// # Cancel safety
    /// If it is dropped, what it has begun ends, and the node leaves the register in Redis.
    pub async fn build(mut self) -> Result<Cache, Error> {
        let wrong = self.problems();
        if !wrong.is_empty() {
            return Err(Error::new(ErrorKind::Config, wrong.join("; ")));
        }
        check_spread(&self.spread)?;
        let connector = self.connector_of()?;
        let lease = connector.as_ref().map_or(Duration::from_secs(1), |connector| connector.default_lease());
        let options = self.options(self.lease.unwrap_or(lease));
        let stats = Arc::new(Stats::default());
        let Some(connector) = connector else {
            let mirror = Arc::new(Mirror::alone(Arc::clone(&self.clock)));
            let engine = Engine::new(options, self.clock, mirror, stats, None);
            return Ok(Cache::new(self.namespace, Buckets::new(vec![engine], self.spread)));
        };
        let node = random_name();
        let announcer = Arc::new(Announcer::new(connector.buckets()));
        let bucket = |bucket: u16| {
            let mirror = Arc::new(Mirror::following(Arc::clone(&self.clock), bucket));
            let (connector, clock) = (Arc::clone(&connector), Arc::clone(&self.clock));
            let (stats, announcer) = (Arc::clone(&stats), Arc::clone(&announcer));
            let remote = Remote::new(connector, node.clone(), clock, Arc::clone(&mirror), stats, announcer);
            (mirror, Some(Arc::new(remote)))
        };
        let (mirror, remote) = bucket(0);
        let mut engines =
            vec![Engine::new(options, Arc::clone(&self.clock), mirror, Arc::clone(&stats), remote)];
        for number in 1..connector.buckets() {
            let (mirror, remote) = bucket(number);
            engines.push(engines[0].beside(mirror, remote));
        }
        let cache = Cache::new(self.namespace, Buckets::new(engines, self.spread));
        follow(cache.buckets.all())?;
        // Where nobody waits for the cache any more, nobody can shut it down.
        let unbuilt = cache.engine().ending.clone().drop_guard();
        for engine in cache.buckets.all().iter() {
            let Some(remote) = &engine.remote else { continue };
            // The first attempt ends by itself: every step of it has a deadline.
            let _ = remote.state.subscribe().wait_for(|state| *state != RedisState::not_yet()).await;
        }
        unbuilt.disarm();
        Ok(cache)
    }

    fn problems(&self) -> Vec<String> {
        let mut wrong = Vec::new();
        let mut check = |holds: bool, what: String| {
            if !holds {
                wrong.push(what);
            }
        };
        let plain = |c: char| c.is_ascii_alphanumeric() || "-_.".contains(c);
        check(
            (1..=64).contains(&self.namespace.len()) && self.namespace.chars().all(plain),
            format!("namespace {:?}: 1 to 64 letters, digits, '-', '_' or '.'", self.namespace),
        );
        check(self.memory >= 1 << 20, format!("memory is {} bytes: at least 1 MiB", self.memory));
        check(
            (1..=crate::limits::MAX_PAYLOAD_BYTES).contains(&self.max_value_size),
            format!("max_value_size is {} bytes: 1 byte to 64 MiB", self.max_value_size),
        );
        check(
            self.max_value_size as u64 <= self.memory,
            format!(
                "max_value_size ({} bytes) is larger than memory ({} bytes)",
                self.max_value_size, self.memory
            ),
        );
        let quota = self.tenant_memory.unwrap_or(self.memory);
        check(
            (self.max_value_size as u64..=self.memory).contains(&quota),
            format!(
                "tenant_memory is {quota} bytes: at least max_value_size ({}), at most memory ({})",
                self.max_value_size, self.memory
            ),
        );
        check(
            (0.0..=1.0).contains(&self.audit),
            format!("audit is {}: a share of hits from 0 to 1", self.audit),
        );
        check(
            (1..=MAX_CONCURRENT_LOADS).contains(&self.tenant_loads),
            format!("tenant_loads is {}: 1 to {MAX_CONCURRENT_LOADS}", self.tenant_loads),
        );
        check(
            !self.load_timeout.is_zero() && self.load_timeout <= MAX_LOAD_TIMEOUT,
            format!("load_timeout is {:?}: more than zero, at most {MAX_LOAD_TIMEOUT:?}", self.load_timeout),
        );
        let lease = Duration::from_secs(1)..=Duration::from_secs(60);
        if let Some(chosen) = &self.lease {
            check(lease.contains(chosen), format!("coherence_lease is {chosen:?}: 1 s to 60 s"));
        }
        check(
            self.outage_memory_ttl <= MAX_KEEP,
            format!("outage_memory_ttl is {:?}: at most {MAX_KEEP:?}", self.outage_memory_ttl),
        );
        #[cfg(feature = "redis")]
        if let Shared::Redis(config) = &self.store
            && let Err(problems) = config.validate()
        {
            wrong.extend(problems);
        }
        wrong
    }

    fn connector_of(&mut self) -> Result<Option<Arc<dyn Connector>>, Error> {
        match std::mem::replace(&mut self.store, Shared::None) {
            Shared::None => Ok(None),
            Shared::Connector(connector) => Ok(Some(connector)),
            #[cfg(feature = "redis")]
            Shared::Redis(config) => {
                self.read_timeout = config.read_timeout;
                let connector = crate::store::redis::RedisConnector::new(config, &self.namespace)
                    .map_err(|problems| Error::new(ErrorKind::Config, problems.join("; ")))?;
                Ok(Some(Arc::new(connector)))
            }
        }
    }

    fn options(&self, lease: Duration) -> Options {
        Options {
            enabled: self.enabled,
            memory: self.memory,
            tenant_memory: self.tenant_memory,
            tenant_loads: self.tenant_loads,
            audit: self.audit,
            max_value_size: self.max_value_size,
            load_timeout: self.load_timeout,
            outage_memory_ttl: (!self.single_node).then_some(self.outage_memory_ttl),
            lease,
            read_timeout: self.read_timeout,
        }
    }
}

/// Starts the coherence task on a thread and a runtime of its own: heartbeats go out and pushes come in however busy the
/// caller's workers are, so a burst of requests does not cost the lease. It ends when the cache is shut down.
fn follow(engines: &Arc<[Arc<Engine>]>) -> Result<(), Error> {
    let shared = |engine: &Arc<Engine>| Some((Arc::clone(engine), Arc::clone(engine.remote.as_ref()?)));
    let all: Vec<_> = engines.iter().filter_map(shared).collect();
    #[cfg(feature = "simulation")]
    if crate::simulation::current().is_some() {
        for (engine, remote) in all {
            let tasks = engine.background.clone();
            tasks.spawn(crate::simulation::task(supervise(engine, remote)));
        }
        return Ok(());
    }
    let failed = |error: std::io::Error| {
        Error::with_source(ErrorKind::Config, format!("no thread for the coherence task: {error}"), error)
    };
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().map_err(failed)?;
    let running = engines[0].background.token();
    let work = move || {
        let tasks: Vec<_> =
            all.into_iter().map(|(engine, remote)| runtime.spawn(supervise(engine, remote))).collect();
        runtime.block_on(join_all(tasks));
        drop((runtime, running));
    };
    std::thread::Builder::new().name("larder-coherence".to_owned()).spawn(work).map_err(failed)?;
    Ok(())
}

#[cfg(feature = "redis")]
impl From<&str> for crate::store::redis::RedisConfig {
    /// The URL, with the default settings.
    fn from(url: &str) -> Self {
        Self::new(url)
    }
}
