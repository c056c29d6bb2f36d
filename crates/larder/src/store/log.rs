//! What the engine asks of the shared tier for the tenants' event logs.
//!
//! A [`LogLink`] is, as a [`Link`](super::Link) is, one generation of connections to one server process, of its own: what
//! it carries can't delay an invalidation, and what breaks it costs no lease.
//!
//! # Contract for implementors
//! * **Atomicity.** `append`, `read` and each change of who is present run as one step on the server. The events of one
//!   `append` get successive offsets, and all nodes are told of them in one message, in the order of the offsets.
//! * **Once.** A batch of events enters a log once, however often it is asked for and however late an attempt is carried
//!   out, as long as the server remembers it: 10 minutes.
//! * **Nothing in silence.** A log ends with its epoch: where the server's coherence state began another epoch (it was
//!   restarted, restored, replaced) or the log's own state is gone, the next `append` or `read` begins a new epoch of the
//!   log, whose name was never used before.
//! * **Ordering.** Every message that the server sent before the reply of [`LogLink::sync`] is in the queue of
//!   [`LogLink::pushes`] when that returns.

use super::{Push, StoreFuture};
use bytes::Bytes;
use std::time::Duration;
use tokio::sync::mpsc::UnboundedReceiver;

/// An event to append.
#[derive(Clone, Debug)]
pub struct NewEvent<'a> {
    /// Its id.
    pub id: &'a str,
    /// The id is remembered for 10 minutes: another event that has it does not enter the log.
    pub keyed: bool,
    /// Its JSON.
    pub json: &'a Bytes,
}

/// What [`LogLink::append`] adds.
#[derive(Clone, Debug)]
pub struct AppendRequest<'a> {
    /// The tenant.
    pub tenant: &'a str,
    /// The events, in their order.
    pub events: &'a [NewEvent<'a>],
    /// The name of a new epoch, if one must begin: random, never used before, in no other attempt either.
    pub new_epoch: &'a str,
    /// Begin it in any case.
    pub renew: bool,
    /// Higher than that of every batch before of this node. An attempt that is repeated has the same; it is made only when
    /// the batches before have been answered.
    pub batch: u64,
}

/// The answer to [`LogLink::append`].
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum AppendReply {
    /// The coherence state is missing or not blessed: nothing was done.
    Recover,
    /// Epoch and offset of each event; of one that was there already, its place, which may be in an epoch that has ended.
    Done(Vec<(String, u64)>),
}

/// What [`LogLink::read`] asks for.
#[derive(Clone, Debug)]
pub struct LogReadRequest<'a> {
    /// The tenant.
    pub tenant: &'a str,
    /// After which place; of another epoch than the log's, no events are read.
    pub after: (&'a str, u64),
    /// The name of a new epoch, if one must begin.
    pub new_epoch: &'a str,
    /// Most events.
    pub max_events: usize,
    /// Most bytes; one event may have more.
    pub max_bytes: usize,
}

/// The answer to [`LogLink::read`].
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum LogReadReply {
    /// The coherence state is missing or not blessed: nothing was done.
    Recover,
    /// What the log has.
    Log {
        /// Its epoch.
        epoch: String,
        /// The offset of its last event.
        head: u64,
        /// The events that are kept, from the first after the place asked for, each with its offset.
        events: Vec<(u64, Bytes)>,
    },
}

/// The answer to [`LogLink::sync`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct SyncReply {
    /// The epoch of the coherence state; `None`: it is missing or not blessed.
    pub epoch: Option<u64>,
    /// The number of the last message of this bucket's logs.
    pub seq: u64,
}

/// Events that entered a tenant's log, as all nodes are told.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Appended {
    /// The message's number in its bucket: one more than that of the message before.
    pub seq: u64,
    /// The tenant.
    pub tenant: Box<str>,
    /// The log's epoch.
    pub epoch: Box<str>,
    /// The offset of the first.
    pub first: u64,
    /// The events, one offset after the other. None where a log begins without one.
    pub events: Vec<Bytes>,
}

/// A room of a tenant.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Room<'a> {
    /// The tenant.
    pub tenant: &'a str,
    /// The room.
    pub room: &'a str,
}

/// A connection that is in a room, or leaves it.
#[derive(Clone, Copy, Debug)]
pub struct Present<'a> {
    /// The connection: unique among all nodes.
    pub conn: &'a str,
    /// Whose it is.
    pub user: &'a str,
    /// What the user tells of itself (JSON).
    pub info: &'a [u8],
}

/// A change of who is present, or a question.
#[derive(Clone, Debug)]
pub enum PresenceRequest<'a> {
    /// These are here, for [`PRESENCE_TTL`](crate::limits::PRESENCE_TTL) more.
    Here(&'a [Present<'a>]),
    /// These connections leave.
    Gone(&'a [&'a str]),
    /// Who is here? At most so many users are named.
    Who(usize),
}

/// The answer to a [`PresenceRequest`].
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct PresenceReply {
    /// Users in the room.
    pub total: u64,
    /// Of those that came or left: users who were not there before, or are not any more.
    pub changed: Vec<String>,
    /// Users, with the number of their connections and what they tell of themselves.
    pub members: Vec<(String, u64, Bytes)>,
}

/// One generation of connections to one server process, for the event logs of one bucket.
pub trait LogLink: Send + Sync + 'static {
    /// Appends events to a tenant's log, and tells all nodes.
    fn append<'a>(&'a self, what: AppendRequest<'a>, within: Duration) -> StoreFuture<'a, AppendReply>;
    /// Reads a tenant's log.
    fn read<'a>(&'a self, what: LogReadRequest<'a>, within: Duration) -> StoreFuture<'a, LogReadReply>;
    /// Tells all nodes something that has no place in the log.
    fn signal<'a>(&'a self, tenant: &'a str, message: &'a Bytes, within: Duration) -> StoreFuture<'a, ()>;
    /// Changes or tells who is in a room.
    fn presence<'a>(
        &'a self,
        room: Room<'a>,
        what: PresenceRequest<'a>,
        within: Duration,
    ) -> StoreFuture<'a, PresenceReply>;
    /// Takes a name for so long, if nobody has it; whether it was free. Names are of a tenant.
    fn claim<'a>(
        &'a self,
        tenant: &'a str,
        name: &'a str,
        ttl: Duration,
        within: Duration,
    ) -> StoreFuture<'a, bool>;
    /// The number of the last message, asked on the connection that carries the messages.
    fn sync<'a>(&'a self, within: Duration) -> StoreFuture<'a, SyncReply>;
    /// The queue of messages. Taken once, by the task that follows them.
    fn pushes(&self) -> Option<UnboundedReceiver<Push>>;
    /// The queue of messages has been emptied. A link whose queue grows beyond bounds is given up.
    fn drained(&self);
}
