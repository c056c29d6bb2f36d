// The dashboard: who looks, what the stream tells, and where it is shown.
import { Charts } from './charts.js';
import { $, say, seconds } from './format.js';
import { Invalidate } from './invalidate.js';
import { Keys } from './keys.js';
import { Node } from './node.js';
import { Recent } from './recent.js';
import { Session } from './session.js';
import { Stream } from './stream.js';
import { Summary } from './summary.js';
import { Tables } from './tables.js';

const SAMPLE_PASSWORD = 'larder-demo';
const STATES = { connecting: 'Connecting', live: 'Live', late: 'Late', lost: 'Connection lost', refused: 'Signed out' };

const session = new Session();
const charts = new Charts();
const invalidate = new Invalidate(session, () => keys.again());
const keys = new Keys(session, (...what) => invalidate.fill(...what));
const summary = new Summary();
const parts = [summary, charts, new Node(), new Tables(), new Recent(), invalidate];
/** Where the page was not given out for the asking, the server says who may see it. */
const open = document.body.dataset.open === 'yes';

let last = null;
let heard = 0;
let next = null;

const stream = new Stream(session, { news, state });

function news(overview) {
  const other = last && (last.viewer.as !== overview.viewer.as || last.viewer.tenant !== overview.viewer.tenant || overview.seq < last.seq);
  if (other) charts.clear();
  last = overview;
  heard = performance.now();
  $('welcome').hidden = true;
  $('board').hidden = false;
  who(overview);
  parts.forEach((part) => part.show(overview));
  age();
}

function who({ viewer, version }) {
  say($('version'), version);
  const chip = $('viewer');
  chip.hidden = false;
  say(chip, { admin: 'administrator', node: 'this node, not signed in', tenant: `tenant ${viewer.tenant}` }[viewer.as]);
  $('sign-in-open').hidden = session.signedIn;
  $('sign-out').hidden = !session.signedIn;
  $('sign-out').title = session.user?.email ?? '';
  $('keys-panel').hidden = false;
  $('keys-part').hidden = viewer.as !== 'admin';
  $('keys-panel').classList.toggle('alone', viewer.as !== 'admin');
  say($('keys-title'), viewer.as === 'tenant' ? 'Invalidate' : 'Keys');
  say($('keys-note'), viewer.as === 'admin' ? 'what this node’s memory would serve' : viewer.as === 'tenant' ? 'what this tenant’s users are not to be served any more' : 'Sign in as an administrator to search keys and to invalidate.');
  document.title = `${viewer.tenant ?? 'larder'} · cache`;
}

function state(word, detail) {
  $('stream').dataset.state = word;
  say($('stream-text'), STATES[word]);
  next = word === 'lost' ? detail.at : null;
  if (word === 'refused') return refused(detail);
  const isOld = word === 'lost' || word === 'late';
  $('old').hidden = !isOld || !last;
  document.body.classList.toggle('is-old', isOld && Boolean(last));
  if (isOld) summary.unknown();
  say($('old-why'), word === 'late' ? 'The server is slow to answer: these figures are old.' : isOld ? `${detail.why} These figures are old.` : '');
  if (word === 'lost' && !last) say($('stream-text'), 'No connection');
  age();
}

/** How old the figures are, told every second and announced once. */
function age() {
  if (!$('old').hidden) {
    say($('old-age'), `They are ${seconds(Math.round((performance.now() - heard) / 1000))} old.`);
    const left = next === null ? null : Math.max(0, Math.round((next - Date.now()) / 1000));
    say($('old-next'), left === null ? '' : left ? `Trying again in ${left} s.` : 'Trying again now.');
  }
}

function refused({ status, why }) {
  const was = session.signedIn;
  session.forget();
  if (was && open) {
    // On this machine the node can be seen without.
    login(status === 401 ? 'Your session has ended.' : why);
    return stream.start();
  }
  signedOut(was ? 'Your session has ended. Sign in again.' : '');
}

function signedOut(why) {
  stream.stop();
  last = null;
  charts.clear();
  keys.clear();
  $('board').hidden = $('old').hidden = true;
  document.body.classList.remove('is-old');
  $('stream').dataset.state = 'refused';
  say($('stream-text'), STATES.refused);
  $('viewer').hidden = $('sign-in-open').hidden = $('sign-out').hidden = true;
  $('welcome').hidden = false;
  say($('welcome-why'), why);
  $('welcome-form').replaceChildren(form(enter));
}

/** The form to sign in, with the sample logins where there are some. */
function form(done) {
  const copy = $('login-template').content.cloneNode(true);
  const [samples, login] = [copy.querySelector('.samples'), copy.querySelector('form')];
  const submit = async (email, password) => {
    const buttons = [...samples.children, login.querySelector('.primary')];
    buttons.forEach((button) => { button.disabled = true; });
    say(login.querySelector('.problem'), '');
    try {
      await session.signIn(email, password);
      await done();
    } catch (error) {
      session.forget();
      say(login.querySelector('.problem'), error instanceof TypeError ? 'The server can’t be reached just now.' : error.message);
    } finally {
      buttons.forEach((button) => { button.disabled = false; });
    }
  };
  samples.hidden = document.body.dataset.samples !== 'yes';
  for (const button of samples.children) button.addEventListener('click', () => submit(button.dataset.email, SAMPLE_PASSWORD));
  login.addEventListener('submit', (event) => {
    event.preventDefault();
    submit(login.elements.email.value, login.elements.password.value);
  });
  return copy;
}

function login(why = '') {
  $('login-place').replaceChildren(form(async () => {
    $('login-dialog').close();
    keys.clear();
    stream.start();
  }));
  say($('login-place').querySelector('.problem'), why);
  if (!$('login-dialog').open) $('login-dialog').showModal();
}

/** Goes in, if the server gives this page to whoever is signed in. */
async function enter() {
  if (!open) {
    const response = await session.fetch('/');
    if (!response.ok) {
      const why = response.status === 403 ? 'You are signed in, but this page is for administrators.' : session.signedIn ? 'Your session has ended. Sign in again.' : '';
      session.forget();
      return signedOut(why);
    }
  }
  keys.clear();
  stream.start();
}

$('sign-in-open').addEventListener('click', () => login());
$('login-close').addEventListener('click', () => $('login-dialog').close());
$('sign-out').addEventListener('click', () => {
  session.forget();
  if (!open) return signedOut('');
  keys.clear();
  stream.start();
});
$('old-now').addEventListener('click', () => stream.now());
$('theme').value = document.documentElement.dataset.theme ?? '';
$('theme').addEventListener('change', ({ target }) => {
  if (target.value) document.documentElement.dataset.theme = target.value;
  else delete document.documentElement.dataset.theme;
  localStorage.setItem('larder-theme', target.value);
  charts.restyle();
});
matchMedia('(prefers-color-scheme: dark)').addEventListener('change', () => charts.restyle());
$('first-commands').textContent = Array(2).fill(`curl -si ${location.origin}/api/charts/trend | grep -i -e '^x-cache' -e '^server-timing'`).join('\n');
// Scrapers show a token, which a link does not, and nginx keeps the route to itself.
$('metrics-link').hidden = !open;
setInterval(age, 1000);
if (open || session.signedIn) enter();
else signedOut('');
