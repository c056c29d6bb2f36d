// What was invalidated and published lately, and what that dropped.
import { $, clock, el, say } from './format.js';

const VERBS = { invalidated: 'Invalidated', expired: 'Expired', published: 'Published' };

export class Recent {
  #newest = null;

  show({ recent, viewer }) {
    const list = $('recent');
    $('recent-box').hidden = !recent?.length;
    say($('recent-note'), recent ? (recent.length ? 'the newest first' : 'none yet') : 'Sign in as an administrator to see them.');
    const newest = recent ? `${viewer.as}${viewer.tenant}${recent.length}:${recent[0]?.id}` : null;
    if (newest === this.#newest) return;
    this.#newest = newest;
    list.replaceChildren(...(recent ?? []).map(item));
  }
}

function item(change) {
  const { at_ms: at, verb, tenant, event, changed, what, more, here, deferred } = change;
  const whose = here ? (tenant === null ? 'all tenants' : tenant || 'shared') : 'another node';
  const dropped = [...what.map((one) => el('code', {}, one)), more ? el('span', { class: 'soft' }, here ? `and ${more} more` : `${more} ${more === 1 ? 'scope' : 'scopes'}`) : null];
  return el('li', { 'data-verb': verb, 'data-tenant': tenant ?? '' },
    el('time', { datetime: new Date(at).toISOString() }, clock(at)),
    el('span', { class: 'whose' }, whose),
    el('span', { class: 'what' }, event ? el('b', {}, event) : null, event && changed && !what.some((one) => one.includes(changed)) ? el('span', { class: 'soft id' }, changed) : null,
      el('span', { class: 'verb' }, deferred ? `${VERBS[verb]}, waits for Redis:` : what.length || more ? `${VERBS[verb].toLowerCase()}` : event ? 'published' : VERBS[verb]), ...dropped));
}
