//! A node on a server, and the envelopes that the scripts look into.

use bytes::Bytes;
use larder::{
    ScopeHash,
    store::{
        Connector, EntryName, FillReply, FillRequest, InvalidateReply, InvalidateRequest, LeaseReply,
        LeaseRequest, Link, Push, Recovered, StoreError, Tags,
        redis::{RedisConfig, RedisConnector},
    },
};
use larder_testkit::RedisServer;
use std::{
    sync::Arc,
    time::{Duration, SystemTime, UNIX_EPOCH},
};
use tokio::sync::mpsc::UnboundedReceiver;

/// Longer than anything that works takes, on a busy machine.
pub(crate) const LONG: Duration = Duration::from_secs(10);
/// A coherence lease that does not run out during a test.
pub(crate) const LEASE: Duration = Duration::from_secs(60);

pub(crate) const ENTRY: EntryName<'static> = EntryName { tenant: "acme", key: "campaigns:page:1" };
pub(crate) const RAW: &str = "ld1:ns:{0}:e:4:acme:campaigns:page:1";
pub(crate) const RAW_LEASE: &str = "ld1:ns:{0}:l:4:acme:campaigns:page:1";
pub(crate) const STATE: &str = "ld1:ns:{0}:i";

/// A connected node.
pub(crate) struct Node {
    pub(crate) link: Arc<dyn Link>,
    pub(crate) pushes: UnboundedReceiver<Push>,
    pub(crate) recovered: Recovered,
}

pub(crate) fn config(server: &RedisServer) -> RedisConfig {
    let mut config = RedisConfig::new(server.url());
    // The machine that runs the tests is busy.
    (config.connect_timeout, config.command_timeout) = (LONG, LONG);
    config
}

pub(crate) async fn try_join(config: RedisConfig, name: &str) -> Result<Node, StoreError> {
    join_in("ns", config, name, false).await
}

pub(crate) async fn join_in(
    namespace: &str,
    config: RedisConfig,
    name: &str,
    force: bool,
) -> Result<Node, StoreError> {
    let connector = RedisConnector::new(config, namespace).expect("the configuration is sound");
    let (link, recovered) = connector.connect(name, 0, force).await?;
    let pushes = link.pushes().expect("nobody took it yet");
    let mut node = Node { link, pushes, recovered };
    // Who begins an epoch hears of it as the others do.
    if let Recovered { epoch, bumped: true } = recovered {
        assert!(matches!(node.push().await, Push::Epoch { epoch: told, .. } if told == epoch));
    }
    Ok(node)
}

/// A node that is connected and registered.
pub(crate) async fn join(server: &RedisServer, name: &str) -> Node {
    let node = try_join(config(server), name).await.expect("the server is there");
    node.link.heartbeat(LEASE, false, LONG).await.expect("the server answers");
    node
}

pub(crate) fn scope(n: u8) -> ScopeHash {
    numbered_scope(u32::from(n))
}

pub(crate) fn numbered_scope(n: u32) -> ScopeHash {
    ScopeHash::from_bytes(format!("s{n:015}").as_bytes()).expect("16 bytes that begin with s")
}

/// The key's own scope of [`ENTRY`].
pub(crate) fn key_scope() -> ScopeHash {
    scope(200)
}

pub(crate) fn now_ms() -> u64 {
    let now = SystemTime::now().duration_since(UNIX_EPOCH).expect("the clock is after 1970");
    u64::try_from(now.as_millis()).expect("for long")
}

/// An envelope as the scripts read it: fresh for a minute.
pub(crate) fn envelope(epoch: u64, ver: u64, tags: &[ScopeHash]) -> Bytes {
    envelope_until(now_ms() + 60_000, epoch, ver, tags)
}

/// An envelope that is fresh until `soft`.
pub(crate) fn envelope_until(soft: u64, epoch: u64, ver: u64, tags: &[ScopeHash]) -> Bytes {
    let mut out = vec![b'L', 0, u8::try_from(tags.len()).expect("at most 32")];
    for field in [ver, epoch, soft, soft, 0] {
        out.extend(field.to_be_bytes());
    }
    for tag in tags {
        out.extend(tag.as_bytes());
    }
    out.extend(b"payload");
    out.into()
}

impl Node {
    pub(crate) async fn lease(&self, token: &str) -> LeaseReply {
        self.lease_with(|ask| ask.token = token).await
    }

    pub(crate) async fn lease_with<'a>(&self, change: impl FnOnce(&mut LeaseRequest<'a>)) -> LeaseReply {
        let mut ask = LeaseRequest {
            entry: ENTRY,
            token: "token",
            lease: Duration::from_secs(30),
            refresh_below: None,
            key_scope: key_scope(),
            deadline_us: None,
            scopes: &[],
        };
        change(&mut ask);
        let mut replies = self.link.lease(&[ask], LONG).await.expect("the server answers");
        assert_eq!(replies.len(), 1);
        replies.remove(0)
    }

    /// A lease that must be granted: epoch and head.
    pub(crate) async fn granted(&self, token: &str) -> (u64, u64) {
        match self.lease(token).await {
            LeaseReply::Granted { epoch, head } => (epoch, head),
            other => panic!("no lease but {other:?}"),
        }
    }

    /// Fills [`ENTRY`] with an envelope that carries these scopes.
    pub(crate) async fn fill(
        &self,
        token: &str,
        (epoch, ver): (u64, u64),
        scopes: &[ScopeHash],
    ) -> Result<FillReply, StoreError> {
        let fill = FillRequest {
            entry: ENTRY,
            key_scope: key_scope(),
            token,
            epoch,
            ver,
            keep: Duration::from_secs(60),
            envelope: envelope(epoch, ver, scopes),
            scopes,
        };
        self.link.fill(&[fill], LONG).await?.remove(0)
    }

    /// Leases and fills.
    pub(crate) async fn store(&self, scopes: &[ScopeHash]) -> Bytes {
        let grant = self.granted("store").await;
        let reply = self.fill("store", grant, scopes).await.expect("there is room");
        assert!(matches!(reply, FillReply::Stored { .. }), "{reply:?}");
        envelope(grant.0, grant.1, scopes)
    }

    pub(crate) async fn invalidate(&self, scopes: &[ScopeHash]) -> (u64, u64) {
        self.invalidate_both(scopes, &[]).await
    }

    pub(crate) async fn invalidate_key(&self) -> (u64, u64) {
        self.invalidate_both(&[], &[(ENTRY, key_scope())]).await
    }

    pub(crate) async fn invalidate_both(
        &self,
        scopes: &[ScopeHash],
        keys: &[(EntryName<'_>, ScopeHash)],
    ) -> (u64, u64) {
        match self.link.invalidate(InvalidateRequest { scopes, keys, globs: &[], ack: None }, LONG).await {
            Ok(InvalidateReply::Done { epoch, stamp, .. }) => (epoch, stamp),
            other => panic!("not done but {other:?}"),
        }
    }

    pub(crate) async fn value(&self) -> Option<Bytes> {
        self.link.read(&[ENTRY], &[], Tags::Named, LONG).await.expect("the server answers").values.remove(0)
    }

    /// The next push. Waits for it.
    pub(crate) async fn push(&mut self) -> Push {
        let push = tokio::time::timeout(LONG, self.pushes.recv()).await.expect("a push comes");
        push.expect("the link lives")
    }

    /// All that is queued right now.
    pub(crate) fn queued(&mut self) -> Vec<Push> {
        std::iter::from_fn(|| self.pushes.try_recv().ok()).collect()
    }
}
