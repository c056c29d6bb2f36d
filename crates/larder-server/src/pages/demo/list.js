// The list of campaigns: reading it, drawing it, and what the reads cost.

const LIMIT = 12;
/** Reads that are drawn as bars. */
const READS = 32;
/** Between two reads that events cause, so that a burst of them is one read. */
const PAUSE_MS = 150;

const $ = (id) => document.getElementById(id);
const money = new Intl.NumberFormat('en', { style: 'currency', currency: 'EUR', minimumFractionDigits: 0, maximumFractionDigits: 2 });
const clock = new Intl.DateTimeFormat(undefined, { month: 'short', day: 'numeric', hour: '2-digit', minute: '2-digit' });
const whole = new Intl.DateTimeFormat(undefined, { dateStyle: 'full', timeStyle: 'medium' });

export const names = {
  email: 'E-mail', sms: 'SMS', social: 'Social', search: 'Search', display: 'Display',
  draft: 'Draft', active: 'Active', paused: 'Paused', completed: 'Completed',
};

/** Text always goes in as text, so that nothing in the data can become markup. */
export function el(name, attributes, ...children) {
  const node = document.createElement(name);
  for (const [key, value] of Object.entries(attributes || {})) {
    if (typeof value === 'function') node.addEventListener(key, value);
    else if (value !== undefined && value !== false) node.setAttribute(key, value === true ? '' : value);
  }
  node.append(...children.filter((child) => child !== null && child !== undefined));
  return node;
}

export const millis = (ms) => `${ms < 10 ? ms.toFixed(1) : Math.round(ms)} ms`;

export class List {
  #session;
  #act;
  #page = 1;
  #running = null;
  #again = false;
  #timer = null;
  #changed = new Set();
  #reads = [];
  #generation = 0;

  /** `act.edit` and `act.remove` are called with a campaign, `act.failed` with an error. */
  constructor(act) {
    this.#act = act;
    $('again').addEventListener('click', () => this.read());
    $('newer').addEventListener('click', () => this.#turn(-1));
    $('older').addEventListener('click', () => this.#turn(1));
    for (const id of ['by-status', 'by-channel']) $(id).addEventListener('change', () => this.#turn(1 - this.#page));
  }

  /** Begins for another user, or for nobody. */
  of(session) {
    this.#session = session;
    this.#generation += 1;
    this.#page = 1;
    this.#reads = [];
    this.#changed.clear();
    clearTimeout(this.#timer);
    this.#timer = null;
    $('rows').replaceChildren();
    $('reads').replaceChildren();
    $('by-status').value = $('by-channel').value = '';
  }

  /** Something has changed: it will be read again soon, and what has changed be shown. */
  changed(id) {
    if (id) this.#changed.add(id);
    this.#timer ??= setTimeout(() => {
      this.#timer = null;
      this.read();
    }, PAUSE_MS);
  }

  /** Reads the list. Asked again meanwhile it reads once more afterwards, since the first answer may be older than the asking. */
  async read() {
    if (this.#running) {
      this.#again = true;
      return this.#running;
    }
    this.#running = this.#read();
    try {
      await this.#running;
    } finally {
      this.#running = null;
    }
    if (this.#again) {
      this.#again = false;
      return this.read();
    }
  }

  async #read() {
    const generation = this.#generation;
    const query = new URLSearchParams({ page: this.#page, limit: LIMIT });
    for (const name of ['status', 'channel']) if ($(`by-${name}`).value) query.set(name, $(`by-${name}`).value);
    try {
      const answer = await this.#session.send('GET', `/api/v1/campaigns?${query}`);
      if (generation !== this.#generation) return;
      this.#show(answer);
    } catch (error) {
      if (generation === this.#generation) this.#act.failed(error);
    }
  }

  #turn(pages) {
    this.#page = Math.max(1, this.#page + pages);
    return this.read();
  }

  #show({ body, took, headers }) {
    const last = Math.max(1, Math.ceil(body.total / LIMIT));
    if (this.#page > last) {
      this.#page = last;
      this.#again = true;
    }
    const focused = document.activeElement?.dataset?.focus;
    $('rows').replaceChildren(...body.items.map((campaign) => this.#row(campaign)));
    if (focused) document.querySelector(`[data-focus="${CSS.escape(focused)}"]`)?.focus();
    this.#changed.clear();
    $('empty').hidden = body.items.length > 0;
    $('page').textContent = `Page ${this.#page} of ${last} · ${body.total.toLocaleString('en')} campaigns`;
    $('newer').disabled = this.#page <= 1;
    $('older').disabled = this.#page >= last;
    this.#measured(headers, took);
  }

  #row(campaign) {
    const { id, name, channel, status, budget_cents: cents, updated_at: changed } = campaign;
    const cell = (title, attributes, ...children) => el('td', { role: 'cell', 'data-title': title, ...attributes }, ...children);
    const button = (verb, act) => el('button', {
      class: 'quiet', type: 'button', 'data-focus': `${verb} ${id}`, 'aria-label': `${verb} ${name}`, click: () => act(campaign),
    }, verb);
    return el('tr', { role: 'row', 'data-id': id, class: this.#changed.has(id) ? 'changed' : undefined },
      cell('Name', { class: 'name' }, name),
      cell('Channel', {}, names[channel] || channel),
      cell('Status', {}, el('span', { class: `chip ${status}` }, names[status] || status)),
      cell('Budget', { class: 'number' }, money.format(cents / 100)),
      cell('Changed', { class: 'soft' }, el('time', { datetime: changed, title: whole.format(new Date(changed)) }, clock.format(new Date(changed)))),
      cell('', { class: 'acts' }, button('Edit', this.#act.edit), button('Delete', this.#act.remove)));
  }

  /** What this read cost, beside those before it. */
  #measured(headers, took) {
    const verdict = headers.get('x-cache') || 'none';
    const where = /detail=([\w-]+)/.exec(headers.get('cache-status') || '')?.[1];
    const load = /load;dur=([\d.]+)/.exec(headers.get('server-timing') || '')?.[1];
    $('x-cache').textContent = verdict;
    $('x-cache').dataset.verdict = verdict;
    $('took').textContent = millis(took);
    $('load').textContent = load ? `loaded from the database in ${millis(Number(load))}` : where ? `from ${where}` : '';
    this.#reads = [...this.#reads, { verdict, took }].slice(-READS);
    const most = Math.max(...this.#reads.map((read) => Math.log1p(read.took)));
    $('reads').replaceChildren(...this.#reads.map((read) => {
      const bar = el('i', { 'data-verdict': read.verdict, title: `${read.verdict} ${millis(read.took)}` });
      bar.style.height = `${Math.max(8, (100 * Math.log1p(read.took)) / most)}%`;
      return bar;
    }));
  }
}
