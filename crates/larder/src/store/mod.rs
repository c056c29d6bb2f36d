//! What the engine asks of the tier that all nodes share.
//!
//! A [`Connector`] makes a [`Link`]: one generation of connections to one server process, every one of them checked
//! to speak to the same history (the *label*). A link never heals itself: when any of its connections breaks, the
//! whole link is dead, the node distrusts what it holds, and a new link is made. That is how a server that restarted
//! with old data behind our back is always noticed.
//!
//! # Contract for implementors
//! * **Atomicity.** `lease`, `fill`, `release`, `invalidate`, `heartbeat`, `barrier` and `recover` each run as one
//!   atomic step on the server (an `invalidate` of more than a few hundred scopes: as several). `read` does not: it is three commands in a fixed order (head, values, stamps), and the order matters.
//! * **Ordering.** Every [`Push`] that the server sent before the reply of a heartbeat is in the queue of
//!   [`Link::pushes`] when [`Link::heartbeat`] returns.
//! * **A lost reply.** After [`StoreErrorKind::Timeout`] or `Disconnected` the command may have run, may run later, or
//!   never. Callers rely on tokens, epochs and stamps, never on "it failed, so it did not happen".
//! * **Cancel safety.** Dropping a future abandons the reply; the command may still run.
//! * **Deadlines.** Every call takes at most the time it is given, also when the server accepts connections and never
//!   answers.

pub mod log;
#[cfg(feature = "redis")]
pub mod redis;

use crate::scope::{Glob, ScopeHash};
use bytes::Bytes;
use futures_util::future::BoxFuture;
use std::{collections::BTreeMap, fmt, sync::Arc, time::Duration};
use tokio::sync::mpsc::UnboundedReceiver;

/// A future of the store's.
pub type StoreFuture<'a, T> = BoxFuture<'a, Result<T, StoreError>>;

/// Names one entry: the tenant (empty for shared entries) and the encoded key.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct EntryName<'a> {
    /// The tenant; empty for entries that belong to none.
    pub tenant: &'a str,
    /// The encoded key (`campaigns:page:1`).
    pub key: &'a str,
}

/// Of which tags a [`Link::read`] brings the stamps.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Tags {
    /// Of those among the scopes that are asked for.
    Named,
    /// Also of those that the entries carry. The server does more for it, for each entry.
    Carried,
}

/// The answer to [`Link::read`].
#[derive(Clone, Debug)]
pub struct ReadReply {
    /// Head of the coherence state before the values were read: the stamp under which L1 may admit them.
    pub head_before: Option<u64>,
    /// The stored bytes, in the order asked; `None` where there are none.
    pub values: Vec<Option<Bytes>>,
    /// The coherence state after the values were read; `None` when it is missing or not blessed for this label.
    pub state: Option<StateReply>,
    /// The stamp of each scope asked, `None` where it was never invalidated (or forgotten below the floor).
    pub stamps: Vec<Option<u64>>,
    /// Where they were asked for: the other tags that the entries carried when the stamps were read, each as it is and
    /// [softly](ScopeHash::soft), with its stamp. The values are from a moment before, and may carry others.
    pub tags: Vec<(ScopeHash, Option<u64>)>,
}

/// Epoch, head and floor of the coherence state.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct StateReply {
    /// The epoch: entries of another are dead.
    pub epoch: u64,
    /// The last stamp given out.
    pub head: u64,
    /// Entries whose version is below this are dead.
    pub floor: u64,
}

/// What [`Link::lease`] asks.
#[derive(Clone, Debug)]
pub struct LeaseRequest<'a> {
    /// The entry.
    pub entry: EntryName<'a>,
    /// This lease's token, never used before.
    pub token: &'a str,
    /// How long the lease may be held.
    pub lease: Duration,
    /// Load also if a fresh value is there, unless it has at least this much fresh time left. `None`: only if there is
    /// none that is fresh.
    pub refresh_below: Option<Duration>,
    /// Server time in µs after which the request is refused (its caller has given up), or `None`.
    pub deadline_us: Option<u64>,
    /// Its key's own scope, which may have been expired.
    pub key_scope: ScopeHash,
    /// The entry's declared scopes.
    pub scopes: &'a [ScopeHash],
}

/// The answer to [`Link::lease`].
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum LeaseReply {
    /// The coherence state is missing or not blessed: distrust.
    Recover,
    /// Somebody filled the entry meanwhile: read again.
    Retry,
    /// The deadline had passed.
    Late,
    /// The server's memory is full: load, and do not store. No lease was taken.
    Full,
    /// A load failed just now; nobody loads for this long.
    Failed(Duration),
    /// Another node (or flight) loads: it has this long at most. We are registered to be woken.
    Wait(Duration),
    /// Load, and present the token when filling.
    Granted {
        /// Epoch at the grant.
        epoch: u64,
        /// Head at the grant: the version of what is loaded.
        head: u64,
    },
}

/// What [`Link::fill`] presents.
#[derive(Clone, Debug)]
pub struct FillRequest<'a> {
    /// The entry.
    pub entry: EntryName<'a>,
    /// Its key's own scope, which wakes waiters.
    pub key_scope: ScopeHash,
    /// The lease's token.
    pub token: &'a str,
    /// Epoch at the grant.
    pub epoch: u64,
    /// Head at the grant.
    pub ver: u64,
    /// How long the server keeps the bytes.
    pub keep: Duration,
    /// The envelope.
    pub envelope: Bytes,
    /// All scopes of the entry, the loader's own tags included.
    pub scopes: &'a [ScopeHash],
}

/// The answer to [`Link::fill`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum FillReply {
    /// The coherence state is missing or not blessed: distrust.
    Recover,
    /// The lease is gone: the key was invalidated, or the lease ran out.
    Lost,
    /// A scope was invalidated after the grant: nothing was stored.
    Invalidated,
    /// Stored; admission stamp for L1.
    Stored {
        /// Head when it was stored.
        head: u64,
        /// The last stamp after the grant under which one of its scopes was expired: it is stale from the start.
        expired: Option<u64>,
    },
}

/// What [`Link::invalidate`] carries.
#[derive(Clone, Debug)]
pub struct InvalidateRequest<'a> {
    /// Scopes to stamp.
    pub scopes: &'a [ScopeHash],
    /// Entries to drop, each with its key's own scope.
    pub keys: &'a [(EntryName<'a>, ScopeHash)],
    /// Patterns, for the nodes to match. Their scopes are among the first of `scopes`.
    pub globs: &'a [Glob],
    /// A number under which every node is asked to acknowledge that it has applied this ([`Push::Acknowledged`]), and
    /// with which the reply names the nodes to wait for.
    pub ack: Option<u64>,
}

/// The answer to [`Link::invalidate`].
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum InvalidateReply {
    /// The coherence state is missing or not blessed: distrust, nothing was done.
    Recover,
    /// Done.
    Done {
        /// The epoch it happened in.
        epoch: u64,
        /// Its stamp.
        stamp: u64,
        /// Who may still serve what it covers; empty unless acknowledgements were asked for.
        holders: Holders,
    },
}

/// Nodes that hold a coherence lease.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Holders {
    /// Each with the time for which its lease holds at most, from the moment of the reply.
    pub nodes: Vec<(String, Duration)>,
    /// How long ago the epoch began: for one lease after that, there may be holders that nobody knows of.
    pub epoch_age: Duration,
}

/// The answer to [`Link::heartbeat`].
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum HeartbeatReply {
    /// The coherence state is missing or not blessed: distrust.
    Recover,
    /// Alive.
    Alive {
        /// Epoch and head.
        state: StateReply,
        /// The server was silent for everybody for longer than a lease since this time (µs of the server), and that
        /// is not settled yet. Another silence gives it another name, a µs earlier.
        outage: Option<u64>,
        /// Server time in µs.
        now_us: u64,
        /// Every node whose registration holds, where that was asked for.
        nodes: Vec<String>,
    },
}

/// What [`Link::barrier`] says: this node has delivered everything that it had deferred.
#[derive(Clone, Copy, Debug)]
pub struct BarrierRequest<'a> {
    /// The outage, as the heartbeat named it.
    pub outage: u64,
    /// Nodes known to this node from before the outage. Those registered then are known to the server.
    pub nodes: &'a [String],
    /// Wait for nobody any more: who is missing is struck off, and a new epoch begins.
    pub evict: bool,
}

/// The answer to [`Link::barrier`].
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum BarrierReply {
    /// The coherence state is missing or not blessed: distrust.
    Recover,
    /// The outage is settled: everybody has delivered.
    Done,
    /// The outage is settled by a new epoch: somebody was missing.
    Bumped,
    /// These nodes have not delivered yet.
    Wait(Vec<String>),
}

/// What making a link came to: which epoch holds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Recovered {
    /// The epoch that holds now.
    pub epoch: u64,
    /// Whether this call began it.
    pub bumped: bool,
}

/// What the server tells without being asked.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Push {
    /// Scopes (and keys, as their own scopes) were invalidated.
    Invalidated {
        /// The epoch.
        epoch: u64,
        /// Head before it.
        prev: u64,
        /// Its stamp, the head after it.
        stamp: u64,
        /// What it covers: scopes and key scopes alike.
        scopes: Vec<ScopeHash>,
        /// Patterns that say what the scopes of rules among them cover.
        globs: Vec<Glob>,
        /// Who wants to know when it has been applied.
        ack: Option<AckTo>,
    },
    /// A new epoch began.
    Epoch {
        /// The epoch.
        epoch: u64,
        /// Its first head.
        head: u64,
    },
    /// A load for which this node waits has ended, well or not.
    Wake(ScopeHash),
    /// A node has applied an invalidation of ours.
    Acknowledged {
        /// The number under which it was asked to.
        ack: u64,
        /// The node.
        node: String,
    },
    /// Events entered a tenant's log. On a [`LogLink`](log::LogLink) only.
    Appended(log::Appended),
    /// A message to a tenant's watchers on all nodes. On a [`LogLink`](log::LogLink) only.
    Signal {
        /// The tenant.
        tenant: Box<str>,
        /// The message.
        message: Bytes,
    },
    /// The subscription or the connection ended: the link is dead.
    Lost,
}

/// Where an acknowledgement goes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct AckTo {
    /// The node that invalidated.
    pub node: String,
    /// Its number for this invalidation.
    pub ack: u64,
}

/// Makes links.
pub trait Connector: Send + Sync + 'static {
    /// Connects, checks that the server can do what is needed, subscribes, loads the scripts and blesses the server's
    /// identity (or begins a new epoch; with `force` always). The node is not registered yet: a heartbeat does that.
    ///
    /// Takes at most the connect time-out and a few command time-outs.
    fn connect<'a>(
        &'a self,
        node: &'a str,
        bucket: u16,
        force_epoch: bool,
    ) -> StoreFuture<'a, (Arc<dyn Link>, Recovered)>;

    /// How many buckets there are: parts with a coherence state each, which may live on different servers. From 1 to
    /// [`MAX_BUCKETS`](crate::limits::MAX_BUCKETS), the same for all nodes and for ever.
    fn buckets(&self) -> u16 {
        1
    }

    /// Whether this store keeps event logs. Where it does not, each process has logs of its own, in its memory.
    fn keeps_logs(&self) -> bool {
        false
    }

    /// Connects to the event logs of a bucket, checks that the server can do what is needed, and subscribes.
    ///
    /// Takes at most the connect time-out and a few command time-outs.
    fn connect_log<'a>(&'a self, node: &'a str, bucket: u16) -> StoreFuture<'a, Arc<dyn log::LogLink>> {
        let _ = (node, bucket);
        let error = StoreError::new(StoreErrorKind::Unsupported, "this store keeps no event logs");
        Box::pin(std::future::ready(Err(error)))
    }

    /// The coherence lease where none is chosen. Default 1 s.
    fn default_lease(&self) -> Duration {
        Duration::from_secs(1)
    }

    /// The address as people may see it: without password.
    fn address(&self) -> String;

    /// What whoever runs the server can do about an error, where that is known.
    fn hint(&self, error: &StoreError) -> Option<&'static str> {
        let _ = error;
        None
    }
}

/// One generation of connections to one server process.
pub trait Link: Send + Sync + 'static {
    /// Reads entries: head, values, then epoch, floor and the stamps of `scopes`, pipelined in this order. Where
    /// [`Tags::Carried`] are wanted, the last step, which is atomic, also looks up what else the entries carry.
    fn read<'a>(
        &'a self,
        entries: &'a [EntryName<'a>],
        scopes: &'a [ScopeHash],
        tags: Tags,
        within: Duration,
    ) -> StoreFuture<'a, ReadReply>;
    /// Asks for the right to load, for each request (pipelined).
    fn lease<'a>(
        &'a self,
        asks: &'a [LeaseRequest<'a>],
        within: Duration,
    ) -> StoreFuture<'a, Vec<LeaseReply>>;
    /// Stores what was loaded, for each request (pipelined). An answer of its own per entry: one that is refused for
    /// want of memory is [`StoreErrorKind::OutOfMemory`] and does not touch the others.
    fn fill<'a>(
        &'a self,
        fills: &'a [FillRequest<'a>],
        within: Duration,
    ) -> StoreFuture<'a, Vec<Result<FillReply, StoreError>>>;
    /// Gives a lease back after a failed load. For `cooldown` nobody else is granted one.
    fn release<'a>(
        &'a self,
        entry: EntryName<'a>,
        key_scope: ScopeHash,
        token: &'a str,
        cooldown: Duration,
        within: Duration,
    ) -> StoreFuture<'a, ()>;
    /// Stamps scopes, drops entries with their leases, and tells all nodes.
    fn invalidate<'a>(
        &'a self,
        what: InvalidateRequest<'a>,
        within: Duration,
    ) -> StoreFuture<'a, InvalidateReply>;
    /// Registers this node for `lease` more and reads the head, on the connection that carries the pushes. With
    /// `roll_call` the reply names every registered node.
    fn heartbeat<'a>(
        &'a self,
        lease: Duration,
        roll_call: bool,
        within: Duration,
    ) -> StoreFuture<'a, HeartbeatReply>;
    /// Says that this node has delivered everything it had deferred, and asks whether all others have.
    fn barrier<'a>(&'a self, what: BarrierRequest<'a>, within: Duration) -> StoreFuture<'a, BarrierReply>;
    /// Tells another node that its invalidation has been applied here.
    fn acknowledge<'a>(&'a self, to: &'a AckTo, within: Duration) -> StoreFuture<'a, ()>;
    /// The queue of pushes. Taken once, by the coherence task, which bounds it by draining it at every wake-up.
    fn pushes(&self) -> Option<UnboundedReceiver<Push>>;
    /// Takes this node out of the register: a clean shutdown.
    fn leave<'a>(&'a self, within: Duration) -> StoreFuture<'a, ()>;
    /// One round trip that touches nothing, on a data connection.
    fn ping<'a>(&'a self, within: Duration) -> StoreFuture<'a, ()>;
    /// What the server says of itself (`INFO`).
    fn info<'a>(&'a self, within: Duration) -> StoreFuture<'a, BTreeMap<String, String>>;
    /// A page of raw keys under our prefix (`SCAN`, for the administrator's listing only): next cursor (0 = end), keys.
    fn scan<'a>(&'a self, cursor: u64, count: usize, within: Duration) -> StoreFuture<'a, (u64, Vec<Bytes>)>;
    /// Server version, as it names itself (`redis 7.0.15`).
    fn server(&self) -> &str;
    /// Whether the connections are encrypted.
    fn tls(&self) -> bool;
    /// Things an administrator should know about this server (eviction policy, settings it refused).
    fn advice(&self) -> &[String];
}

/// Why a call to the store failed.
#[derive(Clone, Debug, thiserror::Error)]
#[error("{kind}: {detail}")]
pub struct StoreError {
    /// The kind.
    pub kind: StoreErrorKind,
    /// For people; holds no key, value or password.
    pub detail: Arc<str>,
}

impl StoreError {
    /// An error of this kind.
    pub fn new(kind: StoreErrorKind, detail: impl Into<Arc<str>>) -> Self {
        Self { kind, detail: detail.into() }
    }
}

/// What is wrong, and what to do about it, where that is known.
pub(crate) fn hinted(wrong: &(impl fmt::Display + ?Sized), hint: Option<&str>) -> String {
    hint.map_or_else(|| wrong.to_string(), |hint| format!("{wrong} (hint: {hint})"))
}

/// The kinds of store errors.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, thiserror::Error)]
#[non_exhaustive]
pub enum StoreErrorKind {
    /// No answer in time.
    #[error("time-out")]
    Timeout,
    /// The connection ended or could not be made.
    #[error("disconnected")]
    Disconnected,
    /// The server refuses the user, the password or a command by its access list.
    #[error("access denied")]
    Denied,
    /// The certificate or the TLS handshake failed.
    #[error("tls")]
    Tls,
    /// The server is a replica, is loading, lacks replicas or is otherwise not to be written to now.
    #[error("not writable")]
    NotWritable,
    /// A script is unknown: the server process has changed.
    #[error("server changed")]
    Changed,
    /// This server of a Cluster does not serve this part of the data (now): another has it, it is being moved, or the
    /// Cluster is down.
    #[error("not served here")]
    Moved,
    /// The server's memory is full: nothing was stored.
    #[error("out of memory")]
    OutOfMemory,
    /// The server lacks something that is needed.
    #[error("unsupported")]
    Unsupported,
    /// An answer that makes no sense.
    #[error("protocol")]
    Protocol,
}

impl StoreErrorKind {
    /// Whether the link may be used on after this error.
    pub fn link_survives(self) -> bool {
        matches!(self, Self::Timeout | Self::OutOfMemory | Self::Protocol)
    }
}
