import { release } from 'node:os';
import t from 'tap';
import { formatConnection, formatDump, makeDump } from '../../../host/records/dump.js';
import { reportForward } from '../../../host/records/reports.js';
import { kernelNumber } from '../../../protocol/machine/kernel-number.js';
import { fakeConnection, fakeDump, fakeStatus } from '../../fixtures/control-reports.js';
import { fakeForward } from '../../fixtures/fake-forward.js';

const { ending, ...OPEN } = fakeConnection();

t.test('a dump says what it is of, and what in it is private', async (t) => {
  const parts = {
    ...{ status: fakeStatus(), forwards: [], leases: [], multiplexer: [], frames: [], log: [] },
    limits: { clients: 1000, udpFlows: Number.POSITIVE_INFINITY },
    connections: [OPEN, fakeConnection()],
  };
  const dump = makeDump(parts);
  t.match(dump, {
    holds: /addresses of clients/,
    versions: { portferry: '1.2.3', peer: '1.2.3', node: process.version, kernel: kernelNumber(release()) },
    limits: { clients: 1000, udpFlows: 'unlimited' },
    connections: { open: [OPEN], ended: [fakeConnection()] },
  });
  t.same(JSON.parse(JSON.stringify(dump)), dump, 'and is JSON');
  const { peer, ...channel } = fakeStatus().channel;
  t.ok(peer);
  t.notOk('peer' in makeDump({ ...parts, status: { ...fakeStatus(), channel } }).versions);
});

t.test('the kernel by its number alone', async (t) => {
  t.equal(kernelNumber('6.1.0-18-cloud-amd64'), '6.1.0');
  t.equal(kernelNumber('22.6.0'), '22.6.0');
  t.equal(kernelNumber('5.15.+'), '5.15');
  t.equal(kernelNumber('custom'), 'unknown');
});

t.test('as text', async (t) => {
  const broken = fakeForward();
  broken.failures.add('SC ECONNREFUSED', 'nobody there', 0);
  const forward = reportForward(broken);
  const failed = { ...forward, id: 'tcp *:81', state: 'failed' as const, error: 'in use', container: 'web' };
  const text = formatDump({ ...fakeDump(), forwards: [forward, failed] });
  t.match(
    text,
    /^addresses\nversions {"portferry":"1\.2\.3".*}\nstatus {\n(.|\n)*\n}\nlimits {"clients":"unlimited"}\n/,
  );
  t.match(text, /\nforward tcp localhost:8080 → tcp 127\.0\.0\.1:80 listening {"connections":0,/);
  t.match(
    text,
    /}\n {2}failed 1 × SC ECONNREFUSED, last 1970-01-01T00:00:00\.000Z: nobody there\nforward tcp \*:81 → .* failed container=web {.*}: in use\n {2}failed 1 .*\nlease of docker: 1 forwards\n1 connections are open/,
  );
  const window = { at: 'x', direction: 'received', type: 'window', stream: 4, allowed: 9 } as const;
  t.match(formatDump({ ...fakeDump(), frames: [window] }), /\nframe x received window stream=4 allowed=9\n/);
  t.match(
    text,
    /\nconnection 1 .*\nconnection 1 .*\nno channel\nthe last 1 frames\nframe 2026-01-01T00:00:00\.000Z sent data stream=4 bytes=10\nthe last 1 lines of the log\n{"msg":"said"}\n$/,
  );
});

t.test('a connection is one line', async (t) => {
  t.equal(
    formatConnection(fakeConnection()),
    'connection 1 closed -- client/data/FIN tcp localhost:8080 → tcp 127.0.0.1:80 from 127.0.0.1:5555 stream=4 opened=2026-01-01T00:00:00.000Z age=3.5ms to-guest=10 to-host=20 hold=40µs channel=300µs guestDial=200µs firstByte=1234µs total=5000µs stalled-to-host=70µs : the client ended the connection',
  );
  const { client, ...nameless } = OPEN;
  t.ok(client && ending);
  const held = {
    ...nameless,
    ...{ streamId: -1, state: 'held', dropped: 2, timingsMicros: {} },
    stalledMicros: { toGuest: 9, toHost: 0 },
  };
  t.match(
    formatConnection(held),
    /^connection 1 held tcp localhost:8080 → tcp 127\.0\.0\.1:80 opened=.* to-host=20 dropped=2 stalled-to-guest=9µs$/,
  );
  const failed = { ...ending, termination: 'SD', by: 'server', phase: 'data', how: 'RST', message: 'why' };
  t.match(
    formatConnection({ ...OPEN, state: 'failed', ending: { ...failed, code: 'ECONNRESET' } }),
    / failed SD server\/data\/RST ECONNRESET tcp .* : why$/,
  );
});
