// Who is signed in. The token outlives a reload of this tab and no more; the password stays in memory, for the next token.

const KEPT = 'larder-session';

/** What the server refused. */
export class Refusal extends Error {
  constructor(status, problem = {}) {
    super(problem.errors?.map(({ field, message }) => `${field}: ${message}`).join('; ') || problem.detail || problem.title || `The server answered ${status}.`);
    this.status = status;
  }
}

export class Session {
  #credentials = null;

  constructor() {
    try {
      Object.assign(this, JSON.parse(sessionStorage.getItem(KEPT)) ?? {});
    } catch {
      this.forget();
    }
  }

  get signedIn() {
    return Boolean(this.token);
  }

  async signIn(email, password) {
    this.#credentials = { email, password };
    await this.#renew();
  }

  forget() {
    this.#credentials = null;
    this.token = this.user = this.tenant = null;
    sessionStorage.removeItem(KEPT);
  }

  async #renew() {
    const body = await read(await fetch('/api/v1/auth/login', {
      method: 'POST', headers: { 'content-type': 'application/json' }, body: JSON.stringify(this.#credentials), cache: 'no-store',
    }));
    this.token = body.access_token;
    this.tenant = body.tenant_id;
    this.user = { email: body.user.email, role: body.user.role };
    sessionStorage.setItem(KEPT, JSON.stringify({ token: this.token, tenant: this.tenant, user: this.user }));
  }

  /** A response of the server, with a new token where the old one has run out. Throws what keeps it from coming. */
  async fetch(path, options = {}) {
    const ask = () => fetch(path, {
      cache: 'no-store', ...options, headers: { ...options.headers, ...(this.token && { authorization: `Bearer ${this.token}` }) },
    });
    let response = await ask();
    if (response.status === 401 && this.#credentials) {
      await this.#renew();
      response = await ask();
    }
    return response;
  }

  async get(path) {
    return read(await this.fetch(path, { headers: { accept: 'application/json' } }));
  }

  async post(path, json) {
    return read(await this.fetch(path, { method: 'POST', headers: { 'content-type': 'application/json' }, body: JSON.stringify(json) }));
  }
}

async function read(response) {
  const text = await response.text();
  let body = {};
  try {
    body = JSON.parse(text);
  } catch {
    if (response.ok) throw new Refusal(response.status, { detail: 'The answer can’t be read.' });
  }
  if (!response.ok) throw new Refusal(response.status, body);
  return body;
}
