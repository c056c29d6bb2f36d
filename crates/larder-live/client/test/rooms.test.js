import assert from 'node:assert/strict';
import test from 'node:test';
import { Browser, event, settled } from './browser.js';

const said = (room, name) => {
  const values = [];
  room.on(name, (value) => values.push(value));
  return values;
};

async function answer(browser, type, more) {
  const { id } = browser.socket.command(type);
  browser.socket.say({ type: 'ok', id, ...more });
  await settled();
}

test('rooms that are known before the connection are part of it, so that nothing in them is missed', async () => {
  const browser = new Browser();
  const live = await browser.live();
  const joined = said(live.join('orders'), 'joined');
  await settled();
  await answer(browser, 'sub', { subs: { orders: { offset: 1042 } } });
  assert.deepEqual(joined, [{ offset: 1042, recovered: false }]);
  browser.socket.end();
  await browser.clock.pass(1000);
  assert.equal(browser.socket.url.searchParams.get('rooms'), 'orders');
  browser.greet({ rooms: ['tenant', 'user:42', 'orders'] });
  await settled();
  assert.deepEqual(joined.at(-1), { offset: undefined, recovered: true });
  assert.deepEqual(browser.socket.commands, []);
});

test('rooms that are joined in one go are one command', async () => {
  const browser = new Browser();
  const live = await browser.live();
  assert.equal(live.join('a'), live.join('a'));
  live.join('b');
  live.join('c', { presence: true });
  await settled();
  const commands = browser.socket.commands.map(({ type, rooms, presence }) => [type, rooms, presence]);
  assert.deepEqual(commands, [['sub', ['c'], true], ['sub', ['a', 'b'], undefined]]);
});

test('a room that is refused is told so and forgotten', async () => {
  const browser = new Browser();
  const live = await browser.live();
  const errors = said(live.join('secret'), 'error');
  const joined = said(live.join('orders'), 'joined');
  await settled();
  await answer(browser, 'sub', { subs: { secret: { error: 'forbidden' }, orders: { offset: 1042 } } });
  assert.deepEqual(errors.map(({ code }) => code), ['forbidden']);
  assert.equal(joined.length, 1);
  browser.socket.end();
  await browser.clock.pass(1000);
  assert.equal(browser.socket.url.searchParams.get('rooms'), 'orders');
});

test('a room whose presence is refused is entered all the same, and says so', async () => {
  const browser = new Browser();
  const live = await browser.live();
  const room = live.join('lobby', { presence: true });
  const [errors, joined] = [said(room, 'error'), said(room, 'joined')];
  await settled();
  await answer(browser, 'sub', { subs: { lobby: { offset: 1042, presence: 'limit' } } });
  assert.deepEqual(errors.map(({ code }) => code), ['presence_limit']);
  assert.equal(joined.length, 1);
  assert.equal(browser.socket.command('presence'), undefined);
});

test('a room that is refused at the handshake is not asked for again', async () => {
  const browser = new Browser();
  const live = await browser.client();
  const errors = said(live.join('secret', { presence: true }), 'error');
  browser.greet({ refused: { secret: 'forbidden' } });
  await settled();
  assert.deepEqual(errors.map(({ code }) => code), ['forbidden']);
  assert.deepEqual(browser.socket.commands, []);
});

test('a room that the handshake did not grant is asked for, and is no recovered one', async () => {
  const browser = new Browser();
  const live = await browser.client({ position: 'k3Jx:1000' });
  const joined = said(live.join('orders'), 'joined');
  browser.greet();
  await answer(browser, 'sub', { subs: { orders: { offset: 1042 } } });
  assert.deepEqual(joined, [{ offset: 1042, recovered: false }]);
});

test('rooms that the server has no time for are asked for again', async () => {
  const browser = new Browser();
  const live = await browser.live();
  const room = live.join('orders');
  const [errors, joined] = [said(room, 'error'), said(room, 'joined')];
  await settled();
  const { id } = browser.socket.command('sub');
  browser.socket.say({ type: 'error', id, code: 'too_many', retry: true, retry_after_ms: 3000 });
  await browser.clock.pass(2999);
  assert.equal(browser.socket.commands.length, 1);
  await browser.clock.pass(1);
  await answer(browser, 'sub', { subs: { orders: {} } });
  assert.deepEqual([errors.length, joined.length], [0, 1]);
});

test('more names than fit an address go in the first message', async () => {
  const browser = new Browser();
  const live = await browser.live();
  const names = Array.from({ length: 100 }, (_, n) => `${'room'.repeat(10)}-${n}`);
  names.forEach((name) => live.join(name));
  await settled();
  assert.deepEqual(browser.socket.command('sub').rooms, names);
  browser.socket.end();
  await browser.clock.pass(1000);
  assert.deepEqual(browser.socket.protocols, ['larder.v1']);
  assert.equal(browser.socket.url.search, '');
  browser.socket.open();
  const { type, token, pos, rooms } = browser.socket.commands[0];
  assert.deepEqual({ type, token, pos, rooms }, { type: 'auth', token: 'token 2', pos: { epoch: 'k3Jx', offset: 1042 }, rooms: names });
  browser.greet({ rooms: ['tenant', 'user:42', ...names] }, { open: false });
  browser.socket.say({ type: 'synced', epoch: 'k3Jx', offset: 1042, replayed: 0 });
  assert.equal(live.state.name, 'live');
});

test('who leaves a room hears no more of it, and is not in it on the next connection', async () => {
  const browser = new Browser();
  const live = await browser.live();
  const room = live.join('orders');
  const events = said(room, 'event');
  await settled();
  await answer(browser, 'sub', { subs: { orders: {} } });
  browser.socket.say(event(1043, { room: 'orders' }));
  room.leave();
  room.leave();
  browser.socket.say(event(1044, { room: 'orders' }));
  assert.deepEqual(events.map(({ offset }) => offset), [1043]);
  assert.deepEqual(browser.socket.commands.map(({ type }) => type), ['sub', 'unsub']);
  browser.socket.end();
  await browser.clock.pass(1000);
  assert.equal(browser.socket.url.searchParams.get('rooms'), null);
});

test('the rooms in which every connection is are never left', async () => {
  const browser = new Browser();
  const live = await browser.live();
  for (const name of ['tenant', 'user:42']) {
    const room = live.join(name, { presence: true });
    await settled();
    room.leave();
    await settled();
  }
  assert.equal(browser.socket.command('unsub'), undefined);
});

const who = (...names) => names.map((user) => ({ user, conns: 1, info: {} }));

/** A room of which the first snapshot is in. */
async function watched(browser, live, snapshot) {
  const room = live.join('chat', { presence: true });
  const seen = [];
  room.on('presence', ({ members, total, truncated }) => seen.push([members.map(({ user }) => user).join(), total, truncated]));
  await settled();
  await answer(browser, 'sub', { subs: { chat: { offset: 1042 } } });
  await snapshot_(browser, snapshot);
  return { room, seen };
}

async function snapshot_(browser, more) {
  const { id } = browser.socket.command('presence');
  browser.socket.say({ type: 'presence', id, room: 'chat', seq: 12, total: more.members.length, truncated: false, ...more });
  await settled();
}

const asked = (browser) => browser.socket.commands.filter(({ type }) => type === 'presence').length;

test('who is in a room is known from a snapshot and its differences', async () => {
  const browser = new Browser();
  const { room, seen } = await watched(browser, await browser.live(), { members: who('7', '8') });
  const diff = (seq, more) => browser.socket.say({ type: 'presence_diff', room: 'chat', seq, join: [], leave: [], ...more });
  diff(12, { join: who('old') });
  diff(13, { join: who('9'), leave: who('7') });
  diff(14, { leave: ['8'] });
  diff(15, { join: [{ user: '9', conns: 2 }], leave: ['nobody'] });
  assert.deepEqual(seen.slice(0, 1), [['7,8', 2, false]]);
  assert.deepEqual(seen.at(-1), ['9', 1, false]);
  assert.deepEqual(room.presence, { room: 'chat', members: [{ user: '9', conns: 2 }], total: 1, truncated: false });
  assert.equal(asked(browser), 1);
});

test('a difference that is missing brings another snapshot', async () => {
  const browser = new Browser();
  const { seen } = await watched(browser, await browser.live(), { members: who('7') });
  browser.socket.say({ type: 'presence_diff', room: 'chat', seq: 15, join: who('9'), leave: [] });
  browser.socket.say({ type: 'presence_diff', room: 'chat', seq: 16, join: who('10'), leave: [] });
  assert.equal(asked(browser), 2);
  // It was taken between the two.
  await snapshot_(browser, { seq: 15, members: who('7', '9') });
  assert.deepEqual(seen.at(-1), ['7,9,10', 3, false]);
  assert.equal(asked(browser), 2);
});

test('a snapshot that is older than what came meanwhile is asked for again', async () => {
  const browser = new Browser();
  const { seen } = await watched(browser, await browser.live(), { members: who('7') });
  browser.socket.say({ type: 'presence_diff', room: 'chat', seq: 20, join: who('9'), leave: [] });
  await snapshot_(browser, { seq: 18, members: who('7', '8') });
  assert.equal(asked(browser), 3);
  await snapshot_(browser, { seq: 20, members: who('7', '8', '9') });
  assert.deepEqual(seen.at(-1), ['7,8,9', 3, false]);
  assert.equal(asked(browser), 3);
});

test('what comes while a snapshot is on its way is not kept without end, and asked for instead', async () => {
  const browser = new Browser();
  const { room } = await watched(browser, await browser.live(), { members: [] });
  for (let n = 0; n < 50; n += 1) browser.socket.say({ type: 'presence_diff', room: 'chat', seq: 20 + n, join: who(String(n)), leave: [] });
  await snapshot_(browser, { seq: 19, members: [] });
  assert.equal(asked(browser), 3);
  await snapshot_(browser, { seq: 69, members: who('1', '2') });
  assert.equal(asked(browser), 3);
  assert.equal(room.presence.total, 2);
});

test('who is in a room is not asked where nobody wants to know', async () => {
  const browser = new Browser();
  const live = await browser.live();
  live.join('chat');
  await settled();
  browser.socket.say({ type: 'presence_diff', room: 'chat', seq: 1, join: who('7'), leave: [] });
  browser.socket.say({ type: 'presence_diff', room: 'another', seq: 1, join: who('7'), leave: [] });
  assert.equal(asked(browser), 0);
});

test('a crowd is counted, not listed', async () => {
  const browser = new Browser();
  const { room } = await watched(browser, await browser.live(), { members: who('7', '8'), total: 240, truncated: true });
  browser.socket.say({ type: 'presence_diff', room: 'chat', seq: 13, join: who('9'), leave: ['1'] });
  assert.equal(room.presence.total, 240);
  assert.equal(room.presence.members.length, 2);
  browser.socket.say({ type: 'presence_diff', room: 'chat', seq: 14, join: who('10'), leave: [], total: 250 });
  assert.equal(room.presence.total, 250);
});

test('a crowd that grows by differences is not listed for ever either', async () => {
  const browser = new Browser();
  const { room } = await watched(browser, await browser.live(), { members: [] });
  for (let n = 0; n < 600; n += 1) browser.socket.say({ type: 'presence_diff', room: 'chat', seq: 13 + n, join: who(String(n)), leave: [] });
  assert.equal(room.presence.total, 600);
  assert.equal(room.presence.members.length, 500);
  assert.equal(room.presence.truncated, true);
});

test('after a lost connection presence begins with a snapshot', async () => {
  const browser = new Browser();
  const { seen } = await watched(browser, await browser.live(), { members: who('7', '8') });
  browser.socket.end();
  await browser.clock.pass(1000);
  browser.greet({ rooms: ['tenant', 'user:42', 'chat'] });
  await settled();
  assert.equal(browser.socket.command('sub').presence, true);
  await answer(browser, 'sub', { subs: { chat: { offset: 1042 } } });
  await snapshot_(browser, { seq: 1, members: who('8') });
  assert.deepEqual(seen.at(-1), ['8', 1, false]);
});
