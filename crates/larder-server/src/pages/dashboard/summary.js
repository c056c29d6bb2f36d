// The first glance: does it earn its keep, is anything wrong, and the essentials in numbers.
import { $, bytes, count, el, ms, percent, rate, say, seconds } from './format.js';

const WORDS = { good: ['✓', 'All is well'], warn: ['!', 'Needs a look'], bad: ['✕', 'Something is broken'], idle: ['○', 'Waiting for lookups'], unknown: ['?', 'Not known now'] };

export class Summary {
  #tiles = new Map();
  #alerts = '';

  constructor() {
    const tiles = ['rate', 'lookups', 'loads', 'saved', 'latency', 'memory'].map((id) => {
      const tile = { name: el('dt', {}), value: el('span', { class: 'value' }), note: el('span', { class: 'soft note' }), extra: el('span', { class: 'extra', 'aria-hidden': 'true' }) };
      this.#tiles.set(id, tile);
      return el('div', { class: 'tile', id: `tile-${id}` }, tile.name, el('dd', {}, tile.value, tile.note, tile.extra));
    });
    $('tiles').append(...tiles);
  }

  show(overview) {
    this.#verdict(overview);
    this.#numbers(overview);
    $('first-steps').hidden = overview.totals.hits + overview.totals.misses > 0;
  }

  /** The figures are old: nobody knows whether all is well. */
  unknown() {
    this.#word('unknown');
  }

  #word(level) {
    const [sign, word] = WORDS[level];
    $('verdict').dataset.level = level;
    say($('state').querySelector('.sign'), sign);
    say($('state-word'), word);
  }

  #verdict({ alerts, totals, minute, viewer }) {
    const idle = totals.hits + totals.misses === 0;
    const level = alerts[0]?.level ?? (idle ? 'idle' : 'good');
    this.#word(level);
    const whose = viewer.as === 'tenant' ? `of ${viewer.tenant} ` : '';
    const recent = minute?.hit_rate ?? null;
    const [share, when] = recent === null ? [totals.hit_rate, 'since the start'] : [recent, 'in the last minute'];
    say($('headline'), idle ? `No lookup ${whose}yet` : `${percent(share)} of lookups ${whose}were answered by the cache ${when}`);
    say($('subline'), this.#worth(totals, minute, idle));
    const told = alerts.map(({ code, text }) => code + text).join('\n');
    if (told === this.#alerts) return;
    this.#alerts = told;
    $('alerts').hidden = !alerts.length;
    $('alerts').replaceChildren(...alerts.map((alert) => el('li', { class: alert.level, 'data-code': alert.code },
      el('b', {}, alert.level === 'bad' ? '✕ Broken' : '! Look'), el('span', {}, alert.text))));
  }

  #worth(totals, minute, idle) {
    if (idle) return 'The figures come as soon as somebody asks for something that is cached.';
    const all = `${seconds(totals.saved_s)} of loading saved since the start`;
    const now = minute?.saved_s_per_s ? `, ${seconds(minute.saved_s_per_s)} more every second` : '';
    return totals.hits ? `${all}${now}.` : 'Nothing has been asked for twice yet.';
  }

  #set(id, name, value, note) {
    const tile = this.#tiles.get(id);
    say(tile.name, name);
    say(tile.value, value);
    say(tile.note, note);
    return tile.extra;
  }

  #numbers(overview) {
    const { totals, minute, now, memory, latency, endpoints } = overview;
    const rates = this.#set('rate', 'Hit rate', percent(minute?.hit_rate ?? (totals.hits + totals.misses ? totals.hit_rate : null)),
      totals.hits + totals.misses ? `${percent(totals.hit_rate)} since the start` : '');
    tiers(rates, totals, minute);
    this.#traffic(totals, minute, now);
    this.#set('loads', 'Loads', now ? `${rate(now.loads_per_s)} /s` : '–',
      totals.load_errors ? `${count(totals.loads)} in all, ${count(totals.load_errors)} failed` : `${count(totals.loads)} in all, none failed`);
    this.#set('saved', 'Loading saved', seconds(totals.saved_s), `${seconds(totals.load_s)} spent in loaders`);
    const mean = totals.loads ? (totals.load_s * 1000) / totals.loads : null;
    if (latency) {
      this.#set('latency', 'A hit takes', ms(latency.hits?.p50_ms), known([['p99', latency.hits?.p99_ms], ['a load', latency.loads?.p50_ms ?? mean]]));
    } else {
      this.#set('latency', 'A load takes', ms(mean), `on average, over ${count(endpoints.filter(({ loads }) => loads).length)} endpoints`);
    }
    const extra = this.#set('memory', 'Memory', bytes(memory.bytes), memory.max_bytes
      ? `of ${bytes(memory.max_bytes)}, ${count(memory.entries)} entries` : `${count(memory.entries)} entries`);
    meter(extra, memory.max_bytes ? memory.bytes / memory.max_bytes : null);
  }

  /** Requests of everybody are an administrator's to see; a tenant sees its lookups. */
  #traffic(totals, minute, now) {
    const lookups = now ? `${rate(now.lookups_per_s)} /s` : '–';
    if (now?.requests_per_s == null) {
      this.#set('lookups', 'Lookups', lookups, `${count(totals.hits + totals.misses)} since the start`);
      return;
    }
    const failed = minute?.server_error_rate ? `${percent(minute.server_error_rate)} failed` : 'none failed';
    this.#set('lookups', 'Requests', `${rate(now.requests_per_s)} /s`, `${failed}, lookups ${lookups}`.replaceAll(' /s', '\u00a0/s'));
  }
}

/** Those of the times that are known. A line may end between two of them, and not within one. */
const known = (times) => times.filter(([, time]) => time !== null && time !== undefined).map(([name, time]) => `${name} ${ms(time)}`.replaceAll(' ', '\u00a0')).join(', ');

/** A bar of the parts of all lookups: in the last minute, or else since the start. */
function tiers(extra, totals, minute) {
  const of = minute?.lookups_per_s
    ? [minute.l1_hits_per_s, minute.l2_hits_per_s, minute.stale_hits_per_s, minute.misses_per_s]
    : [totals.l1_hits, totals.l2_hits, totals.stale_hits, totals.misses];
  bar(extra, of, ['memory', 'redis', 'stale', 'miss']);
}

function meter(extra, part) {
  if (part === null) return extra.replaceChildren();
  bar(extra, [part, Math.max(0, 1 - part)], [part > 0.9 ? 'stale' : 'memory', 'rest']);
}

/** Parts side by side. Widths are set by the script: the policy allows no styles in markup. */
export function bar(node, parts, names) {
  const all = parts.reduce((sum, part) => sum + part, 0);
  if (node.childElementCount !== parts.length) node.replaceChildren(...names.map(() => el('i', {})));
  parts.forEach((part, at) => {
    const piece = node.children[at];
    piece.className = names[at];
    piece.style.flexGrow = all ? part / all : 0;
    piece.hidden = part === 0;
  });
}
