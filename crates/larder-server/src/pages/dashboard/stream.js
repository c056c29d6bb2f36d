// The server's own stream of the overview, and what is done when it ends.

const LATE_MS = 3000;
const DEAD_MS = 10_000;
const PAUSES_MS = [500, 1000, 2000, 4000, 8000];

/** Calls `news(overview)` for each, and `state(word, detail)`: connecting, live, late, lost, refused. */
export class Stream {
  #session;
  #news;
  #state;
  #control = null;
  #timer = null;
  #failures = 0;
  #heard = 0;

  constructor(session, { news, state }) {
    this.#session = session;
    this.#news = news;
    this.#state = state;
    addEventListener('online', () => this.now());
  }

  start() {
    this.stop();
    this.#failures = 0;
    this.#follow();
  }

  stop() {
    clearTimeout(this.#timer);
    this.#timer = null;
    const control = this.#control;
    this.#control = null;
    control?.abort();
  }

  /** Tries again at once, if it is waiting to. */
  now() {
    if (!this.#timer) return;
    clearTimeout(this.#timer);
    this.#timer = null;
    this.#follow();
  }

  async #follow() {
    const control = new AbortController();
    this.#control = control;
    if (!this.#heard) this.#state('connecting');
    let watch;
    try {
      const response = await this.#session.fetch('/api/cache/live', { signal: control.signal, headers: { accept: 'text/event-stream' } });
      if (!response.ok) {
        const problem = await response.json().catch(() => ({}));
        if (response.status === 401 || response.status === 403) {
          if (this.#control === control) this.#state('refused', { status: response.status, why: problem.detail ?? problem.title });
          return;
        }
        return this.#again(control, problem.detail ?? `The server answered ${response.status}.`);
      }
      this.#heard = performance.now();
      watch = setInterval(() => {
        const silent = performance.now() - this.#heard;
        if (silent > DEAD_MS) control.abort();
        else if (silent > LATE_MS) this.#state('late');
      }, 500);
      await this.#read(response.body, control);
      this.#again(control, 'The server ended the stream.');
    } catch {
      this.#again(control, 'The server can’t be reached.');
    } finally {
      clearInterval(watch);
    }
  }

  async #read(body, control) {
    const reader = body.pipeThrough(new TextDecoderStream()).getReader();
    let text = '';
    for (;;) {
      const { value, done } = await reader.read();
      if (done || this.#control !== control) return;
      text += value;
      let end;
      let newest = null;
      while ((end = text.indexOf('\n\n')) >= 0) {
        const data = text.slice(0, end).split('\n').find((line) => line.startsWith('data: '));
        if (data) newest = data.slice(6);
        text = text.slice(end + 2);
      }
      if (!newest) continue;
      this.#heard = performance.now();
      this.#failures = 0;
      this.#state('live');
      this.#news(JSON.parse(newest));
    }
  }

  #again(control, why) {
    if (this.#control !== control) return;
    const pause = PAUSES_MS[Math.min(this.#failures, PAUSES_MS.length - 1)] * (0.75 + Math.random() / 2);
    this.#failures += 1;
    this.#state('lost', { why, at: Date.now() + pause });
    this.#timer = setTimeout(() => {
      this.#timer = null;
      this.#follow();
    }, pause);
  }
}
