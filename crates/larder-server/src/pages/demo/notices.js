// What comes from the live connection: its state, what happened, who is looking.
import { el, millis, names } from './list.js';

/** Events that are listed. */
const EVENTS = 40;
/** People who are shown each by themselves. */
const PEOPLE = 6;

const $ = (id) => document.getElementById(id);
const time = new Intl.DateTimeFormat(undefined, { hour: '2-digit', minute: '2-digit', second: '2-digit' });
const verbs = { created: 'New', updated: 'Changed', deleted: 'Deleted' };

/** The state of the connection, as a person would say it. */
export class Connection {
  #live;
  #until = 0;
  #timer = null;

  constructor() {
    $('connection').addEventListener('click', () => {
      if (this.#live?.state.name === 'closed') this.#live.connect();
      else this.#live?.close();
    });
  }

  of(live) {
    this.#live = live;
    clearInterval(this.#timer);
    if (!live) return;
    live.on('state', () => this.show());
    live.on('event', () => this.#facts());
    this.show();
  }

  show() {
    const { name, transport, retryMs = 0, code } = this.#live.state;
    clearInterval(this.#timer);
    if (name === 'waiting') {
      this.#until = performance.now() + retryMs;
      this.#timer = setInterval(() => this.#say(), 1000);
    }
    $('connection').dataset.state = name;
    $('transport').textContent = { websocket: 'WebSocket', sse: 'server-sent events' }[transport] ?? '–';
    this.#say(name, code);
    this.#facts();
  }

  #say(name = this.#live.state.name, code = this.#live.state.code) {
    const seconds = Math.max(0, Math.ceil((this.#until - performance.now()) / 1000));
    $('connection-text').textContent = {
      connecting: 'Connecting …',
      syncing: 'Catching up …',
      live: 'Live',
      waiting: `Back in ${seconds} s`,
      closed: code === 1000 ? 'Paused' : `Ended (${code ?? '–'})`,
    }[name];
  }

  #facts() {
    const { events, duplicates, resets } = this.#live.stats;
    $('position').textContent = this.#live.position ?? '–';
    $('counts').textContent = `${events}, ${duplicates}, ${resets}`;
  }
}

/** What happened, the latest first. */
export class Feed {
  #names = new Map();

  clear() {
    this.#names.clear();
    $('feed').replaceChildren();
    $('quiet').hidden = false;
  }

  add({ kind, data, ts, replay }) {
    const [what, how] = kind.split('.');
    if (data?.name) this.#remember(data.id, data.name);
    const name = data?.name ?? this.#names.get(data?.id) ?? data?.title ?? '';
    const late = Date.now() - ts;
    const about = [data?.status && names[data.status], data?.channel && names[data.channel]].filter(Boolean).join(' · ');
    this.#show(
      { 'data-kind': kind, class: how },
      el('span', { class: 'verb' }, what === 'campaign' ? verbs[how] ?? how : `${what} ${how ?? ''}`),
      el('span', { class: 'what' }, name, about ? el('small', {}, about) : null),
      el('span', { class: 'when' }, replay ? 'missed, caught up' : late >= 0 && late < 5000 ? `after ${millis(late)}` : '',
        el('time', { datetime: new Date(ts).toISOString() }, time.format(ts))),
    );
  }

  /** What is no event, but happened. */
  note(text) {
    this.#show({ class: 'note' }, el('span', { class: 'what' }, text), el('span', { class: 'when' }, el('time', {}, time.format(Date.now()))));
  }

  #show(attributes, ...children) {
    $('quiet').hidden = true;
    $('feed').prepend(el('li', attributes, ...children));
    while ($('feed').children.length > EVENTS) $('feed').lastChild.remove();
  }

  /** Of what is deleted only the id comes. */
  #remember(id, name) {
    this.#names.set(id, name);
    if (this.#names.size > 500) this.#names.delete(this.#names.keys().next().value);
  }
}

/** Who else is looking. */
export class People {
  #session;
  #known = new Map();
  #shown = 0;

  of(session) {
    this.#session = session;
    this.#known.clear();
    this.#shown += 1;
    $('people').replaceChildren();
  }

  async show({ members, total }) {
    const round = ++this.#shown;
    const mine = this.#session.user.id;
    const first = [...members].sort((a, b) => (b.user === mine) - (a.user === mine)).slice(0, PEOPLE);
    const people = await Promise.all(first.map(async (member) => ({ ...member, name: await this.#name(member) })));
    if (round !== this.#shown) return;
    const rest = total - people.length;
    $('people').replaceChildren(
      ...people.map(({ user, name }) => {
        const label = `${name}${user === mine ? ' (you)' : ''}`;
        return el('li', { title: label, 'data-user': user, class: user === mine ? 'me' : undefined },
          el('span', { 'aria-hidden': 'true' }, initials(name)), el('span', { class: 'only-read' }, label));
      }),
      ...(rest > 0 ? [el('li', { class: 'rest' }, `+${rest}`)] : []),
    );
  }

  /** What the token says, else what the server knows. */
  async #name({ user, info }) {
    if (info?.name) return info.name;
    if (user === this.#session.user.id) return this.#session.user.name;
    if (!this.#known.has(user)) {
      const { body } = await this.#session.send('GET', `/api/v1/users/${encodeURIComponent(user)}`).catch(() => ({ body: null }));
      this.#known.set(user, body?.name ?? 'Somebody');
    }
    return this.#known.get(user);
  }
}

const initials = (name) => name.split(/\s+/).map((word) => word[0]).slice(0, 2).join('').toUpperCase();
