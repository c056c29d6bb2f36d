// How the node stands: coherence, Redis, this process. Every state has its word; the colour comes beside it.
import { $, bytes, count, el, ms, percent, say, seconds } from './format.js';

const word = (level, text) => ({ level, text });

const COHERENCE = [
  ['Trust', ({ coherence: it }) => (it.trusted ? word('good', 'Trusted') : word('warn', 'Not trusted')), 'Whether this node follows the invalidations of the others'],
  ['Lease left', ({ coherence: it }) => (it.lease_left_s === null ? 'for ever, without Redis' : it.lease_left_s > 0 ? `${seconds(it.lease_left_s)} of ${seconds(it.lease_s)}` : word('warn', 'run out')), 'How long memory may be served without news from Redis'],
  ['Lag', ({ coherence: it, redis }) => (redis.state === 'disabled' ? 'none' : it.lag_s === null ? 'unknown' : seconds(it.lag_s)), 'Age of what is known of the others’ invalidations'],
  ['Circuit breaker', ({ coherence: it, redis }) => (redis.state === 'disabled' ? 'not needed' : it.breaker_open ? word('bad', 'Open') : word('good', 'Closed')), 'Open: requests leave Redis alone'],
  ['Epoch', ({ coherence: it }) => (it.epoch === null ? 'none' : `${it.epoch.toString(16)}, ${count(it.epoch_bumps)} new since the start`), 'With each new epoch, what Redis held before is cold'],
  ['Journal', ({ coherence: it }) => (it.undelivered ? word('warn', `${count(it.undelivered)} wait for Redis`) : 'empty'), 'Invalidations that are in force here and wait to be told'],
  ['Heard, missed', ({ coherence: it }) => `${count(it.told)}, ${count(it.missed)}`, 'Invalidations that came over the stream; times that some had been missed'],
  ['Nodes', ({ nodes }) => (nodes.length ? count(nodes.length) : 'this process only'), 'Processes that share the cache'],
];

const REDIS = [
  ['State', ({ redis: it }) => ({ connected: word('good', 'Connected'), disabled: 'not configured', unavailable: word('bad', 'Out of reach'), unsupported: word('bad', 'Can’t be used') })[it.state]],
  ['Server', ({ redis: it }) => it.server && `${it.server}${it.tls ? ', TLS' : ''}`],
  ['Round trip', ({ redis: it }) => ms(it.round_trip_ms)],
  ['Memory', ({ redis: it }) => it.used_bytes !== null && (it.max_bytes ? `${bytes(it.used_bytes)} of ${bytes(it.max_bytes)} (${percent(it.used_bytes / it.max_bytes)})` : `${bytes(it.used_bytes)}, no limit`)],
  ['When full', ({ redis: it }) => it.policy],
  ['Evicted, expired', ({ redis: it }) => it.evicted_keys !== null && `${count(it.evicted_keys)}, ${count(it.expired_keys)}`],
  ['Operations', ({ redis: it }) => it.ops_per_s !== null && `${count(it.ops_per_s)} /s`],
  ['Clients', ({ redis: it }) => it.clients !== null && count(it.clients)],
  ['Errors, time-outs', ({ redis: it }) => it.errors !== null && `${count(it.errors)}, ${count(it.timeouts)}`],
];

const PROCESS = [
  ['Up', ({ uptime_s: it }) => seconds(it)],
  ['Processor', ({ process: it }) => it && (it.cpu_percent === null ? '–' : `${it.cpu_percent} % of a core`)],
  ['Resident memory', ({ process: it }) => it && bytes(it.resident_bytes)],
  ['Connections', ({ connections: it }) => `${count(it.http)} open`],
  ['WebSocket, SSE', ({ connections: it }) => `${count(it.websocket)}, ${count(it.sse)}`],
  ['Dashboards', ({ connections: it }) => count(it.watchers)],
  ['Database', ({ database: it }) => it && (it.busy >= it.max ? word('bad', `all ${count(it.max)} busy`) : `${count(it.busy)} busy, ${count(it.open)} of ${count(it.max)} open`)],
  ['Statements', ({ database: it }) => it && count(it.statements)],
  ['Outbox', ({ database: it }) => it?.outbox && (it.outbox.dead ? word('bad', `${count(it.outbox.dead)} set aside`) : it.outbox.waiting ? `${count(it.outbox.waiting)} wait, ${seconds(it.outbox.lag_s)}` : 'empty')],
  ['Events logged', ({ events: it }) => it && `${count(it.appended)}${it.waiting ? `, ${count(it.waiting)} wait` : ''}`],
];

class Facts {
  #rows;

  constructor(id, title, rows) {
    const list = el('dl', {});
    this.#rows = rows.map(([name, of, why]) => {
      const value = el('dd', {});
      const row = el('div', {}, el('dt', { title: why }, name), value);
      list.append(row);
      return { of, value, row };
    });
    this.note = el('p', { class: 'soft' });
    this.node = el('section', { class: 'panel', id, 'aria-labelledby': `${id}-title` }, el('div', { class: 'head' }, el('h2', { id: `${id}-title` }, title), this.note), list);
  }

  show(overview) {
    for (const { of, value, row } of this.#rows) {
      const told = of(overview);
      row.hidden = told === null || told === undefined || told === false;
      value.className = told?.level ?? '';
      say(value, told?.text ?? String(told));
    }
  }
}

export class Node {
  #coherence = new Facts('coherence', 'Coherence', COHERENCE);
  #redis = new Facts('redis', 'Redis', REDIS);
  #process = new Facts('process', 'This process', PROCESS);

  constructor() {
    $('facts').append(this.#coherence.node, this.#redis.node, this.#process.node);
  }

  show(overview) {
    $('facts').hidden = !overview.coherence;
    if (!overview.coherence) return;
    for (const facts of [this.#coherence, this.#redis, this.#process]) facts.show(overview);
    const { nodes, redis } = overview;
    say(this.#coherence.note, nodes.length > 1 ? `with ${nodes.filter((node) => !node.this).map(({ name }) => name.slice(0, 6)).join(', ')}` : '');
    say(this.#redis.note, redis.address ?? redis.reason ?? (redis.state === 'disabled' ? 'memory only' : ''));
    say(this.#process.note, nodes[0] ? `node ${nodes[0].name.slice(0, 6)}` : '');
  }
}
