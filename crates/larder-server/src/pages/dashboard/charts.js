// What happened over the last minutes, drawn by uPlot and told as tables. uPlot is at `uPlot`: its file is no module.
import { $, bytes, clock, el, ms, percent, rate, say } from './format.js';

const SPAN_S = [60, 300];
const MOST = 400;
/** Rows of a table: one every ten seconds. */
const ROWS = 12;
const ROW_S = 10;

/** The points of one chart: a time and a number a series, oldest first. A pause leaves a hole. */
class Points {
  constructor(series) {
    this.times = [];
    this.values = series.map(() => []);
  }

  add(time, numbers) {
    const last = this.times.at(-1);
    if (last && time <= last) return;
    if (last && time - last > 5) this.#push(last + 0.5, this.values.map(() => null));
    this.#push(time, numbers);
  }

  #push(time, numbers) {
    this.times.push(time);
    this.values.forEach((values, at) => values.push(numbers[at] ?? null));
    if (this.times.length > MOST) {
      this.times.shift();
      this.values.forEach((values) => values.shift());
    }
  }
}

/** A colour of the style sheet as a canvas takes it: one for light and dark has to be worked out by the browser. */
function colour(name) {
  const probe = $('probe');
  probe.style.color = `var(--${name})`;
  return getComputedStyle(probe).color;
}

class Chart {
  #spec;
  #points;
  #plot = null;
  #figure;
  #box;
  #legend;
  #table;

  /** `spec`: id, title, note, series [{label, colour, of(overview)}], show(number), stacked. */
  constructor(spec) {
    this.#spec = spec;
    this.#points = new Points(spec.series);
    this.#legend = spec.series.map(({ label, colour: name }) => {
      const value = el('b', {}, '–');
      return { value, item: el('li', {}, el('i', { class: `key ${name}`, 'aria-hidden': 'true' }), `${label} `, value) };
    });
    this.#box = el('div', { class: 'plot', role: 'img', 'aria-label': `${spec.title}, over time. The button “Table” shows the numbers.` });
    this.#table = el('div', { class: 'scroll numbers', hidden: true, tabindex: '0', role: 'region', 'aria-label': `${spec.title}: numbers` });
    const button = el('button', { type: 'button', class: 'quiet small', 'aria-expanded': 'false', 'aria-label': `${spec.title}: table`, onclick: () => this.#toggle(button) }, 'Table');
    this.#figure = el('figure', { class: `panel chart ${spec.wide ? 'wide' : ''}`, id: `chart-${spec.id}` },
      el('figcaption', { class: 'head' }, el('h2', {}, spec.title), el('p', { class: 'soft' }, spec.note), button),
      el('ul', { class: 'legend' }, ...this.#legend.map(({ item }) => item)), this.#box, this.#table);
    new ResizeObserver(() => this.#fit()).observe(this.#box);
  }

  get node() {
    return this.#figure;
  }

  #toggle(button) {
    const open = this.#table.hidden;
    this.#table.hidden = !open;
    this.#box.hidden = open;
    button.setAttribute('aria-expanded', String(open));
    say(button, open ? 'Chart' : 'Table');
    this.#tell();
    if (!open) this.#draw();
  }

  add(overview) {
    const numbers = this.#spec.series.map(({ of }) => of(overview));
    this.#points.add(overview.at_ms / 1000, numbers);
    if (!this.#table.hidden) return this.#tell();
    this.#draw();
  }

  /** Colours are read when a chart is made. */
  restyle() {
    this.#plot?.destroy();
    this.#plot = null;
    this.#draw();
  }

  clear() {
    this.#points = new Points(this.#spec.series);
    this.restyle();
  }

  /** uPlot stacks nothing by itself: each series is drawn on those before it, the band between two is filled. */
  #data() {
    const { times, values } = this.#points;
    if (!this.#spec.stacked) return [times, ...values];
    const sums = times.map(() => 0);
    return [times, ...values.map((series) => series.map((number, at) => (number === null ? null : (sums[at] += number))))];
  }

  #draw() {
    if (!this.#box.clientWidth) return;
    const data = this.#data();
    if (this.#plot) this.#plot.setData(data, false);
    else this.#plot = new uPlot(this.#options(), data, this.#box);
    const { times } = this.#points;
    const end = times.at(-1) ?? Date.now() / 1000;
    const [least, most] = SPAN_S;
    this.#plot.setScale('x', { min: end - Math.min(most, Math.max(least, end - (times[0] ?? end))), max: end });
    this.#say(this.#plot.cursor.idx);
  }

  #fit() {
    if (this.#plot) this.#plot.setSize(this.#size());
    else this.#draw();
  }

  #size() {
    return { width: this.#box.clientWidth, height: this.#box.clientHeight || 180 };
  }

  #say(at) {
    const { values, times } = this.#points;
    const place = at ?? times.length - 1;
    this.#legend.forEach(({ value }, series) => say(value, this.#spec.show(values[series][place])));
  }

  #options() {
    const { series, stacked, show } = this.#spec;
    const [text, line] = [colour('soft'), colour('line')];
    const font = '11px system-ui, sans-serif';
    const axis = { stroke: text, font, grid: { stroke: line, width: 1 }, ticks: { show: false } };
    return {
      ...this.#size(),
      legend: { show: false },
      // The last time may stand at the right edge: half of its label is beyond it.
      padding: [8, 28, 0, 0],
      cursor: { y: false, sync: { key: 'larder' }, drag: { setScale: false, x: false, y: false }, points: { size: 6 } },
      hooks: { setCursor: [(plot) => this.#say(plot.cursor.idx)] },
      scales: { x: { time: true }, y: { range: (_, min, max) => [0, Math.max((max ?? 0) * 1.08, this.#spec.least ?? 1)] } },
      axes: [
        { ...axis, size: 28, gap: 8, space: 70, values: (_, times, __, ___, step) => times.map((time) => clock(time * 1000).slice(0, step < 60 ? 8 : 5)), incrs: [15, 30, 60, 120] },
        { ...axis, size: 56, space: 34, incrs: this.#spec.incrs, values: (_, numbers) => numbers.map((number) => show(number)) },
      ],
      series: [{}, ...series.map(({ colour: name }, at) => ({
        // What lies on others has no line: it would be drawn where there is none of it.
        stroke: colour(name), width: stacked && at > 0 ? 0 : 1.5, points: { show: false }, spanGaps: false,
        fill: stacked && at === 0 ? colour(`${name}-fill`) : undefined,
      }))],
      bands: stacked ? series.slice(1).map(({ colour: name }, at) => ({ series: [at + 2, at + 1], fill: colour(`${name}-fill`) })) : [],
    };
  }

  #tell() {
    if (this.#table.hidden) return;
    const { series, title, show } = this.#spec;
    const { times, values } = this.#points;
    const rows = [];
    for (let at = times.length - 1, before = Infinity; at >= 0 && rows.length < ROWS; at -= 1) {
      if (before - times[at] < ROW_S || values[0][at] === undefined) continue;
      before = times[at];
      rows.push(el('tr', {}, el('th', { scope: 'row' }, clock(times[at] * 1000)), ...values.map((numbers) => el('td', {}, show(numbers[at])))));
    }
    this.#table.replaceChildren(el('table', {}, el('caption', { class: 'only-read' }, title),
      el('thead', {}, el('tr', {}, el('th', { scope: 'col' }, 'Time'), ...series.map(({ label }) => el('th', { scope: 'col' }, label)))),
      el('tbody', {}, ...rows)));
  }
}

const perSecond = (number) => (number === null || number === undefined ? '–' : `${rate(number)} /s`);

/** Steps of an axis of bytes, which are counted in 1024s. */
const POWERS = Array.from({ length: 50 }, (_, at) => 2 ** at);

const SPECS = [
  {
    id: 'lookups', title: 'Lookups', note: 'by how they ended', wide: true, stacked: true, show: perSecond,
    series: [
      { label: 'Memory', colour: 'memory', of: ({ now }) => now?.l1_hits_per_s },
      { label: 'Redis', colour: 'redis', of: ({ now }) => now?.l2_hits_per_s },
      { label: 'Stale', colour: 'stale', of: ({ now }) => now?.stale_hits_per_s },
      { label: 'Missed', colour: 'miss', of: ({ now }) => now?.misses_per_s },
    ],
  },
  {
    id: 'rate', title: 'Hit rate', note: 'over the last minute', show: percent, least: 1,
    series: [{ label: 'Hits by lookups', colour: 'memory', of: ({ minute }) => minute?.hit_rate }],
  },
  {
    id: 'loads', title: 'Loads', note: 'from the source', show: perSecond,
    series: [
      { label: 'Loads', colour: 'load', of: ({ now }) => now?.loads_per_s },
      { label: 'Failed', colour: 'fail', of: ({ now }) => now?.load_errors_per_s },
    ],
  },
  {
    id: 'latency', title: 'Time of a hit', note: 'over the last minute', node: true, show: ms, least: 0.2,
    series: [
      { label: 'Median', colour: 'memory', of: ({ latency }) => latency?.hits?.p50_ms },
      { label: 'p99', colour: 'redis', of: ({ latency }) => latency?.hits?.p99_ms },
    ],
  },
  {
    id: 'load-time', title: 'Time of a load', note: 'over the last minute', node: true, show: ms, least: 2,
    series: [
      { label: 'Median', colour: 'load', of: ({ latency }) => latency?.loads?.p50_ms },
      { label: 'p99', colour: 'fail', of: ({ latency }) => latency?.loads?.p99_ms },
    ],
  },
  {
    id: 'memory', title: 'Memory', note: 'held by entries', broad: true, show: bytes, least: 1024, incrs: POWERS,
    series: [{ label: 'In use', colour: 'memory', of: ({ memory }) => memory.bytes }],
  },
  {
    id: 'changes', title: 'Invalidations', note: 'and evictions', broad: true, show: perSecond,
    series: [
      { label: 'Invalidated', colour: 'redis', of: ({ now }) => now?.invalidations_per_s },
      { label: 'Evicted', colour: 'stale', of: ({ now }) => now?.evictions_per_s },
    ],
  },
];

export class Charts {
  #charts = [];

  constructor() {
    this.#charts = SPECS.map((spec) => ({ spec, chart: new Chart(spec) }));
    $('charts').append(...this.#charts.map(({ chart }) => chart.node));
  }

  show(overview) {
    for (const { spec, chart } of this.#charts) {
      chart.node.hidden = Boolean(spec.node) && !overview.latency;
      // A tenant sees fewer: these take the room.
      chart.node.classList.toggle('wide', Boolean(spec.wide || (spec.broad && !overview.latency)));
      if (!chart.node.hidden) chart.add(overview);
    }
  }

  restyle() {
    this.#charts.forEach(({ chart }) => chart.restyle());
  }

  clear() {
    this.#charts.forEach(({ chart }) => chart.clear());
  }
}
