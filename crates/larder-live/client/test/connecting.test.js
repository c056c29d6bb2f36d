import assert from 'node:assert/strict';
import { getEventListeners } from 'node:events';
import test from 'node:test';
import { LarderLive } from '../larder-live.js';
import { Browser, event, settled } from './browser.js';

const protocols = (socket) => [socket.protocols[0], Buffer.from(socket.protocols[1].replace('bearer.', ''), 'base64url').toString()];

test('the token goes out as a subprotocol, never in the address', async () => {
  const browser = new Browser();
  const live = await browser.client({ tenant: 'a/c me', token: () => 'ey.J~é' });
  assert.equal(browser.socket.url.href, 'wss://larder.test/ws/notifications/a%2Fc%20me');
  assert.deepEqual(protocols(browser.socket), ['larder.v1', 'ey.J~é']);
  assert.match(browser.socket.protocols[1], /^bearer\.[\w-]+$/);
  assert.equal(live.state.name, 'connecting');
});

test('a server may be elsewhere, under a path of its own', async () => {
  const browser = new Browser();
  await browser.client({ url: 'http://live.test:81/api' });
  assert.equal(browser.socket.url.href, 'ws://live.test:81/api/ws/notifications/acme');
});

test('without a position everything is read once, from the position on which the connection stands', async () => {
  const browser = new Browser();
  const live = await browser.client();
  browser.greet({}, { synced: false });
  assert.equal(live.position, null);
  browser.socket.end();
  await browser.clock.pass(1000);
  assert.equal(browser.socket.url.search, '');
  browser.greet();
  assert.deepEqual(live.states(), ['connecting', 'syncing', 'waiting', 'connecting', 'syncing', 'live']);
  assert.deepEqual(live.resets(), ['start']);
  assert.equal(live.position, 'k3Jx:1042');
});

test('a back-off is drawn anew each time and grows to twenty seconds', async () => {
  for (const [random, waits] of [
    [0, [500, 500, 500, 500, 500, 500, 500, 500]],
    [0.5, [750, 1000, 1500, 2500, 4500, 8500, 10_500, 10_500]],
    [1, [1000, 1500, 2500, 4500, 8500, 16_500, 20_000, 20_000]],
  ]) {
    const browser = new Browser();
    browser.random = random;
    const live = await browser.client({ transports: ['websocket'] });
    for (const wait of waits) {
      browser.socket.end();
      assert.equal(live.state.name, 'waiting');
      assert.equal(live.state.retryMs, wait);
      const tries = browser.sockets.length;
      await browser.clock.pass(wait - 1);
      assert.equal(browser.sockets.length, tries);
      await browser.clock.pass(1);
      assert.equal(browser.sockets.length, tries + 1);
    }
  }
});

test('the back-off begins anew after a connection that lasted, and only then', async () => {
  const browser = new Browser();
  browser.random = 1;
  const live = await browser.client({ transports: ['websocket'] });
  const lose = async (after) => {
    browser.greet();
    await browser.clock.pass(after);
    browser.socket.end();
    const wait = live.state.retryMs;
    await browser.clock.pass(wait);
    return wait;
  };
  assert.deepEqual([await lose(100), await lose(100), await lose(4999)], [1000, 1500, 2500]);
  assert.deepEqual([await lose(5000), await lose(100)], [1000, 1500]);
});

test('where the server says when to come back, that holds, whoever looks at the page', async () => {
  const browser = new Browser();
  const live = await browser.live();
  browser.socket.say({ type: 'bye', code: 4000, retry_ms: 7312 });
  browser.socket.end(4000, 'drain');
  assert.deepEqual({ ...live.state }, { name: 'waiting', transport: null, retryMs: 7312, code: 4000, reason: 'drain' });
  await browser.dispatch('visibilitychange', browser.document);
  await browser.dispatch('online');
  assert.equal(browser.sockets.length, 1);
  await browser.clock.pass(7312);
  assert.equal(browser.sockets.length, 2);
});

test('a server that says goodbye and stays is left all the same', async () => {
  const browser = new Browser();
  const live = await browser.live();
  browser.socket.say({ type: 'bye', code: 4000, retry_ms: 100 });
  await browser.clock.pass(5000);
  assert.equal(live.state.name, 'waiting');
  assert.equal(browser.sockets[0].closed, 1000);
});

test('a full tenant is left alone for thirty seconds at least', async () => {
  for (const [random, wait] of [[0, 30_000], [1, 60_000]]) {
    const browser = new Browser();
    browser.random = random;
    const live = await browser.client();
    browser.socket.open();
    browser.socket.end(4008, 'tenant full');
    assert.equal(live.state.retryMs, wait);
    await browser.dispatch('online');
    assert.equal(browser.sockets.length, 1);
  }
});

for (const code of [1002, 1003, 1007, 1009, 4500, 4501, 4502, 4503, 4504, 4505, 4506, 4999]) {
  test(`after ${code} the client does not come back by itself`, async () => {
    const browser = new Browser();
    const live = await browser.live();
    const waiting = assert.rejects(live.publish('chat', 1), { code: 'closed' });
    browser.socket.end(code, 'enough');
    await waiting;
    assert.deepEqual({ ...live.state }, { name: 'closed', transport: null, code, reason: 'enough' });
    await browser.dispatch('online');
    await browser.clock.pass(600_000);
    assert.equal(browser.sockets.length, 1);
    assert.equal(browser.clock.timers.size, 0);
    live.connect();
    await settled();
    assert.equal(browser.socket.url.searchParams.get('pos'), 'k3Jx:1042');
  });
}

for (const code of [1000, 1001, 1006, 1011, 1012, 4000, 4001, 4003, 4004, 4005, 4006, 4007]) {
  test(`after ${code} the client comes back to where it was`, async () => {
    const browser = new Browser();
    const live = await browser.live();
    browser.socket.say(event(1043));
    browser.socket.end(code);
    await browser.clock.pass(1000);
    assert.equal(browser.sockets.length, 2);
    assert.equal(browser.socket.url.searchParams.get('pos'), 'k3Jx:1043');
    assert.deepEqual(live.tokens, ['connect', 'connect']);
  });
}

test('a handshake without an answer is given up', async () => {
  const browser = new Browser();
  const live = await browser.client();
  browser.socket.open();
  await browser.clock.pass(9999);
  assert.equal(live.state.name, 'connecting');
  await browser.clock.pass(1);
  assert.equal(live.state.name, 'waiting');
  assert.equal(browser.sockets[0].closed, 1000);
});

test('a server that falls silent is given up ten seconds after its ping was due', async () => {
  const browser = new Browser();
  const live = await browser.live();
  await browser.clock.pass(30_000);
  browser.socket.say({ type: 'ping', epoch: 'k3Jx', offset: 1050 });
  assert.equal(live.position, 'k3Jx:1050');
  await browser.clock.pass(34_999);
  assert.equal(live.state.name, 'live');
  await browser.clock.pass(1);
  assert.equal(live.state.name, 'waiting');
  assert.equal(live.state.reason, 'silence');
});

test('what is said after a connection was given up is not heard', async () => {
  const browser = new Browser();
  const live = await browser.live();
  const [first] = browser.sockets;
  const { onmessage } = first;
  await browser.clock.pass(36_000);
  onmessage({ data: JSON.stringify(event(1043)) });
  assert.deepEqual(live.events(), []);
  assert.equal(first.onmessage, null);
});

test('a network that is back is tried at once, and so is a page that is looked at again', async () => {
  for (const [type, target] of [['online', 'window'], ['visibilitychange', 'document']]) {
    const browser = new Browser();
    browser.random = 1;
    const live = await browser.live();
    browser.socket.end();
    assert.equal(live.state.name, 'waiting');
    await browser.dispatch(type, browser[target]);
    assert.equal(browser.sockets.length, 2, type);
  }
});

test('a page that is hidden changes nothing', async () => {
  const browser = new Browser();
  const live = await browser.live();
  browser.socket.end();
  browser.document.visibilityState = 'hidden';
  await browser.dispatch('visibilitychange', browser.document);
  assert.equal(live.state.name, 'waiting');
  assert.equal(browser.sockets.length, 1);
});

test('a network that is gone or changed is asked for a sign of life', async () => {
  for (const [type, target] of [['offline', 'window'], ['online', 'window'], ['visibilitychange', 'document']]) {
    const browser = new Browser();
    const live = await browser.live();
    await browser.dispatch(type, browser[target]);
    assert.deepEqual(browser.socket.sent, ['ping']);
    browser.socket.say('pong');
    await browser.clock.pass(5000);
    assert.equal(live.state.name, 'live', type);
    await browser.dispatch(type, browser[target]);
    await browser.clock.pass(5000);
    assert.equal(live.state.name, 'waiting', type);
  }
});

test('a handshake that hangs in a network of yesterday is begun anew when the network is back', async () => {
  const browser = new Browser();
  await browser.client();
  await browser.dispatch('online');
  assert.equal(browser.sockets.length, 2);
  assert.equal(browser.sockets[0].closed, 1000);
  await browser.clock.pass(9999);
  assert.equal(browser.sockets.length, 2);
});

test('closing leaves no socket, no timer and no listener, and can be undone', async () => {
  const browser = new Browser();
  const live = await browser.live();
  live.join('chat', { presence: true });
  await settled();
  const listening = () => ['online', 'offline', 'pageshow'].flatMap((type) => getEventListeners(browser.window, type)).length
    + getEventListeners(browser.document, 'visibilitychange').length;
  assert.equal(listening(), 4);
  assert.ok(browser.clock.timers.size > 0);
  live.close();
  assert.equal(listening(), 0);
  assert.equal(browser.clock.timers.size, 0);
  assert.equal(browser.socket.closed, 1000);
  assert.equal(browser.socket.onclose, null);
  assert.equal(live.state.name, 'closed');
  live.close();
  live.connect().connect();
  await settled();
  assert.equal(browser.sockets.length, 2);
  assert.equal(browser.socket.url.searchParams.get('pos'), 'k3Jx:1042');
});

test('closing while a token is fetched opens nothing', async () => {
  const browser = new Browser();
  let give;
  const live = await browser.client({ token: () => new Promise((resolve) => { give = resolve; }) });
  live.close();
  give('late');
  await settled();
  assert.equal(browser.sockets.length, 0);
  assert.equal(browser.clock.timers.size, 0);
});

test('an application that closes in the middle of anything is obeyed', async () => {
  for (const [name, act] of [
    ['state', () => {}],
    ['reset', (browser) => browser.greet()],
    ['event', (browser) => { browser.greet(); browser.socket.say(event(1043)); }],
  ]) {
    const browser = new Browser();
    const live = new LarderLive({ tenant: 'acme', token: () => 'token' }, browser.env);
    live.on(name, () => live.close());
    live.join('chat');
    live.connect();
    await settled();
    if (browser.socket) act(browser);
    await settled();
    assert.equal(live.state.name, 'closed', name);
    assert.equal(browser.clock.timers.size, 0, name);
    assert.ok(browser.sockets.every((socket) => socket.closed === 1000), name);
  }
});

test('a client of nobody, or without a way to connect, is refused at once', () => {
  const { env } = new Browser();
  assert.throws(() => new LarderLive({ token: () => 'token' }, env), TypeError);
  assert.throws(() => new LarderLive({ tenant: 'acme', token: 'token' }, env), TypeError);
  assert.throws(() => new LarderLive({ tenant: 'acme', token: () => 'token', transports: [] }, env), TypeError);
});
