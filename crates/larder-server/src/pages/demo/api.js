// The server's API, and who is signed in.

/** What the server refused: `status`, `detail`, and `errors` by field where the input is at fault. */
export class Refusal extends Error {
  constructor(status, problem) {
    super(problem.detail || problem.title || `The server answered ${status}.`);
    this.status = status;
    this.errors = problem.errors || [];
  }
}

export class Session {
  #credentials;
  #token;

  /** The password stays in this page's memory until it is closed: the sample backend has no other way to a new token. */
  static async signIn(email, password) {
    const session = new Session();
    session.#credentials = { email, password };
    await session.renew();
    return session;
  }

  /** A token for the live connection: a new one where the last will not do, none where there is none to be had any more. */
  async token({ reason }) {
    try {
      if (reason !== 'connect') await this.renew();
    } catch (error) {
      if (error.status === 401) return null;
      throw error;
    }
    return this.#token;
  }

  async renew() {
    const { body } = await this.#send('POST', '/api/v1/auth/login', this.#credentials);
    this.#token = body.access_token;
    this.tenant = body.tenant_id;
    this.user = body.user;
  }

  /** Sends a request, once more with a new token where the old one has expired. */
  async send(method, path, json) {
    try {
      return await this.#send(method, path, json);
    } catch (error) {
      if (error.status !== 401) throw error;
      await this.renew();
      return this.#send(method, path, json);
    }
  }

  async #send(method, path, json) {
    const headers = { accept: 'application/json' };
    if (this.#token) headers.authorization = `Bearer ${this.#token}`;
    if (json) headers['content-type'] = 'application/json';
    const began = performance.now();
    // Past the browser's own cache: what is shown is the server's.
    const response = await fetch(path, { method, headers, body: json && JSON.stringify(json), cache: 'no-store' });
    const text = await response.text();
    const took = performance.now() - began;
    let body = null;
    try {
      body = text ? JSON.parse(text) : null;
    } catch {
      body = null;
    }
    if (!response.ok) throw new Refusal(response.status, body || {});
    return { body, took, headers: response.headers };
  }
}
