// Searching keys, and one entry. For administrators.
import { $, bytes, count, el, ms, say, seconds } from './format.js';

export class Keys {
  #session;
  #pick;
  #cursor = null;
  #pattern = '';
  #asked = 0;
  #shown = null;

  /** `pick(tenant, kind, name)` fills the form that invalidates. */
  constructor(session, pick) {
    this.#session = session;
    this.#pick = pick;
    $('keys-search').addEventListener('submit', (event) => {
      event.preventDefault();
      this.search();
    });
    $('keys-more').addEventListener('click', () => this.#page());
  }

  /** What is typed without a star is looked for anywhere. */
  search() {
    const typed = $('keys-pattern').value.trim();
    this.#pattern = typed === '' || typed.includes('*') ? typed : `*${typed}*`;
    this.#cursor = null;
    $('keys-found').replaceChildren();
    this.#close();
    return this.#page();
  }

  clear() {
    this.#asked += 1;
    this.#cursor = null;
    $('keys-found').replaceChildren();
    $('keys-more').hidden = true;
    say($('keys-told'), '');
    this.#close();
  }

  /** Looks again at what is shown, after it may have changed. */
  async again() {
    if ($('keys-found').childElementCount || $('keys-told').textContent) await this.search();
  }

  async #page() {
    const asked = ++this.#asked;
    const query = new URLSearchParams({ ...(this.#pattern && { pattern: this.#pattern }), ...(this.#cursor && { cursor: this.#cursor }) });
    try {
      const { keys, cursor } = await this.#session.get(`/api/cache/keys?${query}`);
      if (asked !== this.#asked) return;
      this.#cursor = cursor;
      $('keys-found').append(...keys.map((entry) => this.#item(entry)));
      $('keys-more').hidden = !cursor;
      const shown = $('keys-found').childElementCount;
      say($('keys-told'), shown ? `${count(shown)} ${shown === 1 ? 'key' : 'keys'}${cursor ? ', and there are more' : ''} in this node’s memory` : 'No such key in this node’s memory.');
    } catch (error) {
      if (asked === this.#asked) say($('keys-told'), error.message);
    }
  }

  #item(entry) {
    const button = el('button', { type: 'button', onclick: () => this.#open(entry, button) }, el('code', {}, entry.key), el('span', { class: 'soft' }, entry.ttl > 0 ? `fresh for ${seconds(entry.ttl)}` : 'stale'));
    return el('li', {}, button);
  }

  #close() {
    this.#shown = null;
    $('entry').hidden = true;
    $('entry').replaceChildren();
  }

  async #open({ key, tenant }, button) {
    const asked = (this.#shown = Symbol(key));
    for (const other of $('keys-found').querySelectorAll('[aria-current]')) other.removeAttribute('aria-current');
    button.setAttribute('aria-current', 'true');
    try {
      const entry = await this.#session.get(`/api/cache/keys/${encodeURIComponent(key)}?${new URLSearchParams({ tenant })}`);
      if (asked === this.#shown) this.#show(entry);
    } catch (error) {
      if (asked !== this.#shown) return;
      $('entry').hidden = false;
      $('entry').replaceChildren(el('h3', { id: 'entry-title' }, key), el('p', { class: 'problem', role: 'alert' }, error.status === 404 ? 'It is not in the cache any more.' : error.message));
    }
  }

  #show(entry) {
    const row = (name, ...value) => el('div', {}, el('dt', {}, name), el('dd', {}, ...value));
    const plain = withoutTenant(entry);
    const tags = entry.tags.map((tag) => el('button', { type: 'button', class: 'tag', title: 'Invalidate this tag', onclick: () => this.#pick(entry.tenant, 'tag', tag) }, tag));
    $('entry').hidden = false;
    $('entry').replaceChildren(
      el('h3', { id: 'entry-title' }, el('code', {}, entry.key)),
      el('dl', {},
        row('Tenant', entry.tenant || 'shared by all'),
        row('Last status', lastStatus(entry)),
        row('Next read', entry.ttl > 0 ? `HIT, from ${entry.tier === 'redis' ? 'Redis' : 'memory'}` : 'STALE or MISS, as its policy says'),
        row('Age', seconds(entry.age)),
        row('Fresh for', entry.ttl > 0 ? seconds(entry.ttl) : 'no longer'),
        row('Found in', entry.tier === 'redis' ? 'Redis' : 'this node’s memory'),
        row('Size', bytes(entry.size)),
        row('Its load took', ms(entry.load_ms)),
        row('Tags', ...(tags.length ? tags : [entry.tier === 'redis' ? 'known by number only' : 'none'])),
      ),
      el('button', { type: 'button', onclick: () => this.#pick(entry.tenant, 'key', plain) }, 'Invalidate this key …'),
    );
  }
}

/** Counted where the entry is: each node's memory knows of its own lookups. */
function lastStatus({ last_status: status, tier }) {
  if (status) return `${status}, on this node`;
  return tier === 'redis' ? 'not known: it is not in this node’s memory' : 'not looked up on this node yet';
}

/** The key as the tenant's code knows it: people see the tenant as the second segment. */
function withoutTenant({ key, tenant }) {
  if (!tenant) return key;
  const [first, , ...rest] = key.split(':');
  return [first, ...rest].join(':');
}
