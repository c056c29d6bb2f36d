import assert from 'node:assert/strict';
import test from 'node:test';
import { LiveError } from '../larder-live.js';
import { Browser, event, settled } from './browser.js';

test('a message says where it came to stand', async () => {
  const browser = new Browser();
  const live = await browser.live();
  const sent = live.publish('chat:1', { text: 'hi' });
  const { id, key, ...rest } = browser.socket.command('pub');
  assert.deepEqual(rest, { type: 'pub', room: 'chat:1', data: { text: 'hi' } });
  assert.match(key, /^[0-9a-f]{32}$/);
  browser.socket.say({ type: 'ok', id, offset: 1044 });
  assert.deepEqual(await sent, { offset: 1044 });
});

test('a message to a user goes to the user', async () => {
  const browser = new Browser();
  const live = await browser.live();
  live.send('7', 'hi', { key: 'once' });
  const { id, ...rest } = browser.socket.command('pub');
  assert.deepEqual(rest, { type: 'pub', to: 'user:7', data: 'hi', key: 'once' });
});

test('a message without an answer is sent again on the next connection, under the same key', async () => {
  const browser = new Browser();
  const live = await browser.live();
  const sent = live.publish('chat', 1);
  const before = browser.socket.command('pub');
  browser.socket.end();
  await browser.clock.pass(1000);
  browser.greet();
  assert.deepEqual(browser.socket.command('pub'), before);
  browser.socket.say({ type: 'ok', id: before.id, offset: 5 });
  assert.deepEqual(await sent, { offset: 5 });
});

test('a message that is published before the connection waits for it', async () => {
  const browser = new Browser();
  const live = await browser.client();
  live.publish('chat', 1);
  browser.socket.open();
  assert.deepEqual(browser.socket.sent, []);
  browser.greet({}, { open: false });
  assert.equal(browser.socket.commands.length, 1);
});

test('what is ephemeral is sent now or never', async () => {
  const browser = new Browser();
  const live = await browser.client();
  await assert.rejects(live.publish('chat', 1, { ephemeral: true }), { code: 'offline', retry: true });
  browser.greet();
  const lost = assert.rejects(live.publish('chat', 2, { ephemeral: true }), { code: 'offline' });
  assert.deepEqual(browser.socket.command('pub'), { id: browser.socket.command('pub').id, type: 'pub', room: 'chat', data: 2, ephemeral: true });
  browser.socket.end();
  await lost;
  await browser.clock.pass(1000);
  browser.greet();
  assert.deepEqual(browser.socket.commands, []);
});

test('a command that is never answered fails in its time, and its late answer is nobody\'s', async () => {
  const browser = new Browser();
  const live = await browser.live();
  const failed = assert.rejects(live.publish('chat', 1), { code: 'timeout', retry: true });
  await browser.clock.pass(15_000);
  await failed;
  browser.socket.say({ type: 'ok', id: browser.socket.command('pub').id, offset: 5 });
  assert.equal(live.state.name, 'live');
});

test('a refusal says what the server said', async () => {
  const browser = new Browser();
  const live = await browser.live();
  const refused = assert.rejects(live.publish('chat', 1), (error) => {
    assert.ok(error instanceof LiveError && error instanceof Error);
    assert.deepEqual([error.code, error.message, error.retry, error.retryAfterMs], ['limit', 'slower', true, 250]);
    return true;
  });
  browser.socket.say({ type: 'error', id: browser.socket.command('pub').id, code: 'limit', msg: 'slower', retry: true, retry_after_ms: 250 });
  await refused;
  assert.deepEqual(live.errors(), []);
});

test('a refusal of no command is told', async () => {
  const browser = new Browser();
  const live = await browser.live();
  browser.socket.say({ type: 'error', code: 'bad_request', msg: 'what?' });
  assert.deepEqual(live.errors(), ['bad_request']);
});

test('what is too large or too much is refused here', async () => {
  const browser = new Browser();
  const live = await browser.client();
  browser.greet({ max_msg: 1000 });
  await assert.rejects(live.publish('chat', 'é'.repeat(500)), { code: 'too_large', retry: false });
  const many = Array.from({ length: 256 }, (_, n) => assert.rejects(live.publish('chat', n), { code: 'closed' }));
  await assert.rejects(live.publish('chat', 256), { code: 'too_many', retry: true });
  live.close();
  await Promise.all(many);
  await assert.rejects(live.publish('chat', 1), { code: 'closed' });
});

test('what the browser can not get rid of is not added to', async () => {
  const browser = new Browser();
  const live = await browser.live();
  browser.socket.bufferedAmount = (1 << 20) + 1;
  await assert.rejects(live.publish('chat', 1), { code: 'too_many' });
});

test('history is read page by page', async () => {
  const browser = new Browser();
  const live = await browser.live();
  const page = live.join('chat').history({ since: 'k3Jx:1000', limit: 2 });
  await settled();
  const { id, ...asked } = browser.socket.command('history');
  assert.deepEqual(asked, { type: 'history', room: 'chat', since: { epoch: 'k3Jx', offset: 1000 }, limit: 2 });
  browser.socket.say({ type: 'history', id, events: [event(1001), event(1002)], more: true });
  const { events, more } = await page;
  assert.deepEqual([events.map(({ offset }) => offset), more], [[1001, 1002], true]);
  assert.deepEqual(live.events(), []);
  await assert.rejects(live.history('chat', { since: 'yesterday' }), { code: 'bad_request' });
});
