// A small campaigns application: the list comes through the cache, changes of others come over the live connection.
import { LarderLive } from '/larder-live.js';
import { Session } from './api.js';
import { Editor, Remover } from './dialogs.js';
import { List } from './list.js';
import { Connection, Feed, People } from './notices.js';

const $ = (id) => document.getElementById(id);
const SAMPLE_PASSWORD = 'larder-demo';

let session = null;
let live = null;

const connection = new Connection();
const feed = new Feed();
const people = new People();

function say(text) {
  const toast = $('toast');
  toast.textContent = text;
  clearTimeout(say.timer);
  say.timer = setTimeout(() => { toast.textContent = ''; }, 4000);
}

function failed(error) {
  if (error.status === 401) return signOut('Your session has ended. Sign in again.');
  say(error instanceof TypeError ? 'The server can’t be reached just now.' : error.message);
}

const send = (...request) => session.send(...request);
/** A change of one's own is read at once: nobody has to tell us of it, and this node never answers with the old list. */
const done = (text, id) => {
  say(text);
  list.changed(id);
};
const editor = new Editor(send, done);
const remover = new Remover(send, done);
const list = new List({ edit: (campaign) => editor.open(campaign), remove: (campaign) => remover.open(campaign), failed });

function begin() {
  const { tenant, user } = session;
  document.title = `Campaigns of ${tenant} · larder`;
  $('tenant').textContent = tenant;
  $('sign-out').title = user.email;
  show(true);
  feed.clear();
  list.of(session);
  people.of(session);
  live = new LarderLive({ tenant, token: async (why) => session?.token(why) });
  connection.of(live);
  // The whole rule: read everything at `reset`, and what an event concerns at the event.
  live.on('reset', ({ reason }) => {
    if (reason !== 'start') feed.note(`Too much was missed (${reason}): all read anew.`);
    list.changed();
  });
  live.on('event', (event) => {
    if (event.type === 'event') feed.add(event);
  });
  live.onKind('campaign.*', ({ kind, data }) => {
    list.changed(data.id);
    if (kind === 'campaign.updated') editor.changed(data);
  });
  live.join('tenant', { presence: true }).on('presence', (presence) => people.show(presence));
  live.connect();
  // The list can be shown before there is a connection; at `reset` it is read once more.
  list.read();
}

function show(signedIn) {
  $('welcome').hidden = signedIn;
  $('work').hidden = $('session').hidden = $('tenant').hidden = !signedIn;
}

function signOut(why = '') {
  live?.close();
  connection.of(null);
  for (const dialog of document.querySelectorAll('dialog[open]')) dialog.close();
  session = live = null;
  list.of(null);
  document.title = 'Campaigns · larder';
  $('login-error').textContent = why;
  show(false);
  $('login').elements.email.focus();
}

async function signIn(email, password) {
  const buttons = $('welcome').querySelectorAll('button');
  $('login-error').textContent = '';
  buttons.forEach((button) => { button.disabled = true; });
  try {
    session = await Session.signIn(email, password);
    begin();
  } catch (error) {
    $('login-error').textContent = error instanceof TypeError ? 'The server can’t be reached just now.' : error.message;
  } finally {
    buttons.forEach((button) => { button.disabled = false; });
  }
}

$('login').addEventListener('submit', (event) => {
  event.preventDefault();
  const { email, password } = event.target.elements;
  signIn(email.value, password.value);
});
$('sign-out').addEventListener('click', () => signOut());
$('create').addEventListener('click', () => editor.open());
$('samples').hidden = document.body.dataset.samples !== 'yes';
for (const button of $('samples').children) button.addEventListener('click', () => signIn(button.dataset.email, SAMPLE_PASSWORD));
