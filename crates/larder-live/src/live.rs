//! The notifications of an application: made once, shared by all its connections.

use std::fmt;
use std::net::IpAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Instant;

use axum::Router;
use larder::{Cache, EventLog, RedisState};
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use crate::claims::{Claims, TokenError, Verify};
use crate::config::{Config, ConfigError};
use crate::http;
use crate::http::{Tickets, Told};
use crate::hub::{Audience, Bounds, Hub, Kick, Signal, Streams, follow};
use crate::keys::Keys;
use crate::limits::{
    FORWARDED, FORWARDED_PER_SECOND, TENANT_FORWARDED_PER_SECOND, TOKEN_BYTES, USER_PUBLISH_BURST,
    USER_PUBLISHES_PER_SECOND,
};
use crate::link::now_seconds;
use crate::metrics::{Metrics, Numbers};
use crate::quota::Quota;
use crate::random;
use crate::rate::Each;
use crate::seats::{NoSeat, Seat, Seats, Stranger};

/// Tells whether pages of an origin (`https://app.example`) may connect. Called for each connection that names one.
pub type AllowOrigin = Arc<dyn Fn(&str) -> bool + Send + Sync>;

/// The live notifications of one process. Cheap to clone.
///
/// It follows the event log of a [`Cache`]: what is published by [`Tenant::publish`](larder::Tenant::publish) on any node reaches
/// the connections of that tenant on this one. [`streams`](Self::streams) and [`requests`](Self::requests) are its routes.
#[derive(Clone)]
pub struct Live(Arc<Shared>);

impl fmt::Debug for Live {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Live").field("node", &self.0.node).finish_non_exhaustive()
    }
}

/// What all connections share.
pub(crate) struct Shared {
    pub(crate) log: EventLog,
    pub(crate) config: Config,
    verify: Arc<dyn Verify>,
    pub(crate) allow_origin: AllowOrigin,
    pub(crate) keys: Arc<Keys>,
    pub(crate) hub: Hub,
    pub(crate) streams: Streams,
    pub(crate) tickets: Tickets,
    /// Commands for streams of other nodes.
    pub(crate) forwarding: Quota,
    /// Logged messages of users.
    pub(crate) publishing: Each<String>,
    /// The name of this node in those of its connections.
    pub(crate) node: String,
    pub(crate) metrics: Arc<Metrics>,
    /// All connections; a drain waits for them.
    pub(crate) connections: TaskTracker,
    /// From when on nobody is let in.
    pub(crate) draining: CancellationToken,
    pub(crate) refusals: Told,
    seats: Arc<Seats>,
    last_key: AtomicU64,
}

/// Makes a [`Live`].
#[must_use]
pub struct Builder {
    cache: Cache,
    verify: Arc<dyn Verify>,
    config: Config,
    allow_origin: AllowOrigin,
    node: Option<String>,
    secrets: Vec<Vec<u8>>,
}

impl fmt::Debug for Builder {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Builder").field("config", &self.config).finish_non_exhaustive()
    }
}

impl Builder {
    /// Bounds and times other than the defaults.
    pub fn config(mut self, config: Config) -> Self {
        self.config = config;
        self
    }

    /// Which pages of other origins may connect. Unless told, none may; pages of the server's own origin, and clients that are no
    /// browser and name no origin, always may.
    pub fn allow_origin(mut self, allow: impl Fn(&str) -> bool + Send + Sync + 'static) -> Self {
        self.allow_origin = Arc::new(allow);
        self
    }

    /// The name of this node, of which clients are told. Unless told, a random one.
    pub fn node(mut self, node: impl Into<String>) -> Self {
        self.node = Some(node.into());
        self
    }

    /// What all nodes of the application know and nobody else: by it they believe each other's tickets, and the secrets of each other's
    /// event streams. Needed where nodes share a Redis; without one a random secret does. 32 random bytes are a good one.
    ///
    /// Called again it adds a secret that is still believed: to change secrets, the new one is given first, then the old one.
    pub fn secret(mut self, secret: impl AsRef<[u8]>) -> Self {
        self.secrets.push(secret.as_ref().to_vec());
        self
    }

    /// Makes it.
    ///
    /// # Errors
    /// All contradictions of the configuration at once.
    pub fn build(self) -> Result<Live, ConfigError> {
        let alone = self.cache.redis_state() == RedisState::Disabled;
        self.config.check(alone, &self.secrets)?;
        let mut node = self.node.unwrap_or_else(random::secret);
        // A dot ends it in the names of connections.
        node.retain(|letter| letter.is_ascii_alphanumeric() || letter == '-');
        node.truncate(12);
        let keys = Arc::new(Keys::of(&self.secrets));
        Ok(Live(Arc::new(Shared {
            log: self.cache.event_log(),
            verify: self.verify,
            allow_origin: self.allow_origin,
            hub: Hub::default(),
            streams: Streams::default(),
            tickets: Tickets::new(self.cache, Arc::clone(&keys)),
            forwarding: Quota::new(
                (FORWARDED, FORWARDED_PER_SECOND),
                (TENANT_FORWARDED_PER_SECOND, TENANT_FORWARDED_PER_SECOND),
            ),
            publishing: Each::full(USER_PUBLISH_BURST, USER_PUBLISHES_PER_SECOND, Instant::now()),
            keys,
            node,
            metrics: Arc::default(),
            connections: TaskTracker::new(),
            draining: CancellationToken::new(),
            refusals: Told::default(),
            seats: Arc::new(Seats::new(&self.config)),
            last_key: AtomicU64::new(0),
            config: self.config,
        })))
    }
}

impl Live {
    /// Notifications of what happens to the tenants of `cache`, for the bearers of tokens that `verify` takes.
    pub fn builder(cache: Cache, verify: impl Verify) -> Builder {
        Builder {
            cache,
            verify: Arc::new(verify),
            config: Config::default(),
            allow_origin: Arc::new(|_| false),
            node: None,
            secrets: Vec::new(),
        }
    }

    /// The routes whose responses stay open: `GET /ws/notifications/{tenant}` and `GET /sse/notifications/{tenant}`. They belong
    /// outside of compression, time-outs and limits on requests; their own limits are those of the [`Config`].
    pub fn streams(&self) -> Router {
        http::streams(Arc::clone(&self.0))
    }

    /// The routes of ordinary requests: `POST /rt/{tenant}/cmd` and `POST /rt/{tenant}/ticket`.
    pub fn requests(&self) -> Router {
        http::requests(Arc::clone(&self.0))
    }

    /// What happened, in numbers.
    #[must_use]
    pub fn numbers(&self) -> Numbers {
        self.0.metrics.numbers()
    }

    /// Ends connections of a tenant on all nodes, with 4505: those clients don't come back by themselves. Nothing keeps them from
    /// connecting with a token that is still valid: that is up to who verifies tokens.
    ///
    /// # Errors
    /// Where other nodes can't be told.
    ///
    /// # Cancel safety
    /// Dropped, some nodes may have been told.
    pub async fn kick(&self, tenant: &str, whom: Kick) -> Result<(), larder::Error> {
        self.0.log.signal(tenant, Signal::Kick(whom).encode()).await
    }

    /// Whether [`drain`](Self::drain) has begun: an orchestrator should send nobody here any more.
    #[must_use]
    pub fn is_draining(&self) -> bool {
        self.0.draining.is_cancelled()
    }

    /// Lets nobody in any more, asks everybody who is there to come back elsewhere (`bye`, 4000), spread over the configured time
    /// at most, and waits until all are gone.
    ///
    /// # Cancel safety
    /// Dropped, nobody is let in, and those who were not asked yet stay.
    pub async fn drain(&self) {
        crate::drain::drain(&self.0).await;
    }
}

impl Shared {
    pub(crate) fn next_key(&self) -> u64 {
        self.last_key.fetch_add(1, Ordering::Relaxed)
    }

    pub(crate) fn bounds(&self) -> Bounds {
        Bounds { tenant: self.config.tenant_connections, user: self.config.user_connections }
    }

    /// What a token says, if it is one that is taken now.
    pub(crate) fn verify(&self, token: &str) -> Result<Claims, TokenError> {
        if token.len() > TOKEN_BYTES {
            return Err(TokenError::Invalid);
        }
        let claims = self.verify.verify(token)?;
        match () {
            () if !claims.is_sound() => Err(TokenError::Invalid),
            () if claims.expires_at <= now_seconds() => Err(TokenError::Expired),
            () => Ok(claims),
        }
    }

    /// The audience of a tenant, which follows its log from now on.
    ///
    /// # Errors
    /// Where the log can't be followed.
    pub(crate) async fn audience(self: &Arc<Self>, tenant: &str) -> Result<Arc<Audience>, larder::Error> {
        if let Some(audience) = self.hub.get(tenant) {
            return Ok(audience);
        }
        let watch = self.log.watch(tenant).await?;
        let audience = Arc::new(Audience::new(tenant, watch.head(), Arc::clone(&self.metrics)));
        // Somebody else may have been quicker; then this watch ends here.
        let first = self.hub.get_or_insert(Arc::clone(&audience));
        if Arc::ptr_eq(&first, &audience) {
            tokio::spawn(follow(Arc::clone(self), audience, watch));
        }
        Ok(first)
    }

    /// A place for one more connection, of who has signed in.
    pub(crate) fn seat(&self, address: Option<IpAddr>) -> Result<Seat, NoSeat> {
        self.still_open()?;
        self.seats.one(address)
    }

    /// A place for one more connection, of who has not.
    pub(crate) fn seat_of_stranger(&self, address: Option<IpAddr>) -> Result<(Seat, Stranger), NoSeat> {
        self.still_open()?;
        self.seats.strange(address)
    }

    fn still_open(&self) -> Result<(), NoSeat> {
        if self.draining.is_cancelled() { Err(NoSeat::Draining) } else { Ok(()) }
    }
}
