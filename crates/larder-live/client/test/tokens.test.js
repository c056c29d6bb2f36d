import assert from 'node:assert/strict';
import test from 'node:test';
import { Browser, hello, settled } from './browser.js';

const expiry = (browser, seconds) => browser.clock.now / 1000 + seconds;

test('a user who is signed out ends the client', async () => {
  const browser = new Browser();
  const live = await browser.client({ token: () => null });
  assert.equal(live.state.name, 'closed');
  assert.equal(live.state.code, 4500);
  assert.equal(browser.sockets.length, 0);
  assert.equal(browser.clock.timers.size, 0);
});

test('a token that can not be had just now is asked for again', async () => {
  const browser = new Browser();
  let fails = true;
  const live = await browser.client({ token: async () => { if (fails) throw new Error('no answer'); return 'token'; } });
  assert.equal(live.state.name, 'waiting');
  assert.deepEqual(live.errors(), ['no answer']);
  fails = false;
  await browser.clock.pass(1000);
  assert.equal(browser.sockets.length, 1);
});

test('a token that never comes is given up, and its coming late changes nothing', async () => {
  const browser = new Browser();
  const gives = [];
  const live = await browser.client({ token: () => new Promise((resolve) => { gives.push(resolve); }) });
  await browser.clock.pass(10_000);
  assert.equal(live.state.name, 'waiting');
  await browser.clock.pass(1000);
  gives[0]('late');
  await settled();
  assert.equal(browser.sockets.length, 0);
  gives[1]('in time');
  await settled();
  assert.equal(browser.sockets.length, 1);
});

test('an expired token is replaced before the next connection', async () => {
  const browser = new Browser();
  const live = await browser.live();
  browser.socket.end(4002, 'token expired');
  await browser.clock.pass(1000);
  assert.deepEqual(live.tokens, ['connect', 'expired']);
  browser.greet();
  browser.socket.end();
  await browser.clock.pass(1000);
  assert.deepEqual(live.tokens, ['connect', 'expired', 'connect']);
});

test('a token is replaced on the living connection a minute before it expires', async () => {
  const browser = new Browser();
  const live = await browser.client();
  browser.greet({ exp: expiry(browser, 3600) });
  const alive = async (ms) => {
    for (let rest = ms; rest > 0; rest -= 20_000) {
      await browser.clock.pass(Math.min(rest, 20_000));
      browser.socket.say({ type: 'ping', epoch: 'k3Jx', offset: 1042 });
    }
  };
  await alive(3_539_000);
  assert.deepEqual(live.tokens, ['connect']);
  await alive(1000);
  assert.deepEqual(live.tokens, ['connect', 'refresh']);
  const { id, token } = browser.socket.command('auth');
  assert.equal(token, 'token 2');
  browser.socket.say({ type: 'ok', id, exp: expiry(browser, 3600) });
  await alive(3_539_000);
  assert.equal(live.tokens.length, 2);
  await alive(1000);
  assert.deepEqual(live.tokens, ['connect', 'refresh', 'refresh']);
  assert.equal(browser.sockets.length, 1);
});

test('a room that the new token does not allow is left, and says so', async () => {
  const browser = new Browser();
  const live = await browser.client();
  const errors = [];
  for (const name of ['orders', 'chat']) live.join(name).on('error', ({ code }) => errors.push([name, code]));
  browser.greet({ rooms: ['tenant', 'user:42', 'orders', 'chat'] });
  await settled();
  browser.socket.say({ type: 'error', code: 'token_expired', msg: 'expired', retry: false });
  await settled();
  const { id } = browser.socket.command('auth');
  browser.socket.say({ type: 'ok', id, exp: expiry(browser, 3600), refused: { orders: 'forbidden' } });
  await settled();
  assert.deepEqual(errors, [['orders', 'forbidden']]);
  browser.socket.end();
  await browser.clock.pass(1000);
  assert.equal(browser.socket.url.searchParams.get('rooms'), 'chat');
});

test('a server whose clock says that the token has expired gets another at once', async () => {
  const browser = new Browser();
  const live = await browser.live();
  browser.socket.say({ type: 'error', code: 'token_expired', msg: 'expired', retry: false });
  await settled();
  assert.deepEqual(live.tokens, ['connect', 'expired']);
  assert.equal(browser.socket.command('auth').token, 'token 2');
  assert.deepEqual(live.errors(), []);
});

test('a clock that is ahead does not make the client ask for tokens without end', async () => {
  for (const [left, most] of [[-3600, 1], [0, 1], [1, 4]]) {
    const browser = new Browser();
    const live = await browser.client();
    browser.greet({ exp: expiry(browser, left) });
    for (let round = 0; round < 30; round += 1) {
      await browser.clock.pass(1000);
      const auth = browser.socket.command('auth');
      if (auth) browser.socket.say({ type: 'ok', id: auth.id, exp: expiry(browser, left) });
      else browser.socket.say('pong');
    }
    assert.ok(live.tokens.length <= most, `${live.tokens.length} tokens in 30 s`);
  }
});

test('a token that is refused on the living connection is told, and another is tried', async () => {
  const browser = new Browser();
  const live = await browser.live();
  browser.socket.say({ type: 'error', code: 'token_expired', msg: 'expired' });
  await settled();
  browser.socket.say({ type: 'error', id: browser.socket.command('auth').id, code: 'forbidden', msg: 'another user', retry: false });
  await settled();
  assert.deepEqual(live.errors(), ['forbidden']);
  await browser.clock.pass(10_000);
  assert.deepEqual(live.tokens, ['connect', 'expired', 'expired']);
});

test('an expiry in a hundred years is none of a timer that overflows', async () => {
  const browser = new Browser();
  const live = await browser.client();
  browser.socket.open();
  browser.socket.say(hello({ exp: expiry(browser, 3_000_000_000) }));
  await settled();
  assert.deepEqual(live.tokens, ['connect']);
  assert.ok([...browser.clock.timers.values()].every(({ at }) => at - browser.clock.now < 2 ** 31));
});
