// Invalidating by hand: asked once more, with what it will do, before it is done.
import { $, count, el, say } from './format.js';

const NOUNS = { key: 'the key', tag: 'everything with the tag', prefix: 'everything whose key begins with', tenant: 'everything' };

export class Invalidate {
  #session;
  #done;
  #wish = null;

  constructor(session, done) {
    this.#session = session;
    this.#done = done;
    const form = $('invalidate');
    form.addEventListener('submit', (event) => {
      event.preventDefault();
      this.#ask();
    });
    form.elements.kind.addEventListener('change', () => this.#fit());
    $('confirm-no').addEventListener('click', () => $('confirm').close());
    $('confirm-yes').addEventListener('click', () => this.#carryOut());
    this.#fit();
  }

  /** An administrator says whose; others have one tenant. */
  show({ viewer }) {
    const { user } = this.#session;
    $('invalidate-tenant').hidden = viewer.as !== 'admin';
    $('invalidate-title').hidden = viewer.as !== 'admin';
    $('invalidate').hidden = viewer.as === 'node' || user?.role === 'member';
  }

  fill(tenant, kind, name) {
    const { elements } = $('invalidate');
    elements.tenant.value = tenant;
    elements.kind.value = kind;
    elements.name.value = name;
    this.#fit();
    this.#ask();
  }

  #fit() {
    $('invalidate-name').hidden = $('invalidate').elements.kind.value === 'tenant';
    say($('invalidate-error'), '');
  }

  async #ask() {
    const { tenant, kind, name } = $('invalidate').elements;
    const wish = {};
    if (!$('invalidate-tenant').hidden) wish.tenant = tenant.value.trim();
    if (kind.value !== 'tenant') wish[kind.value] = name.value.trim();
    if (kind.value !== 'tenant' && !wish[kind.value]) {
      say($('invalidate-error'), `Say which ${kind.value}.`);
      return name.focus();
    }
    say($('invalidate-error'), '');
    say($('invalidate-told'), '');
    try {
      const covered = await this.#session.post('/api/cache/invalidate', { ...wish, dry_run: true });
      this.#wish = wish;
      this.#confirm(covered, kind.value, name.value.trim());
    } catch (error) {
      say($('invalidate-error'), error.message);
    }
  }

  #confirm({ scope, entries, by_endpoint: endpoints, nodes }, kind, name) {
    const whose = scope.slice(0, scope.indexOf(': '));
    const what = kind === 'tenant' ? 'everything' : `${NOUNS[kind]} “${name}”`;
    const names = Object.entries(endpoints).map(([endpoint, covered]) => `${endpoint} ${count(covered)}`);
    const here = entries
      ? `This node’s memory holds ${count(entries)} ${entries === 1 ? 'entry' : 'entries'} of it, in ${names.length} ${names.length === 1 ? 'endpoint' : 'endpoints'}: ${names.join(', ')}.`
      : 'This node’s memory holds nothing of it now; Redis and other nodes may.';
    say($('confirm-scope'), scope);
    $('confirm-text').replaceChildren(
      el('p', {}, `Drops ${what} of ${whose === 'shared entries' ? 'the entries that all tenants share' : whose}, in memory and in Redis, ${nodes > 1 ? `on all ${count(nodes)} nodes` : 'on every node'}.`),
      el('p', {}, here),
      el('p', { class: 'soft' }, 'The next read of each loads it again from its source. Nothing is deleted there.'),
    );
    say($('confirm-error'), '');
    $('confirm').showModal();
    $('confirm-no').focus();
  }

  async #carryOut() {
    const button = $('confirm-yes');
    button.disabled = true;
    try {
      const done = await this.#session.post('/api/cache/invalidate', this.#wish);
      $('confirm').close();
      const where = done.deferred ? 'on this node; the others follow when Redis is back'
        : done.nodes > 1 ? `on all ${count(done.nodes)} nodes` : 'on every node';
      const entries = `${count(done.entries)} ${done.entries === 1 ? 'entry' : 'entries'} of this node’s memory ${done.entries === 1 ? 'is' : 'are'} gone`;
      say($('invalidate-told'), `Invalidated ${done.scope}, ${where}. ${entries}.`);
      this.#done();
    } catch (error) {
      say($('confirm-error'), error.message);
    } finally {
      button.disabled = false;
    }
  }
}
