// Numbers for people. What is not known is a dash.

const UNKNOWN = '–';
const locale = 'en';

const known = (show) => (number, ...more) => (number === null || number === undefined || Number.isNaN(number) ? UNKNOWN : show(number, ...more));

/** 1,234,567; beyond a million 1.23 M. */
export const count = known((number) =>
  (number >= 1e6 ? new Intl.NumberFormat(locale, { notation: 'compact', maximumFractionDigits: 2 }).format(number) : new Intl.NumberFormat(locale, { maximumFractionDigits: 0 }).format(number)));

/** A rate: what is small keeps its digits. */
export const rate = known((number) => {
  const digits = number >= 100 || number === 0 ? 0 : number >= 10 ? 1 : 2;
  return new Intl.NumberFormat(locale, { minimumFractionDigits: 0, maximumFractionDigits: digits }).format(number);
});

/** A part of one, in percent. Never rounded up to all. */
export const percent = known((part) => {
  const number = part * 100;
  const shown = number > 99.9 && number < 100 ? '> 99.9' : number < 0.1 && number > 0 ? '< 0.1' : new Intl.NumberFormat(locale, { maximumFractionDigits: 1 }).format(number);
  return `${shown} %`;
});

export const bytes = known((number) => {
  const units = ['B', 'kB', 'MB', 'GB', 'TB'];
  let unit = 0;
  let size = number;
  while (size >= 1024 && unit < units.length - 1) {
    size /= 1024;
    unit += 1;
  }
  return `${new Intl.NumberFormat(locale, { maximumFractionDigits: size < 10 && unit > 0 ? 1 : 0 }).format(size)} ${units[unit]}`;
});

/** Milliseconds, from 12 µs to 3.4 s. */
export const ms = known((number) => {
  if (number === 0) return '0 ms';
  if (number < 1) return `${Math.round(number * 1000)} µs`;
  if (number < 1000) return `${new Intl.NumberFormat(locale, { maximumFractionDigits: number < 10 ? 2 : number < 100 ? 1 : 0 }).format(number)} ms`;
  return `${new Intl.NumberFormat(locale, { maximumFractionDigits: 1 }).format(number / 1000)} s`;
});

/** Seconds, from 12 ms to 3 d 4 h. */
export const seconds = known((number) => {
  if (number === 0) return '0 s';
  if (number < 1) return ms(number * 1000);
  if (number < 60) return `${new Intl.NumberFormat(locale, { maximumFractionDigits: number < 10 ? 1 : 0 }).format(number)} s`;
  const [days, hours, minutes] = [Math.floor(number / 86400), Math.floor(number / 3600) % 24, Math.floor(number / 60) % 60];
  if (days) return `${days} d ${hours} h`;
  if (hours) return `${hours} h ${String(minutes).padStart(2, '0')} min`;
  return `${minutes} min ${String(Math.floor(number) % 60).padStart(2, '0')} s`;
});

export const clock = (at) => new Date(at).toLocaleTimeString('en-GB');

/** An element with what is in it; strings are text, never markup. */
export function el(name, attributes = {}, ...children) {
  const node = document.createElement(name);
  for (const [key, value] of Object.entries(attributes)) {
    if (value === false || value === null || value === undefined) continue;
    if (key === 'class') node.className = value;
    else if (key.startsWith('on')) node.addEventListener(key.slice(2), value);
    else node.setAttribute(key, value === true ? '' : value);
  }
  node.append(...children.filter((child) => child !== null && child !== undefined));
  return node;
}

export const $ = (id) => document.getElementById(id);

/** Sets a text where it differs, so that nothing is announced or laid out for nothing. */
export function say(node, text) {
  if (node.textContent !== text) node.textContent = text;
}
