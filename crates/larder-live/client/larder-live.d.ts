/** Live events of a larder server in a browser: the protocol `larder.v1` over WebSocket, or server-sent events where those are blocked. */

/** Why a token is asked for: `expired` and `refresh` want another one than last time. */
export type TokenReason = 'connect' | 'refresh' | 'expired';

export type Transport = 'websocket' | 'sse';

export interface Options {
  /** Of which tenant; the token has to be of the same. */
  tenant: string;
  /** The bearer token, asked for before every connection and before the last one expires. `null` (signed out) ends the client; an error is tried again. */
  token: (why: { reason: TokenReason }) => string | null | undefined | Promise<string | null | undefined>;
  /** Where the server is, with its path if it has one. Default: where the page came from. */
  url?: string | URL;
  /** The position from which to go on: a `position` of an earlier page. Without one the client begins with `reset`, reason `start`. */
  position?: string | null;
  /** What may be used, the best first. Default: both. */
  transports?: Transport[];
  /** How long token and handshake may take together, in milliseconds. Default 10,000. */
  connectTimeoutMs?: number;
  /** How long an answer to a command is waited for, lost connections included, in milliseconds. Default 15,000. */
  commandTimeoutMs?: number;
}

/** Something happened. A change's room is `tenant`; a direct message's is `user:ID` and its kind `message`. */
export interface LiveEvent<Data = any> {
  /** `message` is an ephemeral one. */
  type: 'event' | 'message';
  room: string;
  kind: string;
  /** What happened. */
  data: Data;
  /** When it was published, in milliseconds since 1970. An ephemeral message has neither this nor what follows up to `replay`. */
  ts?: number;
  /** Its place in the tenant's log. */
  epoch?: string;
  offset?: number;
  /** The same for the same change, whatever happens on the way. */
  eid?: string;
  /** It was missed and comes late. */
  replay?: boolean;
  /** The user who published it, if a user did. */
  from?: string;
}

/** What the application has may be out of date: drop it and read again. `start` is the first of a client without a position. */
export interface Reset {
  reason: 'start' | 'epoch' | 'window' | 'limit' | 'forced' | (string & {});
  epoch: string;
  offset: number;
}

export type StateName =
  /** A token is fetched, a connection is made. */
  | 'connecting'
  /** Connected; what was missed is coming, if anything was. */
  | 'syncing'
  /** Connected, and nothing is missing. */
  | 'live'
  /** Not connected; tried again in `retryMs`. */
  | 'waiting'
  /** Not connected, and not tried again before `connect()`. */
  | 'closed';

export interface State {
  name: StateName;
  transport: Transport | null;
  /** In `waiting`: when the next attempt is made, in milliseconds from the change of state. */
  retryMs?: number;
  /** Why the last connection ended: the WebSocket's close code; 0 where there is none. */
  code?: number;
  reason?: string;
}

export interface Member {
  user: string;
  /** In how many windows, when the list was last asked for: who opens another one has not joined anew. */
  conns?: number;
  /** What the user's token says of the user. */
  info?: any;
}

export interface Presence {
  room: string;
  members: Member[];
  total: number;
  /** There are more than are listed; count them, don't list them. */
  truncated: boolean;
}

export interface PublishOptions {
  /** The same key twice is one message. Made where it is missing, so that sending again after a lost connection is safe. */
  key?: string;
  /** Only who listens now gets it; it may be dropped and has no position. Not sent later if there is no connection. */
  ephemeral?: boolean;
}

/** Where the message came to stand; nothing for an ephemeral one. */
export interface Published {
  offset?: number;
}

export interface HistoryOptions {
  /** After this position (`epoch:offset`): a `position` of before, or that of an event. What the log keeps no more is `unrecoverable`. */
  since: string;
  /** At most so many. */
  limit?: number;
}

export interface History {
  events: LiveEvent[];
  /** There are more: ask again since the last one. */
  more: boolean;
}

export interface Joined {
  /** From which offset on; absent where the server did not say. */
  offset?: number;
  /** Nothing was missed since the last connection. Otherwise read again what the room is about. */
  recovered: boolean;
}

export interface LiveEvents {
  event: LiveEvent;
  state: State;
  reset: Reset;
  /** The server refused something, a token could not be fetched, a listener threw. Nothing has to be done. */
  error: LiveError | Error;
}

export interface RoomEvents {
  event: LiveEvent;
  joined: Joined;
  presence: Presence;
  /** The server refused the room, also because a new token does not allow it: it is left. With `presence_limit` it is not, but its presence is not told. */
  error: LiveError;
}

/** What a command failed with. */
export class LiveError extends Error {
  constructor(code: string, message: string, retry?: boolean, retryAfterMs?: number | null);
  /** `forbidden`, `bad_request`, `limit`, … as the server says; here: `timeout` (it may have been done), `offline`, `closed`, `too_many`, `too_large`. */
  code: string;
  /** Whether the same may succeed later. */
  retry: boolean;
  retryAfterMs: number | null;
}

/** A room that was joined. It is joined again by itself at every connection. */
export class Room {
  private constructor();
  readonly name: string;
  /** Who is here, as far as known. */
  readonly presence: Presence;
  /** Calls `listener` until the function that it returns is called. */
  on<Name extends keyof RoomEvents>(name: Name, listener: (value: RoomEvents[Name]) => void): () => void;
  publish(data: unknown, options?: PublishOptions): Promise<Published>;
  history(options: HistoryOptions): Promise<History>;
  /** Leaves it, and forgets its listeners. */
  leave(): void;
}

export class LarderLive {
  /** Does nothing before `connect()`. */
  constructor(options: Options);
  readonly state: State;
  /** Up to where everything has been seen, as `epoch:offset`; `null` before the first connection. */
  readonly position: string | null;
  /** What has been received and dropped since the beginning. */
  readonly stats: { events: number; duplicates: number; resets: number; connections: number };
  /** Connects, and stays connected. Does nothing where it is already at it. */
  connect(): this;
  /** Ends the connection; commands without an answer fail with `closed`. No timer, listener or socket is left. `connect()` goes on from the position. */
  close(): void;
  /** Calls `listener` until the function that it returns is called. */
  on<Name extends keyof LiveEvents>(name: Name, listener: (value: LiveEvents[Name]) => void): () => void;
  /** The same for events of this kind: `campaign.created`, or `campaign.*`. */
  onKind(pattern: string, listener: (event: LiveEvent) => void): () => void;
  /** Joins a room, with `presence: true` to be told who else is in it. The same name gives the same room. */
  join(name: string, options?: { presence?: boolean }): Room;
  publish(room: string, data: unknown, options?: PublishOptions): Promise<Published>;
  /** To all windows of one user. */
  send(user: string, data: unknown, options?: PublishOptions): Promise<Published>;
  history(room: string, options: HistoryOptions): Promise<History>;
}
