import { readFileSync } from 'node:fs';
import t from 'tap';
import {
  type Cause,
  clientFailed,
  closed,
  endedByHost,
  type Phase,
  streamEnded,
  terminationOf,
} from '../../../host/records/ending.js';
import type { StreamEnd } from '../../../protocol/stream.js';
import type { OpenStep } from '../../../protocol/wire/extension.js';

const WEB = 'tcp 127.0.0.1:80';

function refused(step: OpenStep, code: string): StreamEnd {
  return { how: 'refused', result: { step, micros: 2000, reason: { code, message: 'so it is' } } };
}

function reset(code: string, message = `read ${code}`): StreamEnd {
  return { how: 'reset', reason: { code, message } };
}

const ENDS: [StreamEnd, Partial<Omit<Cause, 'message'>> & { message: RegExp }][] = [
  [{ how: 'closed' }, { outcome: 'closed', by: 'server', how: 'FIN', message: /the server ended/ }],
  [
    refused('dial', 'ECONNREFUSED'),
    {
      by: 'server',
      how: 'error',
      code: 'ECONNREFUSED',
      message: /could not reach tcp 127.0.0.1:80: ECONNREFUSED \(so it is\) after 2\.0 ms/,
    },
  ],
  [
    refused('dial', 'ETIMEDOUT'),
    { by: 'server', how: 'timeout', code: 'ETIMEDOUT', message: /could not reach/ },
  ],
  [refused('dial', 'EMFILE'), { by: 'guest', how: 'error', code: 'EMFILE', message: /could not reach/ }],
  [
    refused('policy', 'EACCES'),
    { by: 'policy', code: 'EACCES', message: /does not allow tcp 127\.0\.0\.1:80/ },
  ],
  [refused('policy', 'EAGAIN'), { by: 'guest', code: 'EAGAIN', message: /the guest has refused tcp/ }],
  [refused('service', 'ENOENT'), { by: 'guest', code: 'ENOENT', message: /the guest has refused tcp/ }],
  [
    { how: 'refused', result: undefined },
    { outcome: 'refused', by: 'server', message: /a plain peer cannot say why/ },
  ],
  [
    reset('ECONNRESET'),
    { by: 'server', how: 'RST', message: /^the server reset the connection \(read ECONNRESET\)$/ },
  ],
  [reset('EPIPE'), { by: 'server', how: 'RST', code: 'EPIPE', message: /^the server reset the connection/ }],
  [reset('ETIMEDOUT'), { by: 'server', how: 'timeout', message: /^the server did not answer any more/ }],
  [reset('EHOSTUNREACH'), { by: 'server', how: 'error', message: /^the connection to the server failed/ }],
  [reset('ENOBUFS'), { by: 'guest', how: 'error', message: /^the guest could not go on \(read ENOBUFS\)/ }],
  [
    reset('STOPPED', 'the guest was told to stop'),
    { by: 'guest', how: 'error', message: /^the guest was told to stop$/ },
  ],
  [
    reset('CLOSED_EARLY', 'too early'),
    { by: 'guest', how: 'error', code: 'CLOSED_EARLY', message: /^too early$/ },
  ],
  [reset('WINDOW_EXCEEDED', 'too much'), { by: 'channel', how: 'error', message: /^too much$/ }],
  [
    { how: 'lost', reason: { code: 'CHANNEL_CLOSED', message: 'the peer closed the channel' } },
    { outcome: 'failed', by: 'channel', message: /^the channel was lost: the peer closed/ },
  ],
  [
    { how: 'lost', reason: { code: 'STOPPED', message: 'the host was told to stop' } },
    { by: 'host', code: 'STOPPED', message: /^the host was told to stop$/ },
  ],
];

t.test('who has ended a stream, and how', async (t) => {
  for (const [end, cause] of ENDS) t.match(streamEnded(end, WEB), cause, JSON.stringify(end));
});

t.test('the client’s own socket', async (t) => {
  t.match(clientFailed({ code: 'ECONNRESET', message: 'read ECONNRESET' }), {
    ...{ by: 'client', how: 'RST', code: 'ECONNRESET' },
    message: 'the client reset the connection (read ECONNRESET)',
  });
  t.match(clientFailed({ code: 'ETIMEDOUT', message: 'read ETIMEDOUT' }), { by: 'client', how: 'timeout' });
  t.match(clientFailed({ code: 'ENOBUFS', message: 'write ENOBUFS' }), { by: 'host', how: 'error' });
});

const IDLE: Cause = { ...endedByHost({ code: 'IDLE', message: '' }, 'closed'), how: 'timeout' };
const HELD: Cause = { outcome: 'failed', by: 'channel', how: 'timeout', message: '' };
const code = (code: string): StreamEnd => reset(code);
/** Every code that docs/records.md has, and an ending that has it. */
const TERMINATIONS: [string, Cause, Phase, boolean?][] = [
  ['--', closed('client'), 'data'],
  ['--', closed('server'), 'data'],
  ['--', IDLE, 'data'],
  ['SE', closed('server'), 'data', true],
  ['CC', clientFailed({ code: 'ECONNRESET', message: '' }), 'dialling'],
  ['cC', clientFailed({ code: 'ETIMEDOUT', message: '' }), 'dialling'],
  ['CD', clientFailed({ code: 'ECONNRESET', message: '' }), 'data'],
  ['cD', clientFailed({ code: 'ETIMEDOUT', message: '' }), 'data'],
  ['SC', streamEnded(refused('dial', 'ECONNREFUSED'), WEB), 'dialling'],
  ['sC', streamEnded(refused('dial', 'ETIMEDOUT'), WEB), 'dialling'],
  ['SD', streamEnded(code('ECONNRESET'), WEB), 'data'],
  ['sD', streamEnded(code('ETIMEDOUT'), WEB), 'data'],
  ['PC', streamEnded(refused('policy', 'EACCES'), WEB), 'dialling'],
  ['GC', streamEnded(refused('dial', 'EMFILE'), WEB), 'dialling'],
  ['GD', streamEnded(code('STOPPED'), WEB), 'data'],
  ['gW', { ...HELD, by: 'guest' }, 'waiting'],
  ['xW', HELD, 'waiting'],
  ['XC', streamEnded({ how: 'lost', reason: { code: 'PEER_SILENT', message: '' } }, WEB), 'dialling'],
  ['XD', streamEnded({ how: 'lost', reason: { code: 'PEER_SILENT', message: '' } }, WEB), 'data'],
  ['HW', endedByHost({ code: 'EMFILE', message: '' }), 'waiting'],
  ['HC', endedByHost({ code: 'STOPPED', message: '' }), 'dialling'],
  ['HD', endedByHost({ code: 'UNEXPOSED', message: '' }, 'closed'), 'data'],
];

t.test('termination codes stay as they are, and the documentation has them all', async (t) => {
  const docs = readFileSync(new URL('../../../docs/records.md', import.meta.url), 'utf8');
  const documented = [...docs.matchAll(/^\| `(..)` /gm)].map(([, code]) => code);
  for (const [expected, cause, phase, empty = false] of TERMINATIONS)
    t.equal(terminationOf(cause, phase, empty), expected);
  t.same(documented.sort(), [...new Set(TERMINATIONS.map(([code]) => code))].sort());
});
