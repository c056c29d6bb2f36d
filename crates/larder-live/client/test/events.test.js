import assert from 'node:assert/strict';
import test from 'node:test';
import { Browser, event, settled } from './browser.js';

/** Lost and connected again, up to the greeting. */
async function back(browser, more) {
  browser.socket.end();
  await browser.clock.pass(1000);
  browser.greet(more, { synced: false });
}

test('an event reaches who asked for all, for its kind and for its room', async () => {
  const browser = new Browser();
  const live = await browser.live();
  const got = [];
  live.onKind('campaign.created', () => got.push('kind'));
  live.onKind('campaign.*', () => got.push('kinds'));
  live.onKind('lead.*', () => got.push('another kind'));
  const room = live.join('tenant');
  room.on('event', () => got.push('room'));
  live.join('orders').on('event', () => got.push('another room'));
  browser.socket.say(event(1043));
  assert.deepEqual(got.sort(), ['kind', 'kinds', 'room']);
  assert.deepEqual(live.events(), [1043]);
});

test('who stopped listening hears no more', async () => {
  const browser = new Browser();
  const live = await browser.live();
  const got = [];
  const off = live.on('event', ({ offset }) => got.push(offset));
  browser.socket.say(event(1043));
  off();
  off();
  browser.socket.say(event(1044));
  assert.deepEqual(got, [1043]);
});

test('what was missed comes first, in order, without what is known already', async () => {
  const browser = new Browser();
  const live = await browser.live();
  browser.socket.say(event(1043));
  await back(browser, { offset: 1046 });
  assert.equal(browser.socket.url.searchParams.get('pos'), 'k3Jx:1043');
  assert.equal(live.state.name, 'syncing');
  for (const offset of [1043, 1044, 1046]) browser.socket.say(event(offset, { replay: true }));
  assert.equal(live.state.name, 'syncing');
  browser.socket.say({ type: 'synced', epoch: 'k3Jx', offset: 1047, replayed: 3 });
  browser.socket.say(event(1046));
  browser.socket.say(event(1048));
  assert.deepEqual(live.events(), [1043, 1044, 1046, 1048]);
  assert.equal(live.state.name, 'live');
  assert.equal(live.position, 'k3Jx:1048');
  assert.deepEqual(live.resets(), ['start']);
  assert.equal(live.stats.duplicates, 2);
});

test('a connection that is lost in the middle of catching up goes on from there', async () => {
  const browser = new Browser();
  const live = await browser.live();
  await back(browser, { offset: 1050 });
  browser.socket.say(event(1043, { replay: true }));
  browser.socket.say({ type: 'ping', epoch: 'k3Jx', offset: 1050 });
  await back(browser, { offset: 1050 });
  assert.equal(browser.socket.url.searchParams.get('pos'), 'k3Jx:1043');
  assert.deepEqual(live.events(), [1043]);
});

test('what can not be caught up on is to be read again', async () => {
  const browser = new Browser();
  const live = await browser.live();
  for (const reason of ['window', 'limit', 'forced', 'epoch']) {
    await back(browser, { epoch: reason, offset: 7 });
    browser.socket.say({ type: 'reset', reason, epoch: reason, offset: 7 });
    assert.equal(live.state.name, 'live');
    assert.equal(live.position, `${reason}:7`);
    browser.socket.say(event(8, { epoch: reason }));
  }
  assert.deepEqual(live.resets(), ['start', 'window', 'limit', 'forced', 'epoch']);
  assert.deepEqual(live.events(), [8, 8, 8, 8]);
});

test('an event of another epoch is never taken for a later one of this', async () => {
  const browser = new Browser();
  const live = await browser.live();
  browser.socket.say(event(3, { epoch: 'new' }));
  assert.deepEqual(live.resets(), ['start', 'epoch']);
  assert.deepEqual(live.events(), [3]);
  assert.equal(live.position, 'new:3');
});

test('what is ephemeral has no place in the log', async () => {
  const browser = new Browser();
  const live = await browser.live();
  const room = live.join('chat');
  const got = [];
  room.on('event', ({ from, data }) => got.push([from, data]));
  const ephemeral = { type: 'message', room: 'chat', kind: 'message', from: '42', data: 'hi' };
  browser.socket.say(ephemeral);
  browser.socket.say(ephemeral);
  assert.deepEqual(got, [['42', 'hi'], ['42', 'hi']]);
  assert.equal(live.events().length, 2);
  assert.equal(live.position, 'k3Jx:1042');
});

test('a change that a relay sent twice is one', async () => {
  const browser = new Browser();
  const live = await browser.live();
  browser.socket.say(event(1043, { eid: 'ob-1' }));
  browser.socket.say(event(1044, { eid: 'ob-1' }));
  assert.deepEqual(live.events(), [1043]);
  assert.equal(live.position, 'k3Jx:1044');
  for (let n = 2; n < 1100; n += 1) browser.socket.say(event(1043 + n, { eid: `ob-${n}` }));
  browser.socket.say(event(3000, { eid: 'ob-1099' }));
  browser.socket.say(event(3001, { eid: 'ob-1' }));
  assert.equal(live.events().at(-1), 3001);
  assert.equal(live.events().filter((offset) => offset === 3000).length, 0);
});

test('a log that begins anew may use its ids again', async () => {
  const browser = new Browser();
  const live = await browser.live();
  browser.socket.say(event(1043, { eid: 'ob-1' }));
  browser.socket.say({ type: 'reset', reason: 'epoch', epoch: 'new', offset: 1 });
  browser.socket.say(event(2, { epoch: 'new', eid: 'ob-1' }));
  assert.deepEqual(live.events(), [1043, 2]);
});

test('a page that kept its position goes on from it', async () => {
  const browser = new Browser();
  const live = await browser.client({ position: 'a:b:7' });
  assert.equal(browser.socket.url.searchParams.get('pos'), 'a:b:7');
  browser.greet({ epoch: 'a:b', offset: 9 }, { synced: false });
  assert.deepEqual(live.resets(), []);
  browser.socket.say(event(8, { epoch: 'a:b', replay: true }));
  browser.socket.say({ type: 'synced', epoch: 'a:b', offset: 9, replayed: 1 });
  assert.deepEqual(live.events(), [8]);
  assert.equal(live.position, 'a:b:9');
});

test('a kept position that is none is as good as none', async () => {
  for (const position of ['', 'x', 'k3Jx:', ':7', 'k3Jx:-1', null]) {
    const browser = new Browser();
    await browser.client({ position });
    assert.equal(browser.socket.url.search, '', String(position));
  }
});

test('nonsense from the network breaks nothing', async () => {
  const browser = new Browser();
  const live = await browser.live();
  for (const text of ['', '{', 'null', '7', '[]', '{"type":"event"', '{"type":"tomorrow","offset":1}', '{"type":"ok","id":99}', '{}']) browser.socket.say(text);
  browser.socket.onmessage({ data: new ArrayBuffer(4) });
  browser.socket.say(event(1043));
  assert.deepEqual(live.events(), [1043]);
  assert.equal(live.state.name, 'live');
});

test('a listener that throws takes nothing from the others', async () => {
  const browser = new Browser();
  const live = await browser.live();
  const got = [];
  live.on('event', () => { throw new Error('mine'); });
  live.on('event', ({ offset }) => got.push(offset));
  browser.socket.say(event(1043));
  browser.socket.say(event(1044));
  assert.deepEqual(got, [1043, 1044]);
  assert.deepEqual(browser.reported.map(({ message }) => message), ['mine', 'mine']);
  await settled();
  assert.equal(live.position, 'k3Jx:1044');
});
