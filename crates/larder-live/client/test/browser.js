// What a browser has, as far as the client uses it, in the hands of a test: time stands still until it is moved, and the other end of every
// connection is the test. The real thing, in a real browser against a real server, is tested with larder-server.
import { webcrypto } from 'node:crypto';
import { LarderLive } from '../larder-live.js';

/** Lets everything happen that needs no time to pass. */
export const settled = () => new Promise((resolve) => { setImmediate(resolve); });

class Clock {
  now = 1_790_000_000_000;
  timers = new Map();
  #last = 0;

  set = (what, ms) => {
    this.timers.set(++this.#last, { at: this.now + ms, what });
    return this.#last;
  };

  clear = (id) => this.timers.delete(id);

  async pass(ms) {
    const end = this.now + ms;
    for (;;) {
      await settled();
      const due = [...this.timers].filter(([, timer]) => timer.at <= end).sort(([, a], [, b]) => a.at - b.at)[0];
      if (!due) break;
      this.timers.delete(due[0]);
      this.now = Math.max(this.now, due[1].at);
      due[1].what();
    }
    this.now = end;
    await settled();
  }
}

class FakeSocket {
  readyState = 0;
  bufferedAmount = 0;
  sent = [];
  closed = null;

  constructor(url, protocols) {
    this.url = new URL(url);
    this.protocols = protocols;
  }

  send(text) {
    if (this.readyState !== 1) throw new Error('not open');
    this.sent.push(text);
  }

  close(code) {
    this.closed = code;
    this.readyState = 2;
  }

  // From here on: what the server and the network do.

  open() {
    this.readyState = 1;
    this.onopen?.({});
  }

  say(message) {
    this.onmessage?.({ data: typeof message === 'string' ? message : JSON.stringify(message) });
  }

  end(code = 1006, reason = '') {
    this.readyState = 3;
    this.onclose?.({ code, reason });
  }

  /** The commands that arrived, and no `ping`. */
  get commands() {
    return this.sent.filter((text) => text !== 'ping').map((text) => JSON.parse(text));
  }

  command(type) {
    return this.commands.findLast?.((command) => command.type === type) ?? this.commands.reverse().find((command) => command.type === type);
  }
}

class FakeEventSource extends EventTarget {
  closed = false;

  constructor(url) {
    super();
    this.url = new URL(url);
  }

  close() {
    this.closed = true;
  }

  say(message) {
    this.dispatchEvent(Object.assign(new Event(message.type), { data: JSON.stringify(message) }));
  }

  end() {
    this.dispatchEvent(new Event('error'));
  }
}

export class Browser {
  clock = new Clock();
  random = 0;
  sockets = [];
  streams = [];
  requests = [];
  window = new EventTarget();
  document = Object.assign(new EventTarget(), { visibilityState: 'visible' });
  reported = [];
  /** What POST answers; a string is a network that fails. */
  answer = () => ({ status: 200, body: {} });

  constructor() {
    const self = this;
    this.env = {
      setTimeout: this.clock.set,
      clearTimeout: this.clock.clear,
      Date: { now: () => this.clock.now },
      Math: { random: () => this.random },
      crypto: webcrypto,
      location: { origin: 'https://larder.test' },
      document: this.document,
      addEventListener: this.window.addEventListener.bind(this.window),
      reportError: (error) => this.reported.push(error),
      WebSocket: class extends FakeSocket {
        constructor(...given) {
          super(...given);
          self.sockets.push(this);
        }
      },
      EventSource: class extends FakeEventSource {
        constructor(...given) {
          super(...given);
          self.streams.push(this);
        }
      },
      fetch: async (url, { method, headers, body, signal }) => {
        const request = { url: new URL(url), method, headers, body: JSON.parse(body), signal };
        this.requests.push(request);
        const answer = await this.answer(request);
        if (typeof answer === 'string') throw new TypeError(answer);
        const text = typeof answer.body === 'string' ? answer.body : JSON.stringify(answer.body) ?? '';
        return {
          status: answer.status,
          ok: answer.status < 300,
          headers: new Headers(answer.headers),
          text: async () => text,
          json: async () => JSON.parse(text),
        };
      },
    };
  }

  get socket() {
    return this.sockets.at(-1);
  }

  get stream() {
    return this.streams.at(-1);
  }

  /** A client that has begun to connect, with all that it tells the application. */
  async client(options = {}) {
    const tokens = [];
    const token = ({ reason }) => {
      tokens.push(reason);
      return `token ${tokens.length}`;
    };
    const live = new LarderLive({ tenant: 'acme', token, ...options }, this.env);
    const told = [];
    for (const name of ['event', 'state', 'reset', 'error']) live.on(name, (value) => told.push([name, value]));
    live.connect();
    await settled();
    return Object.assign(live, {
      tokens,
      told,
      states: () => told.filter(([name]) => name === 'state').map(([, state]) => state.name),
      events: () => told.filter(([name]) => name === 'event').map(([, event]) => event.offset),
      resets: () => told.filter(([name]) => name === 'reset').map(([, reset]) => reset.reason),
      errors: () => told.filter(([name]) => name === 'error').map(([, error]) => error.code ?? error.message),
    });
  }

  /** The same, connected by WebSocket and live. */
  async live(options) {
    const live = await this.client(options);
    this.greet();
    await settled();
    return live;
  }

  /** The greeting, and what follows it where nothing was missed. */
  greet(more = {}, { open = true, synced = true } = {}) {
    if (open) this.socket.open();
    this.socket.say(hello(more));
    if (synced) this.socket.say(upToDate(more));
  }

  /** The same on a stream. */
  greetStream() {
    this.stream.say(hello());
    this.stream.say(upToDate());
  }

  dispatch(type, target = this.window) {
    target.dispatchEvent(new Event(type));
    return settled();
  }
}

export const hello = (more) => ({
  type: 'hello', v: 1, conn: 'c9f', secret: 's3', node: 'n3', tenant: 'acme', user: '42', ping_ms: 25_000, max_msg: 65_536,
  epoch: 'k3Jx', offset: 1042, rooms: ['tenant', 'user:42'], ...more,
});

export const upToDate = ({ epoch = 'k3Jx', offset = 1042 } = {}) => ({ type: 'synced', epoch, offset, replayed: 0 });

export const event = (offset, more) => ({
  type: 'event', room: 'tenant', epoch: 'k3Jx', offset, kind: 'campaign.created', ts: 1_790_000_000_123, data: { id: offset }, ...more,
});
