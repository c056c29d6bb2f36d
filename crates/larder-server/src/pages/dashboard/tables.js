// Endpoints and tenants, ranked by whatever column one likes.
import { $, bytes, count, el, ms, percent, rate, say, seconds } from './format.js';
import { bar } from './summary.js';

class Ranking {
  #table;
  #columns;
  #by;
  #down = true;
  #head = [];
  #body = el('tbody', {});
  #rows = new Map();
  #last = [];

  /** `columns`: {name, of(row), show(row), title, text, lesser}: `text` begins with the first letter, `lesser` is left out where there is little room. */
  constructor(id, caption, columns, by) {
    this.#table = $(id);
    this.#columns = columns;
    this.#by = columns.findIndex(({ key }) => key === by);
    this.#head = columns.map((column, at) => {
      // Before the name of a column of numbers, so that the name ends where they do.
      const parts = [el('span', { class: 'arrow', 'aria-hidden': 'true' }), column.name];
      const button = el('button', { type: 'button', class: 'sort', title: column.title, onclick: () => this.#sort(at) }, ...(column.text ? parts.reverse() : parts));
      return el('th', { scope: 'col', class: kind(column) }, button);
    });
    this.#table.append(el('caption', { class: 'only-read' }, caption), el('thead', {}, el('tr', {}, ...this.#head)), this.#body);
    this.#mark();
  }

  #sort(at) {
    this.#down = at === this.#by ? !this.#down : !this.#columns[at].text;
    this.#by = at;
    this.#mark();
    this.show(this.#last);
  }

  #mark() {
    this.#head.forEach((head, at) => {
      if (at === this.#by) head.setAttribute('aria-sort', this.#down ? 'descending' : 'ascending');
      else head.removeAttribute('aria-sort');
      say(head.querySelector('.arrow'), at === this.#by ? (this.#down ? '↓' : '↑') : '');
    });
  }

  show(rows) {
    this.#last = rows;
    this.#table.hidden = !rows.length;
    const { of, text } = this.#columns[this.#by];
    const compare = (a, b) => (text ? String(of(a)).localeCompare(String(of(b))) : (of(a) ?? -1) - (of(b) ?? -1));
    const sorted = [...rows].sort((a, b) => (this.#down ? -1 : 1) * compare(a, b) || a.name.localeCompare(b.name));
    const nodes = sorted.map((row) => this.#row(row));
    const same = nodes.length === this.#body.childElementCount && nodes.every((node, at) => this.#body.children[at] === node);
    if (!same) this.#body.replaceChildren(...nodes);
  }

  #row(row) {
    let kept = this.#rows.get(row.name);
    if (!kept) {
      const cells = this.#columns.map((column, at) => el(at === 0 ? 'th' : 'td', { class: kind(column), scope: at === 0 ? 'row' : null }));
      kept = { cells, node: el('tr', {}, ...cells) };
      this.#rows.set(row.name, kept);
    }
    this.#columns.forEach((column, at) => (column.draw ? column.draw(kept.cells[at], row) : say(kept.cells[at], column.show(row))));
    return kept.node;
  }
}

const kind = ({ text, lesser }) => `${text ? '' : 'number'}${lesser ? ' lesser' : ''}`;

/** The rate in words, and its bar beside it. */
function drawRate(cell, row) {
  if (!cell.firstChild) cell.append(el('span', {}), el('span', { class: 'meter', 'aria-hidden': 'true' }));
  const lookups = row.lookups ?? row.hits + row.misses;
  say(cell.firstChild, lookups ? percent(row.hit_rate) : '–');
  bar(cell.lastChild, [row.hit_rate, 1 - row.hit_rate], ['memory', 'rest']);
}

const ENDPOINTS = [
  { key: 'name', name: 'Endpoint', text: true, of: (row) => row.name, show: (row) => row.name },
  { key: 'lookups', name: 'Lookups /s', title: 'In the last minute', of: (row) => row.lookups_per_s, show: (row) => rate(row.lookups_per_s) },
  { key: 'rate', name: 'Hit rate', title: 'Since the start', of: (row) => row.hit_rate, draw: drawRate },
  { key: 'loads', name: 'Loads', title: 'Since the start', of: (row) => row.loads, show: (row) => count(row.loads) },
  { key: 'loads-now', name: 'Loads /s', lesser: true, title: 'In the last minute', of: (row) => row.loads_per_s, show: (row) => rate(row.loads_per_s) },
  { key: 'mean', name: 'A load takes', title: 'On average', of: (row) => row.load_mean_ms, show: (row) => ms(row.load_mean_ms) },
  { key: 'time', name: 'Time in loads', title: 'Since the start', of: (row) => row.load_s, show: (row) => (row.loads ? seconds(row.load_s) : '–') },
  { key: 'saved', name: 'Saved', title: 'Hits, times the mean of a load', of: (row) => row.saved_s, show: (row) => (row.hits ? seconds(row.saved_s) : '–') },
  { key: 'joined', name: 'Shared loads', title: 'Lookups that waited for another’s load', of: (row) => row.coalesced, show: (row) => count(row.coalesced) },
  { key: 'failed', name: 'Failed', title: 'Loads that failed', of: (row) => row.load_errors, show: (row) => count(row.load_errors) },
];

const TENANTS = [
  { key: 'name', name: 'Tenant', text: true, of: (row) => row.name, show: (row) => row.name || 'shared' },
  { key: 'lookups', name: 'Lookups', of: (row) => row.lookups, show: (row) => count(row.lookups) },
  { key: 'rate', name: 'Hit rate', of: (row) => row.hit_rate, draw: drawRate },
  { key: 'loads', name: 'Loads', of: (row) => row.loads, show: (row) => count(row.loads) },
  { key: 'time', name: 'Time in loads', of: (row) => row.load_s, show: (row) => seconds(row.load_s) },
  { key: 'memory', name: 'Memory', of: (row) => row.bytes, show: (row) => bytes(row.bytes) },
  { key: 'entries', name: 'Entries', of: (row) => row.entries, show: (row) => count(row.entries) },
  { key: 'evictions', name: 'Evicted', of: (row) => row.evictions, show: (row) => count(row.evictions) },
];

export class Tables {
  #endpoints = new Ranking('endpoints', 'Endpoints, ranked', ENDPOINTS, 'loads');
  #tenants = new Ranking('tenants', 'Tenants, ranked', TENANTS, 'lookups');

  show({ endpoints, tenants, tenant_count: all, viewer }) {
    const used = endpoints.filter(({ hits, misses, loads }) => hits + misses + loads > 0);
    this.#endpoints.show(used);
    const unused = endpoints.length - used.length;
    say($('endpoints-note'), unused ? `${used.length} in use, ${unused} not asked for yet` : `${used.length} in use`);
    $('tenants-panel').hidden = viewer.as === 'tenant';
    this.#tenants.show(tenants ?? []);
    say($('tenants-note'), tenants ? (tenants.length < all ? `the largest ${tenants.length} of ${count(all)}` : count(all)) : 'Sign in as an administrator to see them.');
  }
}
