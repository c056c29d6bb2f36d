import assert from 'node:assert/strict';
import test from 'node:test';
import { Browser, event, settled } from './browser.js';

const tickets = (request) => (request.url.pathname.endsWith('/ticket') ? { status: 200, body: { ticket: 't1', expires_in: 30 } } : { status: 200, body: { type: 'ok', id: request.body.id } });

/** A browser whose WebSockets are blocked, up to the stream. */
async function blocked(options) {
  const browser = new Browser();
  browser.answer = tickets;
  const live = await browser.client(options);
  for (let n = 0; n < 2 && !options?.transports; n += 1) {
    browser.socket.end();
    await browser.clock.pass(1000);
  }
  return { browser, live };
}

test('where WebSockets do not come about, events come as a stream', async () => {
  const { browser, live } = await blocked();
  assert.equal(browser.sockets.length, 2);
  const [ticket] = browser.requests;
  assert.equal(ticket.url.href, 'https://larder.test/rt/acme/ticket');
  assert.equal(ticket.headers.authorization, 'Bearer token 3');
  assert.equal(browser.stream.url.href, 'https://larder.test/sse/notifications/acme?ticket=t1');
  browser.greetStream();
  assert.deepEqual([live.state.name, live.state.transport], ['live', 'sse']);
  assert.deepEqual(live.resets(), ['start']);
  browser.stream.say(event(1043));
  assert.deepEqual(live.events(), [1043]);
});

test('a stream that ends is made anew with another ticket, from the last position, and the old one is closed', async () => {
  const { browser, live } = await blocked({ transports: ['sse'] });
  live.join('orders');
  browser.greetStream();
  browser.stream.say(event(1043));
  const [first] = browser.streams;
  first.end();
  assert.equal(first.closed, true);
  assert.equal(live.state.name, 'waiting');
  await browser.clock.pass(1000);
  assert.equal(browser.streams.length, 2);
  assert.deepEqual(Object.fromEntries(browser.stream.url.searchParams), { rooms: 'orders', last_event_id: 'k3Jx:1043', ticket: 't1' });
  first.say(event(1044));
  assert.deepEqual(live.events(), [1043]);
});

test('commands go by POST, one after the other, as the connection that the stream is', async () => {
  const { browser, live } = await blocked({ transports: ['sse'] });
  browser.greetStream();
  const answers = [];
  browser.answer = (request) => new Promise((resolve) => { answers.push(() => resolve({ status: 200, body: { type: 'ok', id: request.body.id, offset: answers.length } })); });
  const sent = [live.publish('chat', 1, { key: 'a' }), live.publish('chat', 2, { key: 'b' })];
  await settled();
  assert.equal(answers.length, 1);
  answers[0]();
  assert.deepEqual(await sent[0], { offset: 1 });
  await settled();
  answers[1]();
  assert.deepEqual(await sent[1], { offset: 2 });
  const { url, body } = browser.requests[1];
  assert.equal(url.pathname, '/rt/acme/cmd');
  assert.deepEqual({ ...body, id: 0 }, { id: 0, type: 'pub', room: 'chat', data: 1, key: 'a', conn: 'c9f', secret: 's3' });
  assert.match(browser.requests[1].headers.authorization, /^Bearer /);
});

test('an answer may come through the stream', async () => {
  const { browser, live } = await blocked({ transports: ['sse'] });
  browser.greetStream();
  browser.answer = () => ({ status: 202 });
  const sent = live.publish('chat', 1);
  await settled();
  browser.stream.say({ type: 'ok', id: browser.requests.at(-1).body.id, offset: 9 });
  assert.deepEqual(await sent, { offset: 9 });
});

test('a refused command says why, and one that did not get through may be tried again', async () => {
  const { browser, live } = await blocked({ transports: ['sse'] });
  browser.greetStream();
  for (const [answer, code, retry] of [
    [{ status: 200, body: { type: 'error', code: 'limit', msg: 'no', retry: false } }, 'limit', false],
    [{ status: 403, body: { title: 'Forbidden', detail: 'not yours' } }, 'forbidden', false],
    [{ status: 401, text: 'a valid token or ticket is needed' }, 'unauthorized', false],
    [{ status: 413, text: 'a command has 64 KiB at most' }, 'too_large', false],
    [{ status: 422, body: {} }, 'bad_request', false],
    [{ status: 429, text: 'too many commands wait' }, 'not_available', true],
    [{ status: 400, text: '' }, 'bad_request', false],
    [{ status: 503, headers: { 'retry-after': '2' }, body: {} }, 'not_available', true],
    ['the network is away', 'not_available', true],
  ]) {
    browser.answer = ({ body }) => (answer.body ? { ...answer, body: { ...answer.body, id: body.id } } : answer.status ? { ...answer, body: answer.text } : answer);
    await assert.rejects(live.publish('chat', 1), { code, retry });
  }
  assert.equal(live.state.name, 'live');
});

test('a connection that the server knows no more is made anew', async () => {
  for (const [status, body] of [[404, {}], [410, {}], [410, 'the connection is gone']]) {
    const { browser, live } = await blocked({ transports: ['sse'] });
    browser.greetStream();
    browser.answer = () => ({ status, body });
    live.publish('chat', 1);
    await settled();
    assert.equal(live.state.name, 'waiting');
    assert.equal(browser.stream.closed, true);
  }
});

test('a refusal of the server is no end of the stream', async () => {
  const { browser, live } = await blocked({ transports: ['sse'] });
  browser.greetStream();
  browser.stream.say({ type: 'error', code: 'bad_request', msg: 'what?' });
  assert.equal(live.state.name, 'live');
  assert.deepEqual(live.errors(), ['bad_request']);
});

test('a server that can not be reached at all is waited for with WebSockets', async () => {
  const { browser, live } = await blocked();
  browser.answer = () => 'connection refused';
  browser.greetStream();
  browser.stream.end();
  await browser.clock.pass(500);
  assert.equal(browser.streams.length, 1);
  assert.equal(live.state.name, 'waiting');
  await browser.clock.pass(500);
  assert.equal(browser.sockets.length, 3);
});

test('a server that restarts does not make a stream of a WebSocket', async () => {
  const browser = new Browser();
  browser.answer = () => 'connection refused';
  const live = await browser.live();
  for (let n = 0; n < 8; n += 1) {
    if (browser.socket.readyState < 2) browser.socket.end();
    await browser.clock.pass(600);
  }
  assert.equal(browser.streams.length, 0);
  assert.ok(browser.requests.length > 0);
  if (browser.socket.readyState > 1) await browser.clock.pass(600);
  browser.greet();
  assert.equal(live.state.transport, 'websocket');
});

test('where a WebSocket has worked it is tried first after a stream', async () => {
  const browser = new Browser();
  browser.answer = tickets;
  await browser.live();
  browser.socket.end();
  for (let n = 0; n < 2; n += 1) {
    await browser.clock.pass(1000);
    browser.socket.end();
  }
  await browser.clock.pass(1000);
  browser.greetStream();
  const tried = browser.sockets.length;
  browser.stream.end();
  await browser.clock.pass(1000);
  assert.equal(browser.sockets.length, tried + 1);
});

test('another network may let WebSockets through', async () => {
  const { browser } = await blocked();
  browser.greetStream();
  browser.stream.end();
  const tried = browser.sockets.length;
  await browser.dispatch('online');
  assert.equal(browser.sockets.length, tried + 1);
});

test('a refused token is replaced once, then the client ends', async () => {
  const { browser, live } = await blocked({ transports: ['sse'], position: 'k3Jx:1' });
  browser.answer = () => ({ status: 401, body: {} });
  browser.stream.end();
  await browser.clock.pass(500);
  assert.equal(live.state.code, 4002);
  await browser.clock.pass(500);
  assert.deepEqual(live.tokens, ['connect', 'connect', 'expired']);
  assert.deepEqual([live.state.name, live.state.code], ['closed', 4500]);
});

test('another tenant\'s token ends the client, and a full server says when to come back', async () => {
  for (const [answer, name, code, retryMs] of [
    [{ status: 403, body: {} }, 'closed', 4503, undefined],
    [{ status: 503, headers: { 'retry-after': '7' }, body: {} }, 'waiting', 1006, 7000],
  ]) {
    const browser = new Browser();
    browser.answer = () => answer;
    const live = await browser.client({ transports: ['sse'] });
    await settled();
    assert.deepEqual([live.state.name, live.state.code, live.state.retryMs], [name, code, retryMs]);
  }
});

test('a new token goes by POST, and is used from then on', async () => {
  const { browser, live } = await blocked({ transports: ['sse'] });
  browser.greetStream();
  browser.stream.say({ type: 'error', code: 'token_expired', msg: 'expired' });
  await settled();
  const { headers, body } = browser.requests.at(-1);
  assert.deepEqual([body.type, body.token, headers.authorization], ['auth', 'token 2', 'Bearer token 2']);
  assert.deepEqual(live.errors(), []);
});

test('a stream that pings is given up when it falls silent, one that does not is believed', async () => {
  for (const [pings, name] of [[1, 'waiting'], [0, 'live']]) {
    const { browser, live } = await blocked({ transports: ['sse'] });
    browser.greetStream();
    for (let n = 0; n < pings; n += 1) browser.stream.say({ type: 'ping', epoch: 'k3Jx', offset: 1050 });
    await browser.clock.pass(35_000);
    assert.equal(live.state.name, name);
  }
});

test('closing ends the stream and what is on its way', async () => {
  const { browser, live } = await blocked({ transports: ['sse'] });
  browser.greetStream();
  browser.answer = () => new Promise(() => {});
  const sent = [1, 2].map((n) => assert.rejects(live.publish('chat', n), { code: 'closed' }));
  await settled();
  const asked = browser.requests.length;
  live.close();
  await Promise.all(sent);
  assert.equal(browser.stream.closed, true);
  assert.equal(browser.requests.at(-1).signal.aborted, true);
  assert.equal(browser.requests.length, asked);
  assert.equal(browser.clock.timers.size, 0);
});

test('closing before the ticket is there opens no stream', async () => {
  const browser = new Browser();
  let give;
  browser.answer = () => new Promise((resolve) => { give = resolve; });
  const live = await browser.client({ transports: ['sse'] });
  live.close();
  give({ status: 200, body: { ticket: 't1' } });
  await settled();
  assert.equal(browser.streams.length, 0);
  assert.equal(live.state.name, 'closed');
});

test('a browser without WebSockets streams at once', async () => {
  const browser = new Browser();
  browser.answer = tickets;
  delete browser.env.WebSocket;
  await browser.client();
  await settled();
  assert.equal(browser.streams.length, 1);
});
