// What an application written in TypeScript sees. It is compiled, never run: a line marked as an error has to be one.
import { LarderLive, LiveError, type LiveEvent, type Presence, type State } from '../larder-live.js';

interface Campaign {
  id: string;
  name: string;
}

const live = new LarderLive({ tenant: 'acme', token: async ({ reason }) => (reason === 'expired' ? null : 'token'), transports: ['sse'] });
const off: () => void = live.on('event', (event: LiveEvent<Campaign>) => event.data.name.toUpperCase());
live.on('state', (state: State) => (state.name === 'waiting' ? state.retryMs?.toFixed() : state.code));
live.on('reset', ({ reason, epoch, offset }) => `${reason} ${epoch} ${offset + 1}`);
live.onKind('campaign.*', (event) => event.ts);
const room = live.connect().join('orders', { presence: true });
room.on('presence', ({ members, total }: Presence) => members.length <= total);
room.on('joined', ({ recovered }: { recovered: boolean }) => recovered);
const sent: Promise<{ offset?: number }> = room.publish({ text: 'hi' }, { key: 'once' });
live.history('orders', { since: live.position ?? 'k3Jx:0', limit: 10 }).then(({ events, more }) => more || events[0].offset);
sent.catch((error: unknown) => error instanceof LiveError && error.code === 'forbidden');
off();
live.close();

// @ts-expect-error there is no such event
live.on('message', () => {});
// @ts-expect-error a tenant is needed
new LarderLive({ token: () => 'token' });
// @ts-expect-error there is no such transport
new LarderLive({ tenant: 'acme', token: () => null, transports: ['polling'] });
