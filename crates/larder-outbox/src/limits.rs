//! Every bound of the outbox, each with its reason. Those of an event are the engine's: [`larder::limits`].

use std::time::Duration;

/// Bytes of what an event invalidates, as JSON: a thousand selectors of usual length. More are a tag or a prefix.
pub const MAX_INVALIDATES_BYTES: usize = 128 * 1024;
/// Events of one transaction and tenant.
pub const MAX_EVENTS: usize = 1000;
/// Keys that a trigger names. Beyond it the event stands for the whole table: whoever changes this many rows changes lists.
pub const MAX_TRIGGER_KEYS: usize = 100;
/// Bytes of all keys that a trigger names, for the same reason; half of [`larder::limits::MAX_EVENT_BYTES`], since JSON escapes.
pub const MAX_TRIGGER_KEY_BYTES: usize = 32 * 1024;
/// Bytes of an identifier in PostgreSQL; it cuts longer ones, and two would then be one.
pub const MAX_IDENTIFIER_BYTES: usize = 63;
/// Older rows of a tenant behind which an event may still be published past the relay. Beyond it the relay is at work.
pub const MAX_OLDER: usize = 1000;
/// Rows that are read at once.
pub const MAX_PAGE_ROWS: usize = 500;
/// Bytes that are read at once, the first row aside.
pub const MAX_PAGE_BYTES: usize = 8 << 20;
/// Pages that are read before what was read is waited for.
pub const MAX_PAGES: usize = 8;
/// Tenants whose rows are published at the same time. Rows of one tenant follow one another.
pub const MAX_TENANTS_AT_ONCE: usize = 64;
/// Tenants that may wait for Redis before others are not tried any more: by then it is out of reach for all, and each of
/// them has an invalidation in the engine's journal.
pub const MAX_STALLED_TENANTS: usize = 1000;
/// Rows that are kept aside; beyond it the oldest are deleted. They are for people to look at.
pub const MAX_DEAD_ROWS: usize = 10_000;
/// How far rows that wait are counted: counting a million takes a second.
pub const MAX_COUNTED_ROWS: usize = 10_000;
/// Events that this process publishes by itself at the same time. What comes beyond is left to the relay.
pub const MAX_DIRECT: usize = 10_000;
/// How long the process that wrote a row has for publishing it before the relay does. Two leases: what is slow for a reason
/// (a node that does not answer) is over by then.
pub const DIRECT_GRACE: Duration = Duration::from_secs(2);
/// The longest grace. What is to wait for longer, or was written by a clock that has been set back since, waits for nobody: a
/// row that is published twice is one event, and a row that is held holds up its tenant.
pub const MAX_GRACE: Duration = Duration::from_secs(3_600);
/// How often a busy relay looks for rows.
pub const POLL_BUSY: Duration = Duration::from_millis(20);
/// How often an idle relay looks for rows.
pub const POLL_IDLE: Duration = Duration::from_millis(250);
/// Statements on each of two connections by which a pooler in transaction mode gives itself away: an idle one does with the first, a
/// busy one with the second as a rule, and every count of what waits looks again.
pub const PROBES: usize = 3;
/// How often a process that does not relay asks whether it may.
pub const LOCK_EVERY: Duration = Duration::from_secs(1);
/// How long a row lease lasts, which is how long a relay that was killed is waited for. It is renewed after a third.
pub const LEASE: Duration = Duration::from_secs(10);
/// A relay that says nothing for so long (a process that stands still, a host that is gone) is disconnected by PostgreSQL,
/// and loses its lock.
pub const LOCK_SILENCE: Duration = Duration::from_secs(15);
/// How long a published row may take to enter its tenant's log before others get its place among those at once.
pub const SLOW: Duration = Duration::from_secs(3);
/// How long a tenant's rows rest after a failure that is neither theirs nor that of Redis.
pub const REST: Duration = Duration::from_secs(1);
/// How long a shutdown waits for what is being published.
pub const FAREWELL: Duration = Duration::from_secs(1);
/// How long a statement of the relay may take.
pub const STATEMENT: Duration = Duration::from_secs(10);
/// The longest pause after a failure of the database.
pub const MAX_BACKOFF: Duration = Duration::from_secs(5);
/// How often what waits is counted.
pub const COUNT_EVERY: Duration = Duration::from_secs(5);
