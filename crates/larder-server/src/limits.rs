//! The sizes of the server that nobody configures, each with its reason.

use std::time::Duration;

/// Connections held open at a time; beyond it new ones wait in the kernel's queue. Far above `MAX_CONCURRENT_REQUESTS`, so that
/// idle keep-alive connections don't keep working ones out, and below the usual descriptor limit of a service (65,536).
pub(crate) const CONNECTIONS: usize = 16_384;
/// Connections the kernel queues before we accept them: a burst of 1,000 clients must not be refused.
pub(crate) const BACKLOG: u32 = 4096;
/// How long a client may take to send the head of a request, and leave a connection idle before it: slow ones would hold connections
/// for ever. Longer than load balancers keep theirs (60 s), so that it is they who close.
pub(crate) const HEAD_TIMEOUT: Duration = Duration::from_secs(75);
/// How long a client may leave unread what was sent to it, or not answer at all: after that the system ends the connection. A phone that
/// changes its network is back sooner.
pub(crate) const SEND_TIMEOUT: Duration = Duration::from_secs(60);
/// Bytes that the system holds of what was not sent yet, for each connection: it would take megabytes of what a client does not read.
#[cfg(any(target_os = "linux", target_os = "android"))]
pub(crate) const UNSENT: u32 = 64 << 10;
/// How long a body may pause between two pieces.
pub(crate) const BODY_PAUSE: Duration = Duration::from_secs(30);
/// How long requests in flight may take to finish after a signal.
pub(crate) const GRACE: Duration = Duration::from_secs(30);
/// How long idle connections of a proxy stay open after a signal: longer than it keeps idle ones (nginx.conf says 4 s).
pub(crate) const LINGER: Duration = Duration::from_secs(5);
/// An ordinary request body.
pub(crate) const BODY_BYTES: usize = 1 << 20;
/// The body of an import.
pub(crate) const IMPORT_BYTES: usize = 10 << 20;
/// Bytes of a refused body that are still read, so that a client which is sending gets to see why it was refused.
pub(crate) const DRAIN_BYTES: usize = 32 << 20;
/// How long that reading may take.
pub(crate) const DRAIN_TIME: Duration = Duration::from_secs(5);
/// Client addresses whose rate is counted each by itself; about 100 bytes each.
pub(crate) const RATE_KEYS: usize = 65_536;
/// What the addresses beyond those share, by hash.
pub(crate) const RATE_SHARED_KEYS: u64 = 4096;
/// A request id that a client sent is taken only up to this length, since it goes into every log line.
pub(crate) const REQUEST_ID_BYTES: usize = 128;
/// Responses smaller than this gain nothing from compression.
pub(crate) const COMPRESS_FROM: u64 = 256;
/// Text of a plain error that is passed on in a problem's detail.
pub(crate) const DETAIL_BYTES: usize = 1024;
/// Log lines that wait for standard error, some 250 bytes each: a burst of a second, 4 MB. Beyond it they are dropped.
pub(crate) const LOG_BACKLOG: usize = 16_384;
