// @ts-check
/**
 * Live events of a larder server in a browser: the protocol `larder.v1` over WebSocket, or server-sent events where those are
 * blocked. What is offered is described in larder-live.d.ts, how to use it in README.md.
 */

/** @typedef {import('./larder-live.d.ts').Options} Options */
/** @typedef {import('./larder-live.d.ts').Transport} Transport */
/** @typedef {import('./larder-live.d.ts').StateName} StateName */
/** @typedef {Record<string, any>} Message what the server or the client says: one JSON object a frame */
/** @typedef {{epoch: string, offset: number}} Position */
/** @typedef {{message(m: Message): void, text(text: string, type?: string): void, lost(code: number, reason?: string, retryMs?: number): void}} Heard */
/** @typedef {{send(text: string): void, close(): void, buffered(): number, hello(m: Message): void, token: string}} Link */
/** @typedef {{text: string, keep: boolean, timer: any, resolve(m: Message): void, reject(error: Error): void}} Command */

const PROTOCOL = 'larder.v1';
/** Together with the time for the token; the server waits as long for a sign-in. */
const CONNECT_MS = 10_000;
/** Long enough for a lost connection to be noticed and made again. */
const COMMAND_MS = 15_000;
/** How much longer than the server's pause between pings a silence is believed. */
const GRACE_MS = 10_000;
/** An answer to `ping` that takes longer does not come. */
const PROBE_MS = 5_000;
/** A connection that lasted as long was a good one: the next back-off begins anew. */
const STEADY_MS = 5_000;
/** The next attempt is at least `STEP_MS` and at most `BACKOFF_MS` away. */
const STEP_MS = 500;
const BACKOFF_MS = 20_000;
/** Where the tenant has all the connections it may have. */
const FULL_MS = 30_000;
/** Nobody is kept away for longer, whatever is said. */
const AWAY_MS = 600_000;
/** Tokens are not asked for more often than this, unless the server says that one has expired. */
const REFRESH_MS = 10_000;
/** Commands without an answer. */
const COMMANDS = 256;
/** Bytes that the browser has not sent yet. */
const BUFFERED = 1 << 20;
/** Where the server does not say how long a message may be. */
const MESSAGE_BYTES = 65_536;
/** Ids of the last changes: a relay that died at work may send one twice. */
const SEEN = 1000;
/** Differences of presence that wait for their snapshot. */
const DIFFS = 32;
/** Members that are listed; the rest is counted. */
const MEMBERS = 500;
/** Names of rooms in a URL; proxies cut at 8 KiB. Longer ones go in the first message. */
const QUERY_CHARS = 2000;
/** Connections that did not come about before another transport is tried. */
const MISSES = 2;

const CLOSED = 4500;
const EXPIRED = 4002;
const FORBIDDEN = 4503;
const FULL = 4008;
/** What a server-sent event may be called. */
const TYPES = ['hello', 'event', 'message', 'synced', 'reset', 'ping', 'bye', 'presence', 'presence_diff', 'history', 'ok', 'error'];

/** What a command is refused for, by the status. @type {Record<number, string>} */
const REFUSED = { 401: 'unauthorized', 403: 'forbidden', 413: 'too_large' };

/** Coming back would end in the same way: one of both sides does not keep to the protocol, or the server said so. */
const isTerminal = (/** @type {number} */ code) => code >= 4500 || [1002, 1003, 1007, 1009].includes(code);

export class LiveError extends Error {
  /** @param {string} code @param {string} message @param {boolean} [retry] @param {number | null} [retryAfterMs] */
  constructor(code, message, retry = false, retryAfterMs = null) {
    super(message);
    this.name = 'LiveError';
    this.code = code;
    this.retry = retry;
    this.retryAfterMs = retryAfterMs;
  }
}

/** Who listens to what. */
class Listeners {
  /** @param {any} env */
  constructor(env) {
    this.env = env;
    /** @type {Map<string, Set<Function>>} */
    this.sets = new Map();
  }

  /** @param {string} name @param {Function} listener */
  add(name, listener) {
    // A listener of its own for each call, so that the same function can be added twice.
    const call = (/** @type {any} */ value) => listener(value);
    const set = this.sets.get(name) ?? new Set();
    this.sets.set(name, set.add(call));
    return () => {
      set.delete(call);
      if (!set.size && this.sets.get(name) === set) this.sets.delete(name);
    };
  }

  /** One that throws takes nothing from the others. @param {string} name @param {any} value */
  call(name, value) {
    for (const listener of [...(this.sets.get(name) ?? [])]) {
      try {
        listener(value);
      } catch (error) {
        if (this.env.reportError) this.env.reportError(error);
        else this.env.console.error(error);
      }
    }
  }
}

/** @param {string} text */
function base64url(text) {
  const bytes = String.fromCharCode(...new TextEncoder().encode(text));
  return btoa(bytes).replace(/\+/g, '-').replace(/\//g, '_').replace(/=+$/, '');
}

/** `crypto.randomUUID` is missing on pages without TLS. @param {any} env */
function randomKey(env) {
  return [...env.crypto.getRandomValues(new Uint8Array(16))].map((byte) => byte.toString(16).padStart(2, '0')).join('');
}

/** @param {string | null | undefined} text @returns {Position | null} */
function readPosition(text) {
  const [, epoch, offset] = /^(.+):(\d+)$/.exec(text ?? '') ?? [];
  return epoch ? { epoch, offset: Number(offset) } : null;
}

/** @param {Position} position */
const writePosition = ({ epoch, offset }) => `${epoch}:${offset}`;

/**
 * A WebSocket. @param {any} env @param {URL} url @param {string[]} protocols @param {string} token
 * @param {Message | null} first what is said at once @param {Heard} on
 * @returns {Link}
 */
function webSocket(env, url, protocols, token, first, on) {
  const socket = new env.WebSocket(url.href, protocols);
  socket.onopen = () => first && socket.send(JSON.stringify(first));
  socket.onmessage = (/** @type {any} */ { data }) => typeof data === 'string' && on.text(data);
  socket.onclose = (/** @type {any} */ { code, reason }) => on.lost(code, reason);
  return {
    token,
    send: (text) => socket.readyState === 1 && socket.send(text),
    buffered: () => socket.bufferedAmount,
    hello() {},
    close() {
      // What it still says is of no interest: closing can take as long as the network is away.
      socket.onopen = socket.onmessage = socket.onclose = null;
      socket.close(1000);
    },
  };
}

/**
 * Server-sent events, with commands by POST. EventSource can't send a token, so a ticket is fetched for it, which is good for one
 * connection: each is made here, never by the browser. @param {any} env @param {(path: string) => URL} at where a path of the tenant is
 * @param {Record<string, string>} query @param {string} token @param {boolean} fresh whether the token is a new one @param {Heard} on
 * @returns {Link}
 */
function eventStream(env, at, query, token, fresh, on) {
  const abort = new AbortController();
  /** @type {any} */
  let source = null;
  /** @type {Message} */
  let who = {};
  /** One after the other, so that they arrive in their order. */
  let sending = Promise.resolve();

  const post = (/** @type {string} */ path, /** @type {Message} */ body) => env.fetch(at(path), {
    method: 'POST',
    headers: { 'content-type': 'application/json', authorization: `Bearer ${link.token}` },
    body: JSON.stringify(body),
    cache: 'no-store',
    signal: abort.signal,
  });
  const retryAfter = (/** @type {any} */ answer) => {
    const seconds = Number.parseInt(answer.headers.get('retry-after') ?? '', 10);
    return Number.isNaN(seconds) ? undefined : seconds * 1000;
  };

  async function open() {
    const answer = await post('rt/*/ticket', {});
    if (abort.signal.aborted) return;
    if (answer.status === 401) return on.lost(fresh ? CLOSED : EXPIRED, 'token refused');
    if (answer.status === 403) return on.lost(FORBIDDEN, 'forbidden');
    if (!answer.ok) return on.lost(1006, `no ticket: ${answer.status}`, retryAfter(answer));
    const { ticket } = await answer.json();
    if (abort.signal.aborted) return;
    const url = at('sse/notifications/*');
    url.search = String(new URLSearchParams({ ...query, ticket }));
    source = new env.EventSource(url.href);
    for (const type of TYPES) {
      source.addEventListener(type, (/** @type {any} */ event) => {
        if (typeof event.data !== 'string') return on.lost(1006, 'stream ended');
        on.text(event.data, type);
      });
    }
  }

  async function command(/** @type {Message} */ message) {
    if (abort.signal.aborted) return;
    const refuse = (/** @type {string} */ code, /** @type {string} */ msg, /** @type {boolean} */ retry, /** @type {number} */ ms) =>
      on.message({ type: 'error', id: message.id, code, msg, retry, retry_after_ms: ms });
    let answer;
    /** @type {Message} */
    let body = {};
    try {
      answer = await post('rt/*/cmd', { ...message, conn: who.conn, secret: who.secret });
      // Without a body that we know the answer comes through the stream.
      body = JSON.parse(await answer.text()) ?? {};
    } catch (error) {
      if (abort.signal.aborted) return;
      if (!answer) return refuse('not_available', String(error), true, 0);
    }
    const { status } = answer;
    if (status === 404 || status === 410) on.lost(1006, 'connection unknown');
    else if (answer.ok) body.type && on.message(body);
    else {
      const later = status === 429 || status >= 500;
      const code = body.code ?? (later ? 'not_available' : REFUSED[status] ?? 'bad_request');
      refuse(code, body.detail ?? body.msg ?? `status ${status}`, later, retryAfter(answer) ?? 0);
    }
  }

  /** @type {Link} */
  const link = {
    token,
    send(text) {
      sending = sending.then(() => command(JSON.parse(text)));
    },
    buffered: () => 0,
    hello: (m) => { who = m; },
    close() {
      abort.abort();
      source?.close();
    },
  };
  open().catch((error) => abort.signal.aborted || on.lost(0, `unreachable: ${error}`));
  return link;
}

/** What is known of a room. */
class RoomState {
  /** @type {'out' | 'entering' | 'in'} on this connection */
  status = 'out';
  wantsPresence = false;
  /** The last difference that `members` contains; -1 before the first snapshot. */
  seq = -1;
  asking = false;
  /** @type {Message[]} differences that came while a snapshot was on its way */
  early = [];
  /** @type {Map<string, import('./larder-live.d.ts').Member>} */
  members = new Map();
  total = 0;
  truncated = false;

  /** @param {string} name @param {any} env */
  constructor(name, env) {
    this.name = name;
    this.listeners = new Listeners(env);
  }

  /** Back to knowing nobody. */
  leave() {
    this.status = 'out';
    this.seq = -1;
    this.asking = false;
    this.early = [];
    this.members = new Map();
    this.total = 0;
    this.truncated = false;
  }

  get presence() {
    return { room: this.name, members: [...this.members.values()], total: this.total, truncated: this.truncated };
  }

  /** @param {Message} m */
  snapshot(m) {
    this.seq = m.seq;
    this.members = new Map((m.members ?? []).map((/** @type {any} */ member) => [member.user, member]));
    this.total = m.total ?? this.members.size;
    this.truncated = Boolean(m.truncated);
  }

  /** Whether nothing is missing before it. @param {Message} m */
  apply(m) {
    if (m.seq <= this.seq) return true;
    if (this.seq < 0 || m.seq !== this.seq + 1) return false;
    this.seq = m.seq;
    for (const member of m.join ?? []) {
      if (this.members.has(member.user)) this.members.set(member.user, member);
      else {
        this.total += 1;
        if (this.truncated || this.members.size >= MEMBERS) this.truncated = true;
        else this.members.set(member.user, member);
      }
    }
    for (const member of m.leave ?? []) {
      if (this.members.delete(member.user ?? member) || this.truncated) this.total -= 1;
    }
    this.total = m.total ?? this.total;
    return true;
  }
}

/** @implements {Omit<import('./larder-live.d.ts').Room, never>} */
export class Room {
  #live;
  #state;
  #leave;

  /** @param {LarderLive} live @param {RoomState} state @param {() => void} leave */
  constructor(live, state, leave) {
    this.#live = live;
    this.#state = state;
    this.#leave = leave;
    this.name = state.name;
  }

  get presence() {
    return this.#state.presence;
  }

  /** @param {string} name @param {(value: any) => void} listener */
  on(name, listener) {
    return this.#state.listeners.add(name, listener);
  }

  /** @param {unknown} data @param {import('./larder-live.d.ts').PublishOptions} [options] */
  publish(data, options) {
    return this.#live.publish(this.name, data, options);
  }

  /** @param {import('./larder-live.d.ts').HistoryOptions} options */
  history(options) {
    return this.#live.history(this.name, options);
  }

  leave() {
    this.#leave();
  }
}

/** @implements {Omit<import('./larder-live.d.ts').LarderLive, never>} */
export class LarderLive {
  #env;
  #options;
  #base;
  /** @type {Transport[]} */
  #transports;
  /** @type {Transport} */
  #transport;
  #listeners;
  /** @type {Map<string, {state: RoomState, room: Room}>} */
  #rooms = new Map();
  /** @type {Map<number, Command>} */
  #commands = new Map();
  /** @type {Map<string, any>} */
  #timers = new Map();
  /** @type {Set<string>} */
  #seen = new Set();
  /** @type {import('./larder-live.d.ts').State} */
  #state = { name: 'closed', transport: null };
  /** @type {AbortController | null} listening to the window while at work */
  #running = null;
  /** Raised whenever a connection begins or ends: what a former one still says is not heard. */
  #round = 0;
  /** @type {Link | null} */
  #link = null;
  /** @type {Message | null} what the server said first on this connection */
  #session = null;
  /** @type {Position | null} */
  #position = null;
  /** @type {Position | null} from which this connection goes on */
  #from = null;
  /** The application has something that events can be applied to. */
  #begun = false;
  /** @type {import('./larder-live.d.ts').TokenReason} */
  #reason = 'connect';
  #attempt = 0;
  #misses = 0;
  /** A WebSocket has come about once, so it is the first choice again. */
  #worked = false;
  /** The server said when to come back. */
  #told = false;
  /** @type {number | undefined} */
  #retryMs;
  #since = 0;
  #heardAt = 0;
  #frames = 0;
  #lastId = 0;

  /** @param {Options} options @param {any} [env] what a browser has; tests bring their own */
  constructor(options, env = globalThis) {
    if (!options?.tenant || typeof options.token !== 'function') throw new TypeError('tenant and token() are needed');
    this.#env = env;
    this.#options = options;
    this.#base = new URL(String(options.url ?? env.location.origin).replace(/\/*$/, '/'));
    const wanted = options.transports ?? ['websocket', 'sse'];
    this.#transports = wanted.filter((name) => (name === 'sse' ? env.EventSource && env.fetch : env.WebSocket));
    if (!this.#transports.length) throw new TypeError('none of the transports is there');
    this.#transport = this.#transports[0];
    this.#listeners = new Listeners(env);
    this.#position = readPosition(options.position);
    this.#begun = this.#position !== null;
    this.stats = { events: 0, duplicates: 0, resets: 0, connections: 0 };
  }

  get state() {
    return this.#state;
  }

  get position() {
    return this.#position && writePosition(this.#position);
  }

  /** @param {string} name @param {(value: any) => void} listener */
  on(name, listener) {
    return this.#listeners.add(name, listener);
  }

  /** @param {string} pattern @param {(event: any) => void} listener */
  onKind(pattern, listener) {
    const start = pattern.endsWith('*') ? pattern.slice(0, -1) : null;
    return this.on('event', (event) => {
      if (start === null ? event.kind === pattern : String(event.kind).startsWith(start)) listener(event);
    });
  }

  connect() {
    if (this.#running) return this;
    this.#running = new AbortController();
    const { signal } = this.#running;
    const { document } = this.#env;
    const wake = () => this.#wake();
    this.#env.addEventListener?.('online', () => this.#online(), { signal });
    this.#env.addEventListener?.('offline', () => this.#probe(), { signal });
    // A page that was away may have slept, with its timers.
    this.#env.addEventListener?.('pageshow', (/** @type {any} */ event) => event.persisted && wake(), { signal });
    document?.addEventListener('visibilitychange', () => document.visibilityState === 'visible' && wake(), { signal });
    this.#attempt = this.#misses = 0;
    this.#reason = 'connect';
    this.#open();
    return this;
  }

  close() {
    if (this.#running) this.#end(1000, 'closed by the application');
  }

  /** @param {string} name @param {{presence?: boolean}} [options] */
  join(name, { presence = false } = {}) {
    let entry = this.#rooms.get(name);
    if (!entry) {
      const state = new RoomState(name, this.#env);
      entry = { state, room: new Room(this, state, () => this.#leave(state)) };
      this.#rooms.set(name, entry);
    }
    if (presence && !entry.state.wantsPresence) {
      entry.state.wantsPresence = true;
      entry.state.status = 'out';
    }
    // Rooms that are joined in one go are one command.
    queueMicrotask(() => this.#enter());
    return entry.room;
  }

  /** @param {string} room @param {unknown} data @param {import('./larder-live.d.ts').PublishOptions} [options] */
  publish(room, data, options) {
    return this.#publish({ room, data }, options);
  }

  /** @param {string} user @param {unknown} data @param {import('./larder-live.d.ts').PublishOptions} [options] */
  send(user, data, options) {
    return this.#publish({ to: `user:${user}`, data }, options);
  }

  /** @param {string} room @param {import('./larder-live.d.ts').HistoryOptions} options */
  async history(room, { since, limit }) {
    const from = readPosition(since);
    if (!from) throw new LiveError('bad_request', 'since is no position');
    const { events, more } = await this.#command({ type: 'history', room, since: from, limit });
    return { events, more: Boolean(more) };
  }

  /** @param {Message} message @param {import('./larder-live.d.ts').PublishOptions} [options] */
  async #publish(message, { key = randomKey(this.#env), ephemeral = false } = {}) {
    const kind = ephemeral ? { ephemeral } : { key };
    const { offset } = await this.#command({ type: 'pub', ...message, ...kind }, !ephemeral);
    return { offset };
  }

  // Connections

  async #open() {
    const round = ++this.#round;
    const here = () => round === this.#round;
    const reason = this.#reason;
    this.#cancel('retry');
    this.#told = false;
    this.#retryMs = undefined;
    /** @type {Heard} */
    const on = {
      message: (m) => { if (here()) this.#message(m); },
      text: (text, type) => { if (here()) this.#text(text, type); },
      lost: (code, why, retryMs) => { if (here()) this.#lost(code, why, retryMs); },
    };
    this.#after('connect', this.#options.connectTimeoutMs ?? CONNECT_MS, () => on.lost(0, 'no answer'));
    this.#show({ name: 'connecting', transport: null });
    try {
      const token = here() && (await this.#options.token({ reason }));
      if (!here()) return;
      if (!token) return this.#end(CLOSED, 'signed out');
      this.#reason = 'connect';
      this.#link = this.#make(token, reason !== 'connect', on);
    } catch (error) {
      if (!here()) return;
      this.#reason = reason;
      this.#listeners.call('error', error);
      on.lost(-1, 'no token');
    }
  }

  /** @param {string} token @param {boolean} fresh @param {Heard} on */
  #make(token, fresh, on) {
    this.#from = this.#position;
    const pos = this.position;
    const names = [...this.#rooms.keys()];
    const rooms = names.join(',');
    const short = rooms.length <= QUERY_CHARS;
    /** @type {Record<string, string>} */
    const query = rooms && short ? { rooms } : {};
    if (this.#transport === 'sse') {
      if (pos) query.last_event_id = pos;
      return eventStream(this.#env, (path) => this.#at(path), query, token, fresh, on);
    }
    const url = this.#at('ws/notifications/*');
    url.protocol = url.protocol.replace('http', 'ws');
    if (short) {
      if (pos) query.pos = pos;
      url.search = String(new URLSearchParams(query));
      return webSocket(this.#env, url, [PROTOCOL, `bearer.${base64url(token)}`], token, null, on);
    }
    const first = { type: 'auth', id: this.#nextId(), token, pos: this.#position ?? undefined, rooms: names };
    return webSocket(this.#env, url, [PROTOCOL], token, first, on);
  }

  /** @param {string} path */
  #at(path) {
    return new URL(path.replace('*', encodeURIComponent(this.#options.tenant)), this.#base);
  }

  /** @param {number} code @param {string} [reason] @param {number} [retryMs] */
  #lost(code, reason = '', retryMs) {
    const had = this.#session;
    const tried = this.#link;
    this.#drop();
    if (isTerminal(code)) return this.#end(code, reason);
    if (code === EXPIRED) this.#reason = 'expired';
    if (had && this.#env.Date.now() - this.#since >= STEADY_MS) this.#attempt = 0;
    if (tried) this.#choose(Boolean(had), code);
    const random = this.#env.Math.random();
    const told = retryMs ?? this.#retryMs;
    const full = code === FULL ? FULL_MS * (1 + random) : 0;
    const backoff = Math.min(BACKOFF_MS, STEP_MS + random * Math.min(BACKOFF_MS, STEP_MS * 2 ** this.#attempt));
    this.#told = told !== undefined || full > 0;
    this.#attempt += 1;
    const wait = Math.round(told === undefined ? Math.max(backoff, full) : Math.min(Math.max(told, 0), AWAY_MS));
    this.#after('retry', wait, () => this.#open());
    this.#show({ name: 'waiting', transport: null, retryMs: wait, code: Math.max(code, 0), reason });
  }

  /** Which transport is next. @param {boolean} had whether the last one came about @param {number} code */
  #choose(had, code) {
    if (had) {
      this.#misses = 0;
      if (this.#transport === 'websocket') this.#worked = true;
      else if (this.#worked) this.#transport = this.#transports[0];
      return;
    }
    // Whoever says a code of the protocol was reached; and where not even a ticket can be had, the transport is not at fault.
    const missed = code === 1006 || code === 0;
    const unreachable = this.#transport === 'sse' && code === 0;
    this.#misses += missed ? 1 : 0;
    if (this.#misses < MISSES && !unreachable) return;
    this.#misses = 0;
    const next = this.#transports.indexOf(this.#transport) + 1;
    this.#transport = this.#transports[next] ?? this.#transports[0];
  }

  /** Ends the connection, and all that hangs on it. */
  #drop() {
    this.#round += 1;
    this.#link?.close();
    this.#link = this.#session = null;
    this.#cancel('connect', 'retry', 'silence', 'probe', 'refresh', 'bye', 'enter');
    for (const { state } of this.#rooms.values()) state.leave();
    for (const [id, command] of this.#commands) {
      if (!command.keep) this.#settle(id, new LiveError('offline', 'the connection was lost', true));
    }
  }

  /** @param {number} code @param {string} reason */
  #end(code, reason) {
    this.#drop();
    this.#running?.abort();
    this.#running = null;
    for (const id of [...this.#commands.keys()]) this.#settle(id, new LiveError('closed', reason));
    this.#show({ name: 'closed', transport: null, code, reason });
  }

  /** The network or the user is back: no need to wait any longer, unless the server said so. */
  #wake() {
    if (this.#state.name !== 'waiting') return this.#probe();
    if (this.#told) return;
    this.#attempt = 0;
    this.#open();
  }

  /** Another network, maybe: what hangs in the old one won't come about, and what that one blocked may work. */
  #online() {
    if (!this.#session) this.#transport = this.#transports[0];
    if (this.#state.name !== 'connecting') return this.#wake();
    this.#drop();
    this.#open();
  }

  /** Asks for a sign of life. */
  #probe() {
    if (!this.#session || this.#state.transport !== 'websocket') return;
    const frames = this.#frames;
    this.#link?.send('ping');
    this.#after('probe', PROBE_MS, () => frames === this.#frames && this.#lost(0, 'silence'));
  }

  /** Notices that the server has fallen silent. */
  #watch() {
    const most = (this.#session?.ping_ms || 25_000) + GRACE_MS;
    const quiet = Math.max(this.#env.Date.now() - this.#heardAt, 0);
    if (quiet >= most) this.#lost(0, 'silence');
    else this.#after('silence', most - quiet, () => this.#watch());
  }

  // What the server says

  /** @param {string} text @param {string} [type] what it is called where it does not say so itself */
  #text(text, type) {
    this.#heardAt = this.#env.Date.now();
    this.#frames += 1;
    if (text === 'pong') return;
    let message;
    try {
      message = { type, ...JSON.parse(text) };
    } catch (error) {
      return this.#listeners.call('error', error);
    }
    this.#message(message);
  }

  /** Types that are unknown are those of a newer server. @param {Message} m */
  #message(m) {
    switch (m.type) {
      case 'hello': return this.#hello(m);
      case 'event': return this.#event(m);
      case 'message': return this.#tell(m);
      case 'synced':
        if (this.#begun) this.#advance(m);
        else this.#restart({ ...m, reason: 'start' });
        return this.#upToDate();
      case 'reset':
        this.#restart(m);
        return this.#upToDate();
      case 'ping':
        // What is being caught up on comes first.
        if (this.#state.name === 'live') this.#advance(m);
        // Where comments keep the connection alive we can't see them, so only a server that pings is waited for.
        return this.#timers.has('silence') ? undefined : this.#watch();
      case 'bye':
        this.#retryMs = m.retry_ms ?? undefined;
        return this.#after('bye', PROBE_MS, () => this.#lost(m.code ?? 1001, 'bye'));
      case 'presence_diff': return this.#difference(m);
      case 'error':
        if (m.code === 'token_expired' && m.id === undefined && this.#session) return this.#refresh('expired');
        if (m.id === undefined) return this.#listeners.call('error', this.#error(m));
        return this.#settle(m.id, this.#error(m));
      case 'ok':
      case 'presence':
      case 'history':
        return this.#settle(m.id, m);
      default:
    }
  }

  /** @param {Message} m */
  #hello(m) {
    this.#cancel('connect');
    this.#session = m;
    this.#since = this.#env.Date.now();
    this.#link?.hello(m);
    this.stats.connections += 1;
    const round = this.#round;
    const waiting = [...this.#commands.values()];
    if (this.#transport === 'websocket') this.#watch();
    this.#plan(m.exp);
    this.#show({ name: 'syncing', transport: this.#transport });
    const granted = new Set(m.rooms);
    for (const { state } of [...this.#rooms.values()]) {
      if (round !== this.#round) return;
      const refused = m.refused?.[state.name];
      if (refused) this.#refused(state, refused);
      else if (granted.has(state.name) && !state.wantsPresence) this.#entered(state, undefined);
    }
    this.#enter();
    waiting.forEach((command) => this.#link?.send(command.text));
  }

  /** @param {Message} m */
  #event(m) {
    const known = !this.#advance(m);
    if (known || this.#seen.has(m.eid)) {
      this.stats.duplicates += 1;
      return;
    }
    if (m.eid !== undefined) {
      this.#seen.add(m.eid);
      if (this.#seen.size > SEEN) this.#seen.delete(/** @type {string} */ (this.#seen.values().next().value));
    }
    this.#tell(m);
  }

  /** @param {Message} m */
  #tell(m) {
    this.stats.events += 1;
    this.#rooms.get(m.room)?.state.listeners.call('event', m);
    this.#listeners.call('event', m);
  }

  /** Whether this is new. @param {Message} m */
  #advance({ epoch, offset }) {
    if (this.#position && epoch !== undefined && epoch !== this.#position.epoch) this.#restart({ reason: 'epoch', epoch, offset: 0 });
    if (this.#position && offset <= this.#position.offset) return false;
    this.#position = { epoch, offset };
    return true;
  }

  /** Nothing is missing, unless a listener has just closed the connection. */
  #upToDate() {
    if (this.#session) this.#show({ name: 'live', transport: this.#transport });
  }

  /** What the application has is worth nothing. @param {Message} m */
  #restart({ reason, epoch, offset }) {
    this.#begun = true;
    this.#position = { epoch, offset };
    this.#seen.clear();
    this.stats.resets += 1;
    this.#listeners.call('reset', { reason, epoch, offset });
  }

  // Rooms and who is in them

  /** Enters the rooms in which this connection is not. */
  #enter() {
    if (!this.#session) return;
    const out = [...this.#rooms.values()].map(({ state }) => state).filter((state) => state.status === 'out');
    for (const presence of [true, false]) {
      const states = out.filter((state) => state.wantsPresence === presence);
      if (states.length) this.#subscribe(states, presence);
    }
  }

  /** @param {RoomState[]} states @param {boolean} presence */
  async #subscribe(states, presence) {
    states.forEach((state) => { state.status = 'entering'; });
    const rooms = states.map((state) => state.name);
    try {
      const { subs = {} } = await this.#command({ type: 'sub', rooms, ...(presence && { presence }) }, false);
      for (const state of states) {
        const answer = subs[state.name] ?? {};
        // Left, or another connection, in the meantime.
        if (this.#rooms.get(state.name)?.state !== state || state.status !== 'entering') continue;
        if (answer.error) {
          this.#refused(state, answer.error);
          continue;
        }
        if (answer.presence) this.#unseen(state);
        this.#entered(state, answer.offset);
      }
    } catch (/** @type {any} */ error) {
      const entering = states.filter((state) => state.status === 'entering');
      if (error.retry && error.code !== 'offline') {
        entering.forEach((state) => { state.status = 'out'; });
        this.#after('enter', error.retryAfterMs || 1000, () => this.#enter());
      } else if (error.code !== 'offline' && error.code !== 'closed') entering.forEach((state) => this.#refused(state, error.code));
    }
  }

  /** @param {RoomState} state @param {number | undefined} offset */
  #entered(state, offset) {
    state.status = 'in';
    const recovered = Boolean(this.#from) && new Set(this.#session?.rooms).has(state.name);
    if (state.wantsPresence) this.#ask(state);
    state.listeners.call('joined', { offset, recovered });
  }

  /** @param {RoomState} state @param {string} code */
  #refused(state, code) {
    this.#rooms.delete(state.name);
    state.listeners.call('error', new LiveError(code, `the room ${state.name} was refused: ${code}`));
  }

  /** In the room, but without its presence: the user has it of too many rooms. @param {RoomState} state */
  #unseen(state) {
    state.wantsPresence = false;
    const why = `the room ${state.name} was entered without its presence: limit`;
    state.listeners.call('error', new LiveError('presence_limit', why));
  }

  /** @param {RoomState} state */
  #leave(state) {
    if (this.#rooms.get(state.name)?.state !== state) return;
    this.#rooms.delete(state.name);
    state.listeners.sets.clear();
    // Every connection is in these two, asked or not.
    const always = state.name === 'tenant' || state.name === `user:${this.#session?.user}`;
    if (this.#session && state.status !== 'out' && !always) this.#command({ type: 'unsub', rooms: [state.name] }, false).catch(() => {});
    state.leave();
  }

  /** @param {Message} m */
  #difference(m) {
    const state = this.#rooms.get(m.room)?.state;
    if (!state?.wantsPresence) return;
    if (state.asking) {
      state.early.push(m);
      if (state.early.length > DIFFS) state.early.shift();
    } else if (state.apply(m)) state.listeners.call('presence', state.presence);
    else {
      // The snapshot may be older than this.
      state.early = [m];
      this.#ask(state);
    }
  }

  /** Asks who is in the room. @param {RoomState} state */
  async #ask(state) {
    if (state.asking) return;
    const round = this.#round;
    state.asking = true;
    let whole;
    try {
      const answer = await this.#command({ type: 'presence', room: state.name }, false);
      if (round !== this.#round) return;
      state.snapshot(answer);
      whole = state.early.splice(0).every((m) => state.apply(m));
    } catch (error) {
      // A connection that was lost asks again when it is back.
      if (round === this.#round) this.#listeners.call('error', error);
    }
    if (round !== this.#round) return;
    state.asking = false;
    if (whole === undefined) return;
    state.listeners.call('presence', state.presence);
    if (!whole) this.#ask(state);
  }

  // Tokens

  /** Has the token refreshed before it expires. By the server's clock that may be sooner or later: then it says so. @param {number} exp */
  #plan(exp) {
    const left = exp * 1000 - this.#env.Date.now();
    if (!(left > 0)) return;
    const ahead = Math.min(60_000, left * 0.2) * (1 + this.#env.Math.random() * 0.5);
    this.#after('refresh', Math.min(Math.max(left - ahead, REFRESH_MS), 2 ** 31 - 1), () => this.#refresh('refresh'));
  }

  /** @param {import('./larder-live.d.ts').TokenReason} reason */
  async #refresh(reason) {
    const round = this.#round;
    this.#cancel('refresh');
    try {
      const token = await this.#options.token({ reason });
      if (round !== this.#round || !this.#link) return;
      if (!token) return this.#end(CLOSED, 'signed out');
      this.#link.token = token;
      const { exp, refused = {} } = await this.#command({ type: 'auth', token }, false);
      if (round !== this.#round) return;
      this.#plan(exp);
      // Rooms that the new token does not allow any more.
      for (const name of Object.keys(refused)) {
        const entry = this.#rooms.get(name);
        if (entry) this.#refused(entry.state, refused[name]);
      }
    } catch (error) {
      if (round !== this.#round) return;
      this.#listeners.call('error', error);
      this.#after('refresh', REFRESH_MS, () => this.#refresh(reason));
    }
  }

  // Commands

  #nextId() {
    this.#lastId = (this.#lastId % 0xffff_ffff) + 1;
    return this.#lastId;
  }

  /** Says something and waits for the answer. @param {Message} message @param {boolean} [keep] whether it is said again on the next connection @returns {Promise<Message>} */
  #command(message, keep = true) {
    return new Promise((resolve, reject) => {
      const id = this.#nextId();
      const text = JSON.stringify({ id, ...message });
      const refuse = (/** @type {string} */ code, /** @type {string} */ why, retry = true) => reject(new LiveError(code, why, retry));
      if (!this.#running) return refuse('closed', 'not connected', false);
      if (!keep && !this.#session) return refuse('offline', 'not connected');
      if (new TextEncoder().encode(text).length > (this.#session?.max_msg ?? MESSAGE_BYTES)) return refuse('too_large', 'longer than the server takes', false);
      if (this.#commands.size >= COMMANDS || (this.#link?.buffered() ?? 0) > BUFFERED) return refuse('too_many', 'too much is under way');
      // It may have been done all the same.
      const late = () => this.#settle(id, new LiveError('timeout', 'no answer in time', true));
      const timer = this.#env.setTimeout(late, this.#options.commandTimeoutMs ?? COMMAND_MS);
      this.#commands.set(id, { text, keep, timer, resolve, reject });
      if (this.#session) this.#link?.send(text);
    });
  }

  /** @param {number} id @param {Message | Error} answer */
  #settle(id, answer) {
    const command = this.#commands.get(id);
    if (!command) return;
    this.#commands.delete(id);
    this.#env.clearTimeout(command.timer);
    if (answer instanceof Error) command.reject(answer);
    else command.resolve(answer);
  }

  /** @param {Message} m */
  #error({ code, msg, retry, retry_after_ms: after }) {
    return new LiveError(code ?? 'internal', msg ?? code, Boolean(retry), after ?? null);
  }

  // State and time

  /** @param {import('./larder-live.d.ts').State} state */
  #show(state) {
    if (state.name === this.#state.name && state.name !== 'waiting') return;
    this.#state = Object.freeze(state);
    this.#listeners.call('state', this.#state);
  }

  /** @param {string} name @param {number} ms @param {() => void} what */
  #after(name, ms, what) {
    this.#cancel(name);
    const timer = this.#env.setTimeout(() => {
      if (this.#timers.get(name) === timer) this.#timers.delete(name);
      what();
    }, ms);
    this.#timers.set(name, timer);
  }

  /** @param {...string} names */
  #cancel(...names) {
    for (const name of names) {
      this.#env.clearTimeout(this.#timers.get(name));
      this.#timers.delete(name);
    }
  }
}
