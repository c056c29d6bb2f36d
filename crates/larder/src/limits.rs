//! Every bound of the engine, each with its reason.

use std::time::Duration;

/// Bytes of an encoded key. Keys are held per entry and compared on every hit; 1 KiB is far beyond any honest one.
pub const MAX_KEY_BYTES: usize = 1024;
/// Bytes of a tenant's name. It stands in every key, message and metric label.
pub const MAX_TENANT_BYTES: usize = 128;
/// Tags of one entry. Each is compared on a hit after a change, and carried in the envelope's header.
pub const MAX_TAGS: usize = 32;
/// Bytes of a tag.
pub const MAX_TAG_BYTES: usize = 256;
/// Segment prefixes of a key that are scopes; a longer prefix is widened to this many segments.
pub const MAX_PREFIX_SEGMENTS: usize = 8;
/// The longest time any entry is kept, stale time included. Redis forgets invalidations older than this.
pub const MAX_KEEP: Duration = Duration::from_secs(30 * 24 * 3600);
/// The longest hard time-out of a load: one that hangs has a place, and keeps everybody else from loading, for so long.
pub const MAX_LOAD_TIMEOUT: Duration = Duration::from_secs(3600);
/// The longest time for which a failed load keeps others from loading: it ends by itself, since nobody may be left who
/// would end it.
pub const MAX_COOLDOWN: Duration = Duration::from_secs(3600);
/// The largest factor of eager refreshing: beyond it values would be loaded again as soon as they are there.
pub const MAX_EAGERNESS: f32 = 10.0;
/// Failed loads that a node remembers while they cool down. Beyond it a failure is not remembered here; where there is
/// Redis, it remembers.
pub const MAX_FAILURES: usize = 10_000;
/// Bytes that a compressed payload may expand to: a corrupt size must not allocate the machine away.
pub const MAX_PAYLOAD_BYTES: usize = 64 << 20;
/// Scopes that the coherence state does not hold yet, which one tenant may bring there from one node in
/// [`TENANT_NEW_SCOPES_EVERY`]. Beyond it its invalidations are widened to the whole tenant: Redis forgets the oldest
/// scopes of all tenants when there are too many, and drops with them what they may have concerned.
pub const TENANT_NEW_SCOPES: usize = 10_000;
/// See [`TENANT_NEW_SCOPES`].
pub const TENANT_NEW_SCOPES_EVERY: Duration = Duration::from_secs(60);
/// Loaders of one tenant that run at once on one node, unless set otherwise: half of all.
pub const TENANT_LOADS: usize = MAX_CONCURRENT_LOADS / 2;
/// Rules (invalidations by a pattern) of one tenant that a node remembers. Each is matched against an entry on its first
/// hit after a change. Beyond it the oldest counts as matching everything of the tenant.
pub const MAX_TENANT_RULES: usize = 64;
/// Rules of all tenants that a node remembers.
pub const MAX_RULES: usize = 4096;
/// Bytes of a pattern: those of a key.
pub const MAX_PATTERN_BYTES: usize = MAX_KEY_BYTES;
/// Buckets of a cache, and parts of a spread tenant: each has a coherence state, a stream and heartbeats.
pub const MAX_BUCKETS: u16 = 64;
/// Selectors of one invalidation: one message on the coherence stream.
pub const MAX_SELECTORS: usize = 1000;
/// Keys of one bulk call: one pipeline.
pub const MAX_BULK_KEYS: usize = 1000;
/// Loads in flight on one node. Beyond it a caller gets `TooManyLoads` at once instead of a longer queue.
pub const MAX_FLIGHTS: usize = 100_000;
/// Loaders that run at once on one node; further flights wait for a place within their time-out.
pub const MAX_CONCURRENT_LOADS: usize = 1000;
/// Reads in a row whose hits in Redis had no tag that the call did not name, after which calls for keys with the same first
/// segment (those that name tags and those that name none apart) ask for no such tags, until one is met. That read takes a
/// second round trip.
pub const PLAIN_AFTER: u8 = 64;
/// Entries of one read of Redis of which it is asked for tags that the call does not name: some microseconds each, in which it
/// serves nobody else. Of more at once, those that have such tags take a second round trip.
pub const MAX_TAGS_OF_ENTRIES: usize = 32;
/// Scopes that the mirror remembers. Beyond it the older half is forgotten, and what it could have guarded is dropped: at the
/// next heartbeat or invalidation of this node's, and at once where there are twice as many.
pub const MAX_MIRROR_SCOPES: usize = 65_536;
/// Scopes of undelivered invalidations that stay blocked one by one; beyond it everything is blocked as one. They can't be
/// forgotten, so they must leave room in the mirror for those that can.
pub const MAX_UNDELIVERED: usize = 10_000;
/// Pairs of tenant and endpoint that are counted apart; the rest is counted by endpoint only.
pub const MAX_COUNTERS: usize = 10_000;
/// Endpoints of that rest that are counted apart. An application has some dozens; who makes up more is counted as one.
pub const MAX_OTHER_ENDPOINTS: usize = 256;
/// Tenants whose evictions and invalidations are remembered, those aside that hold something in memory.
pub const MAX_ACCOUNTS: usize = 10_000;
/// Events that a slow subscriber may fall behind before it is told that it missed some.
pub const EVENT_BACKLOG: usize = 4096;
/// Invalidations and events of this process that it can tell of: some screens full, for people.
pub const RECENT_CHANGES: usize = 200;
/// Invalidations that came over the stream, own ones included, of which it can tell: a few words each.
pub const RECENT_HEARD: usize = 256;
/// What one of these is told to have covered; of the rest only the number.
pub const RECENT_SELECTORS: usize = 6;
/// Bytes of an event's data, encoded. It is sent to every connection of a tenant: what is larger is to be read again.
pub const MAX_EVENT_BYTES: usize = 64 << 10;
/// Bytes of an event's kind.
pub const MAX_KIND_BYTES: usize = 128;
/// Bytes of a room's name.
pub const MAX_ROOM_BYTES: usize = 200;
/// Bytes of an event's idempotency key, and of the id of what it changed.
pub const MAX_EVENT_ID_BYTES: usize = 256;
/// Bytes of a user's name in an event.
pub const MAX_SENDER_BYTES: usize = 128;
/// Events of one tenant that can be recovered, by anybody who comes back within [`EVENT_HISTORY_TTL`]. A reconnect storm
/// after a deployment is over within seconds, in which few tenants have more.
pub const EVENT_HISTORY: usize = 1000;
/// Bytes of recent events of one tenant that Redis keeps, and one batch more: beyond it the oldest go, as beyond their number.
pub const EVENT_HISTORY_BYTES: usize = 4 << 20;
/// How long after the last event of a tenant its history is kept.
pub const EVENT_HISTORY_TTL: Duration = Duration::from_secs(300);
/// How long a tenant's log keeps its epoch without an event. Who comes back later is told to start anew.
pub const EVENT_LOG_TTL: Duration = Duration::from_secs(30 * 24 * 3600);
/// How long an idempotency key is remembered: longer than the takeover of a relay that died between the log and its
/// outbox.
pub const IDEMPOTENCY_TTL: Duration = Duration::from_secs(600);
/// Idempotency keys of one tenant that a log in memory remembers; beyond it the oldest is forgotten.
pub const IDEMPOTENCY_KEYS: usize = 100_000;
/// Bytes of recent events of one tenant that a node keeps for its watchers. Beyond it the oldest go, and who still needs
/// them asks Redis, or starts anew.
pub const MAX_RING_BYTES: usize = 4 << 20;
/// The same of all tenants together, with the messages that wait for their watchers. Beyond it the tenant that has an event pays
/// with its own oldest.
pub const MAX_RINGS_BYTES: usize = 128 << 20;
/// Tenants whose log a node follows or holds. Beyond it those without a watcher make way, the longest idle first.
pub const MAX_LOGS: usize = 65_536;
/// Messages without a place in the log that wait for a slow watcher of a tenant; beyond it the oldest are lost.
pub const MAX_SIGNALS: usize = 1024;
/// Bytes of those of one tenant; those of all tenants count with their recent events (`MAX_RINGS_BYTES`).
pub const MAX_SIGNALS_BYTES: usize = 1 << 20;
/// Bytes of such a message.
pub const MAX_SIGNAL_BYTES: usize = 64 << 10;
/// Events of one tenant that wait on one node for their place in the log: for acknowledgements, or for Redis to come back.
/// Beyond it they are dropped and the log begins a new epoch, so that everybody starts anew.
pub const MAX_WAITING_EVENTS: usize = 10_000;
/// Bytes of them.
pub const MAX_WAITING_BYTES: usize = 16 << 20;
/// Events of all tenants together that wait so. A task waits with each whose invalidation is not acknowledged.
pub const MAX_ALL_WAITING_EVENTS: usize = 100_000;
/// Bytes of those of all tenants together. Beyond it the tenant that brings one more is the one that starts anew.
pub const MAX_ALL_WAITING_BYTES: usize = 128 << 20;
/// Events that enter the log in one step: nobody else is served by Redis meanwhile.
pub const MAX_APPEND_EVENTS: usize = 64;
/// Bytes of them; one event may have more.
pub const MAX_APPEND_BYTES: usize = 256 << 10;
/// Events that one call reads from the log.
pub const MAX_REPLAY_EVENTS: usize = 1000;
/// Bytes that one call reads from the log; one event may have more.
pub const MAX_REPLAY_BYTES: usize = 4 << 20;
/// Members of a room that one call names; all are counted. A list is for people, who read no more.
pub const MAX_MEMBERS: usize = 1000;
/// Connections in one room of one tenant. What is beyond is not among those present.
pub const MAX_ROOM_CONNECTIONS: usize = 20_000;
/// Bytes of what a member tells of itself, encoded.
pub const MAX_MEMBER_INFO_BYTES: usize = 1024;
/// Names that are taken at a time, where there is no Redis: about 100 bytes each.
pub const MAX_CLAIMS: usize = 65_536;
/// Bytes of a name that is taken: a random word and what it is of.
pub const MAX_CLAIM_NAME_BYTES: usize = 128;
/// How long a name may be taken: whatever must happen once has happened by then.
pub const MAX_CLAIM_TTL: Duration = Duration::from_secs(600);
/// How long somebody is counted as present without being refreshed: a node that died takes its members with it.
pub const PRESENCE_TTL: Duration = Duration::from_secs(60);
