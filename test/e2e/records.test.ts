import net from 'node:net';
import t, { type Test } from 'tap';
import { ControlClient } from '../../host/control/client.js';
import type { DumpReport } from '../../host/records/dump.js';
import type { ConnectionReport, ForwardReport, StatusReport } from '../../host/records/reports.js';
import { chooseFreePorts } from '../fixtures/free-ports.js';
import { startServer } from '../fixtures/programs.js';
import { UdpClient } from '../fixtures/udp-echo.js';
import { logLines, Pair } from './fixtures/pair.js';

/** What a server does when its client has said something. */
const MANNERS: Record<string, (socket: net.Socket) => void> = {
  resets: (socket) => socket.resetAndDestroy(),
  'answers, then resets': (socket) => socket.write('so far', () => socket.resetAndDestroy()),
  'ends without a word': (socket) => socket.end(),
  'answers and ends': (socket) => socket.end('all of it'),
  waits: (socket) => socket.write('go on'),
  floods: (socket) => socket.write(Buffer.alloc(32 * 1024 * 1024)),
};

async function startMannered(t: Test): Promise<number> {
  return startServer(t, (socket) => socket.once('data', (asked) => MANNERS[asked.toString()]?.(socket)));
}

async function json<T>(pair: Pair, ...args: string[]): Promise<T> {
  const { code, lines } = await pair.run(...args, '--json');
  if (code !== 0) throw new Error(lines.join('\n'));
  return JSON.parse(lines.join('\n')) as T;
}

t.test('who has ended a connection, and how: a server that resets is no client that does', async (t) => {
  const port = await startMannered(t);
  const [nowhere = 0] = await chooseFreePorts(1);
  const pair = await Pair.start(t, `0:${port}`, `0:${nowhere}`);
  const served: [manner: string, outcome: string, ending: object][] = [
    [
      'resets',
      'ECONNRESET',
      { termination: 'SD', by: 'server', phase: 'data', how: 'RST', code: 'ECONNRESET' },
    ],
    [
      'answers, then resets',
      'ECONNRESET',
      { termination: 'SD', by: 'server', how: 'RST', code: 'ECONNRESET' },
    ],
    ['ends without a word', 'end', { termination: 'SE', by: 'server', how: 'FIN', empty: true }],
    ['answers and ends', 'end', { termination: '--', by: 'server', phase: 'data', how: 'FIN' }],
  ];
  for (const [manner, outcome] of served) {
    const client = await pair.connect(port);
    client.socket.write(manner);
    t.equal(await client.outcome(), outcome, manner);
    client.socket.end();
  }
  const leaving = await pair.connect(port);
  leaving.socket.write('waits');
  await leaving.until(() => leaving.bytes > 0);
  leaving.socket.resetAndDestroy();
  await (await pair.connect(nowhere)).outcome();
  await pair.host.line(/the client reset the connection \(read ECONNRESET\)/);
  await pair.host.line(/could not reach/);

  const { connections } = await json<DumpReport>(pair, 'dump');
  t.same(connections.open, []);
  t.match(
    connections.ended.sort((a, b) => a.id - b.id).map(({ ending }) => ending),
    [
      ...served.map(([, , ending]) => ending),
      { termination: 'CD', by: 'client', phase: 'data', how: 'RST', code: 'ECONNRESET' },
      { termination: 'SC', by: 'server', phase: 'dialling', how: 'error', code: 'ECONNREFUSED' },
    ],
  );
  const forwards = await json<ForwardReport[]>(pair, 'list');
  t.match(forwards, [
    { counters: { connections: 5, active: 0, refused: 0, failed: 3, empty: 1 } },
    { counters: { connections: 1, active: 0, refused: 1, failed: 0, empty: 0 } },
  ]);
  t.match(
    logLines(pair.host)
      .filter(({ termination }) => termination)
      .map(({ msg }) => msg),
    [
      'client reset: the server reset the connection (read ECONNRESET)',
      'client reset: the server reset the connection (read ECONNRESET)',
      'empty reply: the server ended the connection without having sent a byte',
      'client gone: the client reset the connection (read ECONNRESET)',
      /^client reset: the guest could not reach/,
    ],
  );
});

t.test('what is carried shows while the connection is open, in words and in the dump', async (t) => {
  const port = await startMannered(t);
  const pair = await Pair.start(t, `0:${port}`);
  const client = await pair.connect(port);
  client.socket.write('waits');
  await client.until(() => client.bytes === 5);
  t.match(await json(pair, 'list'), [{ counters: { active: 1, bytesToGuest: 5, bytesToHost: 5 } }]);
  t.match((await pair.run('list')).lines[1], / 5 B +5 B +listening/);
  t.match(await json(pair, 'list'), [{ rates: { toGuest: 0, toHost: 0 } }], 'the second look of two');
  const dump = await json<DumpReport>(pair, 'dump');
  t.match(dump, {
    ...{ holds: /addresses of clients/, limits: { clients: Number, holdSeconds: 5 } },
    versions: { node: process.version, platform: /^\w+ \w+$/, kernel: /^\d[\d.]*$/, peer: /^\d/ },
    forwards: [{ counters: { bytesToGuest: 5 } }],
    connections: { open: [{ state: 'connected', bytesToHost: 5, client: /^127\.0\.0\.1:/ }], ended: [] },
    multiplexer: [/^1 streams/, /^skipped/, /^stream 0 sent=5/],
    log: [/sockets: /],
  });
  t.ok(dump.connections.open[0]?.timingsMicros['guestDial']);
  t.match(
    dump.frames.filter(({ type }) => type === 'data'),
    [
      { direction: 'sent', stream: 0, bytes: 5 },
      { direction: 'received', stream: 0, bytes: 5 },
    ],
  );
  const { lines } = await pair.run('dump');
  t.match(lines[0], /Read it before you pass it on/);
  t.match(
    lines.filter((line) => line.startsWith('connection')),
    [/^connection 1 connected tcp localhost:\d+ → tcp 127\.0\.0\.1:\d+ from 127\.0\.0\.1:\d+ stream=0 /],
  );
});

t.test('refused clients and flows are a few lines of the log, and true numbers in the list', async (t) => {
  const [port = 0] = await chooseFreePorts(1);
  const pair = new Pair(t);
  // Such a guest refuses every flow.
  pair.startHost('--forward', `0:${port}`, '--forward', '0:53/udp');
  pair.startGuest('--allow-dial', `127.0.0.1:${port}`);
  await pair.up();
  await pair.host.until(() => pair.host.count(/^\w+ \S+ → /) >= 2);
  for (let count = 0; count < 20; count++) await (await pair.connect(port)).outcome();
  const udpPort = Number((await pair.host.line(/^udp localhost:(\d+)/))[1]);
  const client = await UdpClient.connect(t, udpPort);
  const control = new ControlClient(pair.control);
  let refused = 0;
  for (let count = 0; count < 20; count++) {
    client.send('anybody?');
    // One flow after the other: the next datagram begins a new one.
    while (refused === count) refused = (await control.forwards())[1]?.counters.refused ?? 0;
  }
  t.match(await json(pair, 'list'), [{ counters: { refused: 20 } }, { counters: { refused: 20 } }]);
  t.equal(pair.host.count(/client reset: the guest could not reach/), 3);
  t.equal(pair.host.count(/flow ended: the guest does not allow udp/), 3);
  await pair.host.stop();
  t.equal(pair.host.count(/the last of 17 more like it/), 2, 'and the rest is told, at the end too');
});

t.test('a status is true also of a guest that stands still and of which nobody wants anything', async (t) => {
  const pair = await Pair.start(t, '0:9');
  t.match(await json(pair, 'status'), { channel: { state: 'connected' }, failedConnections: 0 });
  pair.guest.child.kill('SIGSTOP');
  t.teardown(() => pair.guest.child.kill('SIGCONT'));
  // What has just been heard counts for a moment.
  let status = await json<StatusReport>(pair, 'status');
  while (status.channel.state === 'connected') status = await json(pair, 'status');
  t.match(status.channel, {
    lastError: /^nothing was heard from the peer for 1\.\d s/,
    lastErrorAt: /^\d{4}-.*Z$/,
  });
  t.match((await pair.run('status')).lines.at(-1), /^last error +nothing was heard .* \(\d+ s ago, \S+Z\)$/);
  const { code, lines } = await pair.run('doctor');
  t.equal(code, 1);
  t.match(
    lines.join('\n'),
    /✗ {2}channel .*\n.*\nthere has been no channel to the guest.*\nWhat to do: start/s,
  );
});

t.test('of a client that does not read it is known how long the guest has waited for it', async (t) => {
  const port = await startMannered(t);
  const pair = await Pair.start(t, `0:${port}`);
  const socket = net.connect({ host: '127.0.0.1', port: await pair.port(port) });
  t.teardown(() => socket.destroy());
  socket.write('floods');
  const control = new ControlClient(pair.control);
  let report: ConnectionReport | undefined;
  while (!report?.stalledMicros.toHost) [report] = await control.connections();
  t.equal(report.stalledMicros.toGuest, 0);
  t.match((await pair.run('dump')).lines.join('\n'), /connection 1 connected .* stalled-to-host=\d+µs/);
});
