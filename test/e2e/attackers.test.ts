import dgram from 'node:dgram';
import { once } from 'node:events';
import {
  chmodSync,
  chownSync,
  lstatSync,
  mkdirSync,
  readFileSync,
  symlinkSync,
  writeFileSync,
} from 'node:fs';
import http from 'node:http';
import net from 'node:net';
import { dirname, join } from 'node:path';
import { text } from 'node:stream/consumers';
import t, { type Test } from 'tap';
import { WebSocket } from 'ws';
import { ControlClient } from '../../host/control/client.js';
import { LogFile } from '../../host/service/log-file.js';
import { StreamDuplex } from '../../protocol/duplex.js';
import { CONTROL_SERVICE, LEASE_RESOURCE, type VpnkitPort } from '../../protocol/services/control.js';
import { INSPECT_SERVICE } from '../../protocol/services/inspect.js';
import type { Stream } from '../../protocol/stream.js';
import type { Destination } from '../../protocol/wire/destination.js';
import { encodePing } from '../../protocol/wire/extension.js';
import { attack, Flood, handshake, RawHttp } from '../fixtures/attacker.js';
import { breaches } from '../fixtures/broken-bytes.js';
import { chooseFreePorts, freePort } from '../fixtures/free-ports.js';
import { WITHOUT_IPV6 } from '../fixtures/ipv6.js';
import { port } from '../fixtures/leases.js';
import { Peer } from '../fixtures/peer.js';
import {
  builtCommand,
  Program,
  requireProgram,
  startPortferry,
  startPortferryGuest,
  startServer,
  temporaryFolder,
} from '../fixtures/programs.js';
import { Signal } from '../protocol/fixtures/signal.js';
import { Pair } from './fixtures/pair.js';

/**
 * Who attacks portferry, what they try, and what must come of it: SECURITY.md in the form of a test. What is tried
 * in more depth elsewhere: any bytes at all, random use and cuts (test/protocol/properties.test.ts), bodies that
 * are far larger as objects (hostile-guest.test.ts), floods beside the user's commands (flood.test.ts), few
 * descriptors (descriptors.test.ts).
 */

const CONTROL = { proto: 'unix', path: CONTROL_SERVICE } as const;

/** The user's own forward, of every host that is attacked. */
const OWN = '127.0.0.1:0:1';

/** Every address of IPv4 and of IPv6, by one socket. */
const BOTH_FAMILIES = '* of both families';

/** A host that has its own forward and a control socket, and a channel that nobody has taken yet. */
async function startHost(t: Test, ...args: string[]) {
  const pair = new Pair(t);
  pair.startHost('--forward', OWN, ...args);
  await pair.host.line(/^tcp /);
  const channel = join(pair.folder, 'channel.sock');
  return { pair, channel, control: new ControlClient(pair.control) };
}

/** The same, with a channel that is taken by a guest of the test's making. */
async function startHostWithGuest(t: Test, ...args: string[]) {
  const host = await startHost(t, ...args);
  const guest = await Peer.connect(t, { kind: 'unix', path: host.channel });
  return { ...host, guest, lease: () => new RawHttp(guest, CONTROL_SERVICE) };
}

/** A guest that waits for its host, which the test makes. */
async function startGuest(t: Test, ...args: string[]) {
  const pair = new Pair(t);
  pair.startGuest('--listen', pair.channel, ...args);
  await pair.guest.line(/waiting for the channel/);
  return { program: pair.guest, channel: join(pair.folder, 'channel.sock') };
}

/** A guest that programs in the VM can ask for forwards, by a socket. */
async function startPublishingGuest(t: Test) {
  const socket = join(temporaryFolder(t), 'publish.sock');
  const guest = await startGuest(t, '--proxy-socket', socket);
  await guest.program.line(/forwards can be asked for on/);
  return { ...guest, socket };
}

/** What the host says of each forward of a lease. */
async function outcomes(lease: RawHttp, ...forwards: object[]): Promise<{ state: string; code?: string }[]> {
  const { status, body } = await lease.ask('PUT', LEASE_RESOURCE, { publisher: 'evil', forwards });
  return status === 200 ? JSON.parse(body).forwards : [{ state: `${status} ${body}` }];
}

// ---- the hostile guest -----------------------------------------------------------------------------------

t.test(
  'the hostile guest breaks the protocol: its channel ends, with a code, and the next one is served',
  async (t) => {
    const { channel, pair, control } = await startHost(t);
    for (const { what, bytes, code } of breaches(CONTROL)) {
      const guest = attack(t, channel, bytes);
      await guest.until(() => guest.closed);
      t.ok(await pair.host.line(new RegExp(`"code":"${code}"`)), what);
    }
    const honest = await Peer.connect(t, { kind: 'unix', path: channel });
    t.ok(honest.connected);
    t.match(await control.status(), { channel: { state: 'connected' }, forwards: 1 });
  },
);

t.test('the hostile guest dials: it gets nowhere', async (t) => {
  let clients = 0;
  const served = await startServer(t, () => void clients++);
  const { guest, pair } = await startHostWithGuest(t);
  const destinations: Destination[] = [
    { proto: 'tcp', ip: '127.0.0.1', port: served },
    { proto: 'tcp', ip: '::1', port: served },
    { proto: 'tcp', ip: '0.0.0.0', port: served },
    { proto: 'udp', ip: '127.0.0.1', port: served },
    { proto: 'unix', path: pair.control },
    { proto: 'unix', path: '/var/run/docker.sock' },
    { proto: 'unix', path: 'portferry:inspect' },
    { proto: 'unix', path: `${CONTROL_SERVICE}/../control` },
    { proto: 'unix', path: '' },
  ];
  for (const destination of destinations) {
    const stream = guest.open(destination);
    await guest.until(() => stream.end !== undefined);
    t.match(
      stream.end,
      { how: 'refused', result: { step: 'service', reason: { code: 'EACCES' } } },
      JSON.stringify(destination),
    );
  }
  t.equal(clients, 0);
});

/** Where a program of the user's serves, and on which address of it the guest asks for the same port. */
const CLAIMS: readonly (readonly [served: string, asked: string])[] = [
  ['127.0.0.1', '127.0.0.1'],
  ['127.0.0.1', '0.0.0.0'],
  ['0.0.0.0', '0.0.0.0'],
  ['0.0.0.0', '127.0.0.1'],
  ['0.0.0.0', '127.0.0.2'],
  ['127.0.0.2', '0.0.0.0'],
];
const CLAIMS_OF_IPV6: typeof CLAIMS = [
  ['::1', '::1'],
  ['::1', '::'],
  ['::', '::'],
  ['::', '::1'],
  [BOTH_FAMILIES, '::1'],
  [BOTH_FAMILIES, '::'],
  [BOTH_FAMILIES, '127.0.0.1'],
  [BOTH_FAMILIES, '0.0.0.0'],
];

/** A program of the user's that serves a port. @returns what ends it */
async function serve(proto: 'tcp' | 'udp', ip: string, number: number): Promise<() => void> {
  const host = ip === BOTH_FAMILIES ? '::' : ip;
  const ipv6Only = net.isIPv6(ip);
  if (proto === 'tcp') {
    const server = net.createServer().listen({ port: number, host, ipv6Only });
    await once(server, 'listening');
    return () => server.close();
  }
  const type = net.isIPv4(host) ? 'udp4' : 'udp6';
  const socket = dgram.createSocket({ type, ipv6Only }).bind(number, host);
  await once(socket, 'listening');
  return () => socket.close();
}

t.test(
  'the hostile guest asks for ports that programs of the user serve: it gets none of them',
  async (t) => {
    const { lease, control, pair } = await startHostWithGuest(t);
    const own = await pair.port(1);
    const ask = async (proto: 'tcp' | 'udp', number: number, asked: string, what: string): Promise<void> => {
      const evil = lease();
      const [outcome] = await outcomes(evil, { ...port(number), proto, out_ip: asked });
      evil.duplex.destroy();
      t.match(outcome, { state: 'failed', code: 'EADDRINUSE' }, `${proto} ${asked}, where ${what} is served`);
    };
    for (const asked of ['127.0.0.1', '0.0.0.0']) await ask('tcp', own, asked, 'a forward');
    for (const proto of ['tcp', 'udp'] as const)
      for (const [served, asked] of [...CLAIMS, ...(WITHOUT_IPV6 ? [] : CLAIMS_OF_IPV6)]) {
        const number = await freePort();
        const end = await serve(proto, served, number);
        await ask(proto, number, asked, served);
        end();
      }
    t.equal((await control.forwards()).filter(({ state }) => state === 'listening').length, 1);
  },
);

t.test('the hostile guest removes what others have: it stays', async (t) => {
  const { lease, control, pair } = await startHostWithGuest(t);
  const own = await pair.port(1);
  const [leased] = await chooseFreePorts(1);
  const other = lease();
  t.match(await outcomes(other, port(leased as number)), [{ state: 'listening' }]);
  const evil = lease();
  for (const number of [own, leased as number])
    await evil.ask('DELETE', '/forwards/unexpose/port', port(number, 1));
  await outcomes(evil);
  evil.duplex.destroy();
  t.equal((await control.forwards()).filter(({ state }) => state === 'listening').length, 2);
});

t.test(
  'the hostile guest asks for sockets: only in their folder, and over nothing that is there',
  async (t) => {
    const runtime = temporaryFolder(t);
    const folder = join(runtime, 'sockets');
    mkdirSync(folder, { mode: 0o700 });
    process.env['PORTFERRY_RUNTIME_DIR'] = runtime;
    t.teardown(() => void delete process.env['PORTFERRY_RUNTIME_DIR']);
    const { lease, pair } = await startHostWithGuest(t);
    const precious = join(pair.folder, 'precious');
    writeFileSync(precious, 'text');
    symlinkSync(precious, join(folder, 'link'));
    symlinkSync(join(pair.folder, 'nothing'), join(folder, 'nowhere'));
    writeFileSync(join(folder, 'file'), 'text');
    const tries: [path: string, state: 'refused' | 'failed'][] = [
      [pair.control, 'refused'],
      [precious, 'refused'],
      [`${folder}/../precious`, 'refused'],
      [`${folder}/./x`, 'refused'],
      [`${folder}//x`, 'refused'],
      [`${folder}/x/`, 'refused'],
      [`${folder}/a/x`, 'refused'],
      [folder, 'refused'],
      ['run/sockets/x', 'refused'],
      [`${folder}/a\0b`, 'refused'],
      [`${folder}/a\nb`, 'refused'],
      [`${folder}/link`, 'failed'],
      [`${folder}/nowhere`, 'failed'],
      [`${folder}/file`, 'failed'],
      [`${folder}/${'x'.repeat(200)}`, 'failed'],
    ];
    for (const [path, state] of tries) {
      const [outcome] = await outcomes(lease(), {
        proto: 'unix',
        out_path: path,
        in_path: '/x',
      } satisfies VpnkitPort);
      t.match(outcome, { state }, JSON.stringify(path));
    }
    t.same([readFileSync(precious, 'utf8'), readFileSync(join(folder, 'file'), 'utf8')], ['text', 'text']);
    t.ok(lstatSync(join(folder, 'link')).isSymbolicLink());
    const [outcome] = await outcomes(lease(), { proto: 'unix', out_path: `${folder}/good`, in_path: '/x' });
    t.match(outcome, { state: 'listening' });
    t.equal(lstatSync(`${folder}/good`).mode & 0o777, 0o600);
  },
);

t.test('the hostile guest asks for forwards by the thousand: it gets its share, and no more', async (t) => {
  const { lease, control, pair } = await startHostWithGuest(t);
  const own = await pair.port(1);
  const forwards = (count: number, from = 2): VpnkitPort[] =>
    Array.from({ length: count }, (_, index) => port(own, from + index));
  const tooMany = await lease().ask('PUT', LEASE_RESOURCE, { publisher: 'evil', forwards: forwards(16_385) });
  t.match(tooMany, { status: 400, body: /16385 forwards, at most 16384/ });
  const asked = Array.from({ length: 20 }, (_, index) =>
    outcomes(lease(), ...forwards(1_000, 2 + 1_000 * index)),
  );
  const codes = (await Promise.all(asked)).flat().map(({ code }) => code);
  t.equal(codes.length, 20_000);
  t.ok(codes.includes('EMFILE'), 'those beyond are told so');
  const listed = await control.forwards();
  t.ok(listed.length <= 1 + 16_384 + 256, `${listed.length} are listed`);
});

t.test('the hostile guest opens by the million: a lease has its limit', async (t) => {
  const { guest, control } = await startHostWithGuest(t);
  const streams = Array.from({ length: 5_000 }, () => guest.open(CONTROL));
  await guest.until(() => streams.every(({ result, end }) => result ?? end));
  const refused = streams.filter(
    ({ end }) => end?.how === 'refused' && end.result?.reason?.code === 'EAGAIN',
  );
  t.equal(refused.length, 5_000 - 4_096);
  t.equal((await control.status()).channel.streams, 4_096);
});

/** Whoever sends its handshake a byte at a time gives way to an honest peer. */
async function trickle(t: Test, channel: string): Promise<void> {
  const slow = attack(t, channel, handshake().subarray(0, 1));
  await once(slow.socket, 'connect');
  for (const byte of handshake().subarray(1, 20)) slow.socket.write(Buffer.of(byte));
  const honest = await Peer.connect(t, { kind: 'unix', path: channel });
  t.ok(honest.connected);
  await slow.until(() => slow.closed);
}

t.test('the hostile guest sends its handshake a byte at a time: the honest one has the place', async (t) => {
  const { channel } = await startHost(t);
  await trickle(t, channel);
});

/** A request with a body, as text. */
function put(path: string, body: string): string {
  return `PUT ${path} HTTP/1.1\r\nhost: h\r\ncontent-length: ${body.length}\r\n\r\n${body}`;
}

t.test(
  'the hostile guest speaks HTTP that is none, or has no end: that lease ends, and others go on',
  async (t) => {
    const { lease, guest, control } = await startHostWithGuest(t);
    const wrong: [what: string, bytes: string, status: number][] = [
      ['a head without end', `GET / HTTP/1.1\r\nhost: h\r\nx: ${'y'.repeat(5_000)}`, 431],
      ['headers without end', `GET / HTTP/1.1\r\n${'a: b\r\n'.repeat(5_000)}`, 431],
      ['no HTTP', '\0\x01\x02\x03\r\n\r\n', 400],
      [
        'a length that is none',
        `PUT ${LEASE_RESOURCE} HTTP/1.1\r\nhost: h\r\ncontent-length: -1\r\n\r\n`,
        400,
      ],
      ['two lengths', 'PUT / HTTP/1.1\r\nhost: h\r\ncontent-length: 1\r\ncontent-length: 2\r\n\r\n', 400],
      [
        'a body that is too long',
        `PUT ${LEASE_RESOURCE} HTTP/1.1\r\nhost: h\r\ncontent-length: 99999999\r\n\r\n`,
        413,
      ],
      ['a list in a list, without end', put(LEASE_RESOURCE, '['.repeat(50_000)), 400],
      ['the same as a forward', put('/forwards/expose/port', '{"a":'.repeat(3_000)), 400],
      ['a forward by the name of nothing', put('/forwards/expose/port', '\0'), 400],
    ];
    for (const [what, bytes, status] of wrong) {
      const evil = lease();
      evil.duplex.write(bytes);
      t.equal((await evil.answer()).status, status, what);
      await evil.until(() => evil.closed);
    }
    // One that never goes on costs a stream, and nobody waits for it.
    const slow = lease();
    slow.duplex.write(`PUT ${LEASE_RESOURCE} HTTP/1.1\r\nhost: h\r\ncontent-length: 100\r\n\r\n{`);
    t.match(await outcomes(lease()), []);
    t.ok(guest.connected && !slow.closed);
    t.match(await control.status(), { channel: { state: 'connected' } });
  },
);

// ---- the hostile host ------------------------------------------------------------------------------------

t.test(
  'the hostile host breaks the protocol: its channel ends, with a code, and the next one is served',
  async (t) => {
    const { program, channel } = await startGuest(t);
    const silent = await startServer(t, () => {});
    for (const { what, bytes, code } of breaches({ proto: 'tcp', ip: '127.0.0.1', port: silent })) {
      const host = attack(t, channel, bytes);
      await host.until(() => host.closed);
      t.ok(await program.line(new RegExp(`"code":"${code}"`)), what);
    }
    t.ok((await Peer.connect(t, { kind: 'unix', path: channel })).connected);
  },
);

t.test('the hostile host dials what --allow-dial does not allow: nobody hears of it', async (t) => {
  let clients = 0;
  const [allowed, forbidden] = [
    await startServer(t, (socket) => socket.end()),
    await startServer(t, () => void clients++),
  ];
  const { channel } = await startGuest(t, '--allow-dial', `127.0.0.1:${allowed}`);
  const host = await Peer.connect(t, { kind: 'unix', path: channel });
  const forbiddenOnes: Destination[] = [
    { proto: 'tcp', ip: '127.0.0.1', port: forbidden },
    { proto: 'tcp', ip: '::ffff:127.0.0.1', port: forbidden },
    { proto: 'tcp', ip: '0.0.0.0', port: forbidden },
    { proto: 'tcp', ip: '127.0.0.2', port: allowed },
    { proto: 'udp', ip: '127.0.0.1', port: forbidden },
    { proto: 'unix', path: '/var/run/docker.sock' },
    { proto: 'unix', path: 'portferry:control' },
  ];
  for (const destination of forbiddenOnes) {
    const stream = host.open(destination);
    await host.until(() => stream.end !== undefined);
    t.match(
      stream.end,
      { how: 'refused', result: { step: 'policy', reason: { code: 'EACCES' } } },
      JSON.stringify(destination),
    );
  }
  t.equal(clients, 0);
  const good = host.open({ proto: 'tcp', ip: '127.0.0.1', port: allowed });
  await host.until(() => good.halfClosed);
  t.match(good.result, { step: 'connected' });
});

t.test('the hostile host opens by the thousand: a service has its limit', async (t) => {
  const { channel } = await startGuest(t);
  const host = await Peer.connect(t, { kind: 'unix', path: channel });
  const streams = Array.from({ length: 1_000 }, () => host.open({ proto: 'unix', path: INSPECT_SERVICE }));
  await host.until(() => streams.every(({ result, end }) => result ?? end));
  const refused = streams.filter(
    ({ end }) => end?.how === 'refused' && end.result?.reason?.code === 'EAGAIN',
  );
  t.equal(refused.length, 1_000 - 16);
  t.ok(host.connected);
});

t.test('the hostile host sends its handshake a byte at a time: the honest one has the place', async (t) => {
  const { channel } = await startGuest(t);
  await trickle(t, channel);
});

t.test('the hostile host floods and does not read: its channel ends', async (t) => {
  const { program, channel } = await startGuest(t);
  const socket = net.connect(channel).on('error', () => {});
  t.teardown(() => socket.destroy());
  socket.write(handshake());
  const pings = Buffer.concat(Array.from({ length: 2_000 }, () => encodePing(1)));
  const flood = new Flood(socket, () => pings);
  t.ok(await program.line(/PEER_DOES_NOT_READ/));
  flood.stop();
  t.ok((await Peer.connect(t, { kind: 'unix', path: channel })).connected);
});

t.test('the hostile host asks the guest’s services, by a request without end', async (t) => {
  const { channel } = await startGuest(t);
  const host = await Peer.connect(t, { kind: 'unix', path: channel });
  const evil = new RawHttp(host, INSPECT_SERVICE);
  evil.duplex.write(`GET / HTTP/1.1\r\nhost: h\r\nx: ${'y'.repeat(5_000)}`);
  t.equal((await evil.answer()).status, 431);
  await evil.until(() => evil.closed);
});

t.test('the hostile host answers what it was not asked, and without end: its lease ends', async (t) => {
  const { program, channel, socket } = await startPublishingGuest(t);
  const host = await Peer.connect(t, { kind: 'unix', path: channel });
  const forward = port(8080);
  const exposed = askOverUnix(socket, 'PUT', '/forwards/expose/port', JSON.stringify(forward));
  let lease = new RawLease((await host.nextStream()).stream);
  await lease.answer(LEASE_RESOURCE, ok('{"forwards":[]}'));
  await lease.answer('/forwards/expose/port', ok(JSON.stringify(forward)));
  t.match(await exposed, { status: 200 });
  const hostile: [what: string, bytes: string][] = [
    ['no HTTP', '\0\x01\x02\x03\r\n\r\n'],
    ['headers without end', `HTTP/1.1 200 OK\r\n${'a: b\r\n'.repeat(20_000)}`],
    [
      'a body without end',
      `HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\nfffff\r\n${'x'.repeat(200_000)}`,
    ],
    ['a list in a list, without end', ok('['.repeat(50_000))],
    ['many more values than were asked for', ok(`[${'0,'.repeat(20_000)}0]`)],
    ['forwards that are none', ok('[null,{"proto":7}]')],
    ['two answers', ok('[]') + ok('[]')],
  ];
  for (const [what, bytes] of hostile) {
    const listed = askOverUnix(socket, 'GET', '/forwards/list');
    await lease.answer('/forwards/list', bytes);
    t.match(await listed, { status: 200, body: '[]' }, what);
    lease = new RawLease((await host.nextStream()).stream);
    await lease.answer(LEASE_RESOURCE, ok('{"forwards":[{"state":"listening"}]}'));
  }
  t.ok(host.connected, 'the channel goes on');
  const listed = askOverUnix(socket, 'GET', '/forwards/list');
  await lease.answer('/forwards/list', ok(JSON.stringify([forward])));
  t.same(JSON.parse((await listed).body), [forward]);
  t.equal(program.count(/"level":50/), 0);
});

/** A lease of the guest's, which the test answers as the host. */
class RawLease {
  readonly #duplex: StreamDuplex;
  readonly #signal = new Signal();
  #asked = '';

  constructor(stream: Stream) {
    this.#duplex = new StreamDuplex((handler) => {
      stream.accept(handler);
      stream.reportConnected(0);
      return stream;
    });
    this.#duplex.setEncoding('latin1').on('data', (chunk: string) => {
      this.#asked += chunk;
      this.#signal.wake();
    });
    this.#duplex.on('error', () => {});
  }

  /** Sends these bytes when `path` has been asked for. */
  async answer(path: string, bytes: string): Promise<void> {
    await this.#signal.until(() => this.#asked.includes(path));
    this.#asked = '';
    this.#duplex.write(bytes, 'latin1');
  }
}

/** A whole answer of HTTP. */
function ok(body: string): string {
  return `HTTP/1.1 200 OK\r\ncontent-length: ${Buffer.byteLength(body)}\r\n\r\n${body}`;
}

// ---- the hostile program in the VM -----------------------------------------------------------------------

t.test('the hostile program in the VM asks for forwards by what is no request: it hears so', async (t) => {
  const { program, channel, socket } = await startPublishingGuest(t);
  const put = (body: string): [string, string, string] => ['PUT', '/forwards/expose/port', body];
  const tries: [what: string, request: [method: string, path: string, body?: string], status: number][] = [
    ['a list in a list, without end', put('['.repeat(10_000)), 400],
    ['an object in an object', put('{"a":'.repeat(3_000)), 400],
    ['many values', put(`[${'0,'.repeat(1_000)}0]`), 400],
    ['a body that is too long', put('x'.repeat(17_000)), 413],
    ['nothing', put(''), 400],
    ['the pipe as a port', put('{"proto":"unix","out_path":"/tmp/a","in_path":"/x"}'), 400],
    ['what is not there', ['GET', '/../../etc/passwd'], 404],
  ];
  for (const [what, [method, path, body], status] of tries)
    t.match(
      await askOverUnix(socket, method, path, body),
      { status, body: /^{"message":"[^\n]{1,1200}"}$/ },
      what,
    );
  for (const [what, bytes] of [
    ['no HTTP', '\0\x01\x02\x03\r\n\r\n'],
    // Over what is taken of a head, and short enough that one read takes all of it: what is left unread resets.
    ['a head without end', `GET / HTTP/1.1\r\nhost: h\r\nx: ${'y'.repeat(20_000)}`],
  ] as const) {
    const client = net.connect(socket).on('error', () => {});
    client.write(bytes, 'latin1');
    t.match(await text(client), /^HTTP\/1\.1 4\d\d /, what);
  }
  const host = await Peer.connect(t, { kind: 'unix', path: channel });
  t.same(host.opened, [], 'none of it got to the host');
  const exposed = askOverUnix(socket, 'PUT', '/forwards/expose/port', JSON.stringify(port(8080)));
  const lease = new RawLease((await host.nextStream()).stream);
  await lease.answer(LEASE_RESOURCE, ok('{"forwards":[]}'));
  await lease.answer('/forwards/expose/port', ok(JSON.stringify(port(8080))));
  t.match(await exposed, { status: 200 }, 'an honest one is served');
  t.equal(program.count(/"level":50/), 0);
});

/** A request over a unix socket, and its answer. */
async function askOverUnix(
  socketPath: string,
  method: string,
  path: string,
  body = '',
): Promise<{ status: number; body: string }> {
  const headers = { 'content-length': Buffer.byteLength(body) };
  const request = http.request({ socketPath, method, path, headers, agent: false });
  request.end(body);
  const [response] = (await once(request, 'response')) as [http.IncomingMessage];
  return { status: Number(response.statusCode), body: await text(response) };
}

// ---- the other user --------------------------------------------------------------------------------------

const NOBODY = 65_534;

/** Connects as another user; what comes of that. */
async function connectAsNobody(t: Test, path: string): Promise<string> {
  const script = `require('net').connect(${JSON.stringify(path)}).on('error', (e) => console.log(e.code)).on('connect', function () { console.log('connected'); this.destroy(); })`;
  const args = [`--reuid=${NOBODY}`, `--regid=${NOBODY}`, '--clear-groups', process.execPath, '-e', script];
  const program = Program.start(t, 'env', ['-u', 'NODE_OPTIONS', 'setpriv', ...args]);
  await program.exit();
  return program.lines.join('\n');
}

t.test('the other user connects to a socket: it is for its owner alone', async (t) => {
  if (process.getuid?.() !== 0) return t.plan(0, 'only root can become another user');
  if (requireProgram(t, 'setpriv') === undefined) return;
  const folder = temporaryFolder(t);
  const sockets = join(folder, 'made');
  // The folder of the sockets is the host's to make; that above it lets everybody in.
  chmodSync(folder, 0o755);
  const [channel, control, forward] = ['channel', 'control', 'forward'].map((name) => join(sockets, name));
  const host = startPortferry(
    t,
    'host',
    ...['--listen', `unix:${channel}`],
    ...['--control', `${control}`],
    ...['--forward', `unix:${forward}:/x`],
  );
  await host.line(/^unix /);
  t.equal(lstatSync(sockets).mode & 0o777, 0o700);
  for (const path of [channel, control, forward]) t.equal(await connectAsNobody(t, String(path)), 'EACCES');
  // Were the folder open to them, too, the socket itself would not be.
  chmodSync(sockets, 0o755);
  for (const path of [channel, control, forward]) t.equal(await connectAsNobody(t, String(path)), 'EACCES');
});

t.test('the other user leaves something in the way: it is refused, and left alone', async (t) => {
  const folder = temporaryFolder(t);
  const [link, file, secret] = ['link', 'file', 'secret'].map((name) => join(folder, name)) as [
    string,
    string,
    string,
  ];
  writeFileSync(secret, 'secret');
  writeFileSync(file, 'file');
  symlinkSync(secret, link);
  symlinkSync(secret, join(folder, 'dashboard-token'));
  const tries: [what: string, args: string[], why: RegExp][] = [
    ['the channel', ['--listen', `unix:${link}`], /there is a symbolic link, which is left alone/],
    ['the channel', ['--listen', `unix:${file}`], /there is a file, which is left alone/],
    ['the control socket', ['--control', link], /there is a symbolic link, which is left alone/],
    ['a forward', ['--forward', `unix:${link}:/x`], /there is a symbolic link, which is left alone/],
    ['the state file', ['--state', link], /cannot read the state file .*ELOOP/],
    ['the dashboard', ['--dashboard=127.0.0.1:0'], /cannot keep the dashboard's token in .*ELOOP/],
  ];
  for (const [what, args, why] of tries) {
    const rest = ['--listen', `unix:${folder}/channel`, '--control', `${folder}/control`];
    const others = rest.filter((_, index) => !args.includes(rest[index - (index % 2)] as string));
    const host = startPortferry(t, 'host', ...args, ...others);
    t.equal(await host.exit(), 1, what);
    t.ok(host.count(why), host.describe());
  }
  const guestTries: [what: string, args: string[], why: RegExp][] = [
    ['the channel', ['--listen', `unix:${link}`], /there is a symbolic link, which is left alone/],
    ['who asks for forwards', ['--proxy-socket', link], /there is a symbolic link, which is left alone/],
    ['the same', ['--proxy-socket', file], /there is a file, which is left alone/],
    ['the same for vpnkit', ['--control-listen', link], /there is a symbolic link, which is left alone/],
  ];
  for (const [what, args, why] of guestTries) {
    const channel = args.includes('--listen') ? [] : ['--listen', `unix:${folder}/guest`];
    const guest = startPortferryGuest(t, ...channel, ...args);
    t.equal(await guest.exit(), 1, what);
    t.ok(guest.count(why), guest.describe());
  }
  t.throws(() => new LogFile(link), /ELOOP/);
  t.same([readFileSync(secret, 'utf8'), readFileSync(file, 'utf8')], ['secret', 'file']);
  t.ok(lstatSync(link).isSymbolicLink());
});

t.test('the other user owns the runtime folder, or may write to it: it is not used', async (t) => {
  const folder = temporaryFolder(t);
  chmodSync(folder, 0o777);
  const open = Program.start(t, 'env', [
    `PORTFERRY_RUNTIME_DIR=${folder}`,
    ...builtCommand('host/main.js'),
    'host',
  ]);
  t.equal(await open.exit(), 1);
  t.ok(open.count(/every user may replace its files/), open.describe());
  if (process.getuid?.() !== 0) return;
  chmodSync(folder, 0o700);
  chownSync(folder, NOBODY, NOBODY);
  const theirs = Program.start(t, 'env', [
    `PORTFERRY_RUNTIME_DIR=${folder}`,
    ...builtCommand('host/main.js'),
    'host',
  ]);
  t.equal(await theirs.exit(), 1);
  t.ok(theirs.count(/it belongs to user 65534/), theirs.describe());
});

// ---- the hostile page ------------------------------------------------------------------------------------

t.test('the hostile page asks the dashboard, or the control socket: it gets nothing', async (t) => {
  const { pair } = await startHost(t, '--dashboard=127.0.0.1:0', '--log-level', 'trace');
  const [, host = ''] = await pair.host.line(/^dashboard http:\/\/([\d.:]+)\//);
  const tokenPath = join(dirname(pair.control), 'dashboard-token');
  const token = readFileSync(tokenPath, 'utf8');
  t.equal(lstatSync(tokenPath).mode & 0o777, 0o600);
  const [bearer, wrong] = [`Bearer ${token}`, `Bearer ${'a'.repeat(token.length)}`];
  const asks: [
    what: string,
    path: string,
    headers: http.OutgoingHttpHeaders,
    status: number,
    method?: string,
  ][] = [
    ['with the token', '/v1/status', { authorization: bearer }, 200],
    ['without it', '/v1/status', {}, 401],
    ['with a wrong one', '/v1/status', { authorization: wrong }, 401],
    ['with it in the address', `/v1/status?token=${token}`, {}, 401],
    ['by a name that leads here', '/', { host: `evil.example:${host.split(':')[1]}` }, 403],
    ['by another port', '/', { host: '127.0.0.1:1' }, 403],
    ['from another page', '/v1/status', { authorization: bearer, origin: 'http://evil.example' }, 403],
    ['from a file', '/v1/status', { authorization: bearer, origin: 'null' }, 403],
    [
      'as an image',
      '/icon.svg',
      { 'sec-fetch-site': 'cross-site', 'sec-fetch-mode': 'no-cors', 'sec-fetch-dest': 'image' },
      403,
    ],
    ['to change something', '/forwards/expose/port', { authorization: bearer }, 405, 'PUT'],
    ['whether it may', '/v1/status', { origin: 'http://evil.example' }, 405, 'OPTIONS'],
  ];
  for (const [what, path, headers, status, method = 'GET'] of asks) {
    const answer = await askHttp({ host: '127.0.0.1', port: host.split(':')[1], path, headers, method });
    t.equal(answer.statusCode, status, what);
    t.match(answer.headers['content-security-policy'], /^default-src 'none';.*frame-ancestors 'none'/, what);
    t.equal(answer.headers['access-control-allow-origin'], undefined, what);
  }
  const events = `ws://${host}/v1/events`;
  t.equal(await subscribe(t, events, [`token.${token}`], { origin: `http://${host}` }), 101);
  t.equal(await subscribe(t, events, [`token.${token}`], { origin: 'http://evil.example' }), 403);
  t.equal(await subscribe(t, events, [`token.${token}`], { host: 'evil.example' }), 403);
  t.equal(await subscribe(t, events, [`token.${'a'.repeat(token.length)}`], {}), 401);
  t.equal(await subscribe(t, events, [], {}), 401);
  t.equal(await subscribe(t, `ws+unix:${pair.control}:/v1/events`, [], {}), 101);
  t.equal(
    await subscribe(t, `ws+unix:${pair.control}:/v1/events`, [], { origin: 'http://evil.example' }),
    403,
  );
  t.equal(pair.host.count(new RegExp(token)), 0, 'the token gets into no log, and not onto the terminal');
});

async function askHttp(options: http.RequestOptions): Promise<http.IncomingMessage> {
  const request = http.request({ ...options, agent: false });
  request.end();
  const [response] = (await once(request, 'response')) as [http.IncomingMessage];
  response.resume();
  return response;
}

/** @returns 101 where a WebSocket is opened, or the status with which it is refused */
async function subscribe(
  t: Test,
  url: string,
  protocols: string[],
  headers: Record<string, string>,
): Promise<number> {
  const socket = new WebSocket(url, protocols, { headers });
  t.teardown(() => socket.terminate());
  socket.on('error', () => {});
  return Promise.race([
    once(socket, 'open').then(() => 101),
    once(socket, 'unexpected-response').then(([, response]) => response.statusCode),
  ]);
}
