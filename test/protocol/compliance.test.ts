import t from 'tap';
import { comply, type Variant } from './fixtures/comply.js';
import { withoutLocalVsock } from './fixtures/local-vsock.js';
import { withoutEarlyData } from './fixtures/recording.js';

/** Every way to carry a channel and to read from sockets; the last ones are with a peer that knows less. */
const VARIANTS: Record<string, Variant> = {
  'in memory': { link: 'memory' },
  'over a unix socket': { link: 'unix' },
  'over TCP': { link: 'tcp' },
  'over a pair of sockets': { link: 'pair' },
  'over a command': { link: 'exec' },
  'over a line': { link: 'line' },
  'in memory, adopted sockets': { link: 'memory', adopt: true },
  'over a unix socket, adopted sockets': { link: 'unix', adopt: true },
  'over a pair of sockets, adopted sockets': { link: 'pair', adopt: true },
  'over TCP, adopted sockets': { link: 'tcp', adopt: true },
  'over a unix socket, without early data': { link: 'unix', guestFeatures: withoutEarlyData },
  'over a unix socket, with a plain guest': { link: 'unix', guestFeatures: [] },
};

for (const [name, variant] of Object.entries(VARIANTS)) t.test(name, (t) => comply(t, variant));

t.test('over AF_VSOCK', { skip: withoutLocalVsock() }, (t) => comply(t, { link: 'vsock' }));
