//! Every bound of the crate, each with its reason. Those that an application may set are defaults of [`Config`](crate::Config).

use std::time::Duration;

/// Bytes of one inbound message. A command is small; what is large belongs into the database, and its key into the message.
pub const MESSAGE_BYTES: usize = 64 << 10;
/// Bytes of a command for an event stream with `conn` and `secret` beside it: with what is put around it on the way to another node it has
/// to fit into the 64 KiB that nodes tell each other at once.
pub const COMMAND_BYTES: usize = MESSAGE_BYTES - 128;
/// Bytes of the command itself, as `hello` tells the client.
pub const STREAM_MESSAGE_BYTES: usize = COMMAND_BYTES - 128;
/// Bytes that are read of a WebSocket without a whole message: the largest one in small parts, each of which has a head.
pub const UNFINISHED_BYTES: usize = 4 * MESSAGE_BYTES;
/// Bytes that may wait for one connection. Beyond it the client is too slow: it recovers by position what it missed.
pub const QUEUE_BYTES: usize = 256 << 10;
/// Frames that may wait for one connection: small ones cost more than their bytes.
pub const QUEUE_FRAMES: usize = 1024;
/// How long nothing may be written to a connection for which something waits.
pub const WRITE_STALL: Duration = Duration::from_secs(10);
/// How long a connection may take to sign in.
pub const SIGN_IN: Duration = Duration::from_secs(10);
/// How long a client may take to answer a close, or to take it: then the connection is cut.
pub const CLOSING: Duration = Duration::from_secs(5);
/// Bytes that are read and thrown away while a connection is being closed: a client that is sending shall see the close code
/// and not a reset.
pub const CLOSING_BYTES: usize = 1 << 20;
/// Silence after which the server pings, give or take a fifth: below the minute after which NAT and proxies forget connections.
pub const PING: Duration = Duration::from_secs(25);
/// Silence after which a peer counts as dead: a ping and a slow answer.
pub const SILENCE: Duration = Duration::from_secs(35);
/// Silence after which a comment is sent on an event stream, for proxies that close idle responses.
pub const HEARTBEAT: Duration = Duration::from_secs(15);
/// How long a connection may live on after its token has run out, for a new one to come.
pub const TOKEN_GRACE: Duration = Duration::from_secs(25);
/// Rooms of one connection, aside of `tenant` and its own user's.
pub const ROOMS: usize = 128;
/// Bytes of a room's name. It stands in every event of the room.
pub const ROOM_BYTES: usize = 200;
/// Patterns in a token's claim that are looked at; a token is a few KiB at most.
pub const PATTERNS: usize = 128;
/// Bytes of a user's id in a token: it stands in every message of the user's.
pub const USER_BYTES: usize = 128;
/// Bytes of what a token says about its user to others.
pub const INFO_BYTES: usize = 1 << 10;
/// Bytes of what nodes share, at least.
pub const SECRET_BYTES: usize = 16;
/// Ids of tokens that are known of a connection, by which it can be kicked: whoever has a token for an hour is renewed for a working day.
pub const TOKEN_IDS: usize = 8;
/// Bytes of a token: a header line of 8 KiB is what servers take.
pub const TOKEN_BYTES: usize = 8 << 10;
/// Bytes of a client's idempotency key: a UUID and something.
pub const KEY_BYTES: usize = 64;
/// Commands of one connection at once.
pub const COMMAND_BURST: u32 = 40;
/// Commands of one connection a second, in the long run.
pub const COMMANDS_PER_SECOND: u32 = 20;
/// Logged messages of one user at once, on one node, whatever number of connections they have.
pub const USER_PUBLISH_BURST: u32 = COMMAND_BURST;
/// Logged messages of one user a second, in the long run: each takes one of the places that the log keeps for all of the tenant.
pub const USER_PUBLISHES_PER_SECOND: u32 = COMMANDS_PER_SECOND;
/// Text pings a second that are no commands.
pub const PINGS_PER_SECOND: u32 = 1;
/// Bad messages in a row before the peer is taken for something else than a client.
pub const BAD_IN_A_ROW: u8 = 5;
/// Commands of one connection that wait for the log at once; beyond it the client is told so.
pub const PENDING: usize = 32;
/// Events that are replayed to a connection: more is quicker read anew.
pub const RECOVERY_EVENTS: usize = 300;
/// Bytes that are replayed to a connection: what may wait for it must hold them, and what happens meanwhile.
pub const RECOVERY_BYTES: usize = 1 << 20;
/// Events of one `history` answer.
pub const HISTORY_EVENTS: usize = 100;
/// Bytes of one `history` answer: less than may wait for a connection.
pub const HISTORY_BYTES: usize = 128 << 10;
/// Connections of one node. Each costs a descriptor and about 10 KB.
pub const NODE_CONNECTIONS: usize = 18_000;
/// Connections of one tenant on one node.
pub const TENANT_CONNECTIONS: usize = 10_000;
/// Connections of one user of one tenant on one node: tabs and devices.
pub const USER_CONNECTIONS: usize = 20;
/// Connections that a node takes a second: more are told to come later, since each has a token to be verified.
pub const CONNECTS_PER_SECOND: u32 = 2000;
/// Connections that a node takes a second from one address: an office, or a balancer in which nobody trusts.
pub const ADDRESS_CONNECTS_PER_SECOND: u32 = 500;
/// WebSockets of one node that have not signed in yet: a tenth of its places, so that nobody without a token takes those of who has one.
pub const UNSIGNED_CONNECTIONS: usize = NODE_CONNECTIONS / 10;
/// WebSockets of one address that have not signed in yet.
pub const ADDRESS_UNSIGNED_CONNECTIONS: usize = 500;
/// Members that a presence answer lists; beyond it only their number is told.
pub const PRESENCE_MEMBERS: usize = 100;
/// Rooms of whose presence one user was the first to be told, on one node: all that one connection can be in.
pub const USER_PRESENCE_ROOMS: usize = ROOMS + 2;
/// Rooms with presence of one tenant on one node.
pub const PRESENCE_ROOMS: usize = 1000;
/// Rooms in which others see a connection, or saw it within [`PRESENCE_LEAVE`]: as many as it may be in, twice over.
pub const STAYS: usize = 2 * (ROOMS + 2);
/// How long changes of presence are gathered before they are sent.
pub const PRESENCE_BATCH: Duration = Duration::from_secs(1);
/// How long somebody who left is still there: a page that is loaded anew must not flap.
pub const PRESENCE_LEAVE: Duration = Duration::from_secs(5);
/// How often a node says again who is there.
pub const PRESENCE_REFRESH: Duration = Duration::from_secs(25);
/// How long a ticket is good for.
pub const TICKET: Duration = Duration::from_secs(30);
/// For how long other nodes are told that a ticket was taken: by their clocks it may be good for longer.
pub const TICKET_TAKEN: Duration = Duration::from_secs(120);
/// Bytes of a ticket: it stands in a URL, and proxies cut at 8 KiB.
pub const TICKET_BYTES: usize = 6 << 10;
/// Tickets of one user at once: one for each connection that they may have.
pub const USER_TICKETS: u32 = 20;
/// Tickets of one user a second, in the long run.
pub const USER_TICKETS_PER_SECOND: u32 = 2;
/// Tickets of one tenant at once, which all come back at the same moment.
pub const TENANT_TICKETS: u32 = 10_000;
/// Tickets of one tenant a second, in the long run.
pub const TENANT_TICKETS_PER_SECOND: u32 = 500;
/// Tickets that are good on this node only and were taken here. About 100 bytes each.
pub const TICKETS_TAKEN: usize = 65_536;
/// Commands of one user that a node passes on to others at once.
pub const FORWARDED: u32 = 80;
/// Commands of one user that a node passes on to others a second, in the long run: those of two connections.
pub const FORWARDED_PER_SECOND: u32 = 40;
/// Commands of one tenant that a node passes on to others at once, and as many a second: Redis tells them to every node.
pub const TENANT_FORWARDED_PER_SECOND: u32 = 1000;
/// Users, tenants or addresses whose rate is counted each by itself.
pub const RATE_KEYS: usize = 10_000;
/// Shares of a rate for those beyond that.
pub const RATE_SHARED: u64 = 64;
/// How long the connections of a node are spread over when it goes away.
pub const DRAIN: Duration = Duration::from_secs(20);
/// How long a tenant's log is followed on after its last connection has gone: who comes back finds it in memory.
pub const LINGER: Duration = Duration::from_secs(60);
/// Bytes that the kernel holds of what a client does not read. It would take megabytes by itself, and hide that the client is slow.
pub const SEND_BUFFER: usize = 64 << 10;
/// Bytes that are read from a socket at once. The default of the WebSocket library is 128 KiB for each connection.
pub const READ_BUFFER: usize = 4 << 10;
/// Bytes that are gathered before a write: one page of small events.
pub const WRITE_BUFFER: usize = 4 << 10;
/// Bytes that the WebSocket layer may hold of what can't be written: the largest frame and what was before it.
pub const MAX_WRITE_BUFFER: usize = QUEUE_BYTES + MESSAGE_BYTES;
