import { EventEmitter } from 'node:events';
import t, { type Test } from 'tap';
import { parseEndpointRule } from '../../../protocol/endpoint-rule.js';
import { Slab } from '../../../protocol/slab.js';
import { DATA_HEADER_BYTES } from '../../../protocol/wire/frame.js';
import { DatagramRecorder } from '../../fixtures/datagram-recorder.js';
import { freePort } from '../../fixtures/free-ports.js';
import { type Guest, startGuest } from '../../fixtures/guest.js';
import { WITHOUT_IPV6 } from '../../fixtures/ipv6.js';
import { DEBUG, INFO, WARN } from '../../fixtures/log-recorder.js';
import { startEcho } from '../../fixtures/udp-echo.js';
import { Signal } from '../../protocol/fixtures/signal.js';

/** A UDP socket whose kernel is the test. */
class FakeSocket extends EventEmitter {
  takes = true;
  closed = false;
  readonly signal = new Signal();
  readonly sent: string[] = [];
  /** What becomes of the next sends; they succeed when there is nothing here. */
  readonly errors: NodeJS.ErrnoException[] = [];
  /** Called when it is to connect. */
  readonly onConnect: (done: (error?: Error) => void) => void;

  constructor(onConnect: FakeSocket['onConnect']) {
    super();
    this.onConnect = onConnect;
  }

  connect(_port: number, _ip: string, done: (error?: Error) => void): void {
    this.onConnect(done);
  }

  send(payload: Buffer, done: (error: Error | null) => void): void {
    const error = this.errors.shift();
    if (!error) this.sent.push(String(payload));
    queueMicrotask(() => done(error ?? null));
    this.signal.wake();
  }

  close(): void {
    this.closed = true;
  }
}

async function startWithSocket(t: Test, socket: FakeSocket): Promise<Guest> {
  const { Agent: Mocked } = await t.mockImport<typeof import('../../../guest/agent.js')>(
    '../../../guest/agent.js',
    {
      '../../../guest/dial/dialler.ts': await t.mockImport('../../../guest/dial/dialler.js', {
        '../../../guest/dial/udp-dial.ts': await t.mockImport('../../../guest/dial/udp-dial.js', {
          '../../../protocol/socket/udp-socket.ts': {
            createUdpSocket: () => socket,
            takesDatagrams: () => socket.takes,
          },
        }),
      }),
    },
  );
  return startGuest(t, {}, Mocked);
}

const local = (port: number, ip = '127.0.0.1') => ({ proto: 'udp', ip, port }) as const;
const source = { client: { ip: '10.0.0.1', port: 4711 }, listener: undefined };
const failure = (code: string): NodeJS.ErrnoException =>
  Object.assign(new Error(`failed: ${code}`), { code });

t.test('datagrams go to the server and answers come back, of every size', async (t) => {
  const { host, log } = await startGuest(t);
  const { port } = await startEcho(t);
  const flow = DatagramRecorder.open(host, local(port), source);
  const sizes = [0, 1, 65_507];
  for (const size of sizes) flow.send(Buffer.alloc(size, 7));
  await host.until(() => flow.received.length === sizes.length);
  t.same(
    flow.received.map(({ length }) => length),
    sizes,
  );
  t.ok(flow.received.every((payload) => payload.every((byte) => byte === 7)));
  t.match(flow.result, { step: 'connected' });
  flow.datagrams.end({ code: 'IDLE', message: 'no datagram for 90 s' });
  t.match(await log.line(/^flow ended/), {
    level: DEBUG,
    client: '10.0.0.1:4711',
    destination: `udp 127.0.0.1:${port}`,
    dropped: 0,
  });
  await host.until(() => host.multiplexer.streams.size === 0);
});

t.test('a server may have an IPv6 address', { skip: WITHOUT_IPV6 }, async (t) => {
  const { host } = await startGuest(t);
  const { port } = await startEcho(t, '::1');
  const flow = DatagramRecorder.open(host, local(port, '::1'));
  flow.send('hello');
  await host.until(() => flow.received.length === 1);
  t.same(flow.texts, ['hello']);
});

t.test('a flow survives that nobody listens, and reaches the server that comes', async (t) => {
  const { host, log } = await startGuest(t);
  const port = await freePort();
  const flow = DatagramRecorder.open(host, local(port));
  // The ICMP answer to the first one is what the kernel says of the second, or of none.
  for (const text of ['a', 'b', 'c']) flow.send(text);
  t.match(await log.line(/the flow goes on/), { level: DEBUG, code: 'ECONNREFUSED' });
  const server = await startEcho(t, '127.0.0.1', port);
  flow.send('hello');
  await host.until(() => flow.texts.includes('hello'));
  t.equal(log.matching(/the flow goes on/).length, 1, 'said once');
  t.equal(flow.end, undefined);
  t.equal(server.received.filter((payload) => String(payload) === 'hello').length, 1);
});

t.test('policy applies to UDP, too', async (t) => {
  const { port } = await startEcho(t);
  const { host } = await startGuest(t, {
    allowDial: [parseEndpointRule(`127.0.0.1:${port}/udp`, '--allow-dial')],
  });
  const allowed = DatagramRecorder.open(host, local(port));
  const refused = DatagramRecorder.open(host, local(port, '127.0.0.2'));
  await host.until(() => allowed.result !== undefined && refused.end !== undefined);
  t.match(refused.end, { how: 'refused', result: { step: 'policy', reason: { code: 'EACCES' } } });
});

t.test('a socket that cannot be had is a refusal with its reason', async (t) => {
  const cases: [FakeSocket['onConnect'], number, string][] = [
    [() => sockets[0]?.emit('error', failure('EMFILE')), 53, 'EMFILE'],
    [(done) => done(failure('ENETUNREACH')), 53, 'ENETUNREACH'],
    [(done) => done(failure('odd')), 53, 'EIO'],
    [() => {}, 0, 'EADDRNOTAVAIL'],
  ];
  const sockets: FakeSocket[] = [];
  for (const [onConnect, port, code] of cases) {
    const socket = new FakeSocket(onConnect);
    sockets.unshift(socket);
    const { host, log } = await startWithSocket(t, socket);
    const flow = DatagramRecorder.open(host, local(port), source);
    await host.until(() => flow.end !== undefined);
    t.match(flow.end, { how: 'refused', result: { step: 'dial', reason: { code } } });
    t.match(await log.line(/^dial failed/), { level: WARN, errno: code, client: '10.0.0.1:4711' });
    t.ok(socket.closed);
  }
});

t.test('what cannot be sent is counted, and said once', async (t) => {
  const socket = new FakeSocket((done) => done());
  const { host, log } = await startWithSocket(t, socket);
  const flow = DatagramRecorder.open(host, local(53));
  socket.errors.push(
    ...['EMSGSIZE', 'EMSGSIZE', 'odd', 'ECONNREFUSED', 'ECONNREFUSED', 'ECONNREFUSED'].map(failure),
  );
  for (const text of ['1', '22', '333', '4444']) flow.send(text);
  t.match(await log.line(/could not be sent: failed: EMSGSIZE/), {
    level: INFO,
    code: 'EMSGSIZE',
    msg: /^a datagram of 1 bytes .*; the flow goes on, and this is said once of it$/,
  });
  t.match(await log.line(/could not be sent: failed: odd/), { code: 'EIO' });
  t.match(await log.line(/nobody listens there/), { level: DEBUG, code: 'ECONNREFUSED' });
  flow.send('55555');
  await socket.signal.until(() => socket.sent.length > 0);
  socket.emit('error', failure('ECONNREFUSED'));
  socket.takes = false;
  flow.send('no room');
  t.match(await log.line(/the kernel takes no more/), { level: INFO, code: 'ENOBUFS' });
  t.equal(log.matching(/EMSGSIZE/).length, 1);
  flow.datagrams.end({ code: 'IDLE', message: 'done' });
  // Two were too large, one failed oddly, one was refused twice, and for the last one there was no room.
  t.match(await log.line(/^flow ended/), { dropped: 5 });
  t.same(socket.sent, ['55555'], 'a refusal that belongs to an earlier datagram costs no later one');
});

t.test('answers that the channel does not take are dropped and counted', async (t) => {
  const socket = new FakeSocket((done) => done());
  const { host, log } = await startWithSocket(t, socket);
  const flow = DatagramRecorder.open(host, local(53));
  flow.datagrams.stream.consumed = () => {};
  await host.until(() => flow.result !== undefined);
  for (let count = 0; count < 10; count++) socket.emit('message', Buffer.alloc(65_507));
  t.match(await log.line(/faster than the channel takes them/), { level: INFO, code: 'ENOBUFS' });
  flow.datagrams.end({ code: 'IDLE', message: 'done' });
  const { dropped } = await log.line(/^flow ended/);
  t.ok(Number(dropped) >= 5, `${dropped}`);
});

t.test('a send that fails after the end is of no interest', async (t) => {
  const socket = new FakeSocket((done) => done());
  const { host, log } = await startWithSocket(t, socket);
  const flow = DatagramRecorder.open(host, local(53));
  const unsent = (): void => {};
  let fail: (error: Error) => void = unsent;
  socket.send = (_payload, done) => {
    fail = done;
    socket.signal.wake();
  };
  flow.send('late');
  await socket.signal.until(() => fail !== unsent);
  flow.datagrams.end({ code: 'IDLE', message: 'done' });
  await log.line(/^flow ended/);
  fail(failure('ECONNREFUSED'));
  t.ok(socket.closed);
  t.same(socket.sent, []);
});

t.test('bytes that are no datagrams reset the flow, and nothing else', async (t) => {
  const { host, log } = await startGuest(t);
  const { port } = await startEcho(t);
  const stream = host.open(local(port));
  const slab = new Slab(4, false);
  slab.room.fill(0);
  stream.stream.write(slab, DATA_HEADER_BYTES, DATA_HEADER_BYTES + 4, false);
  await host.until(() => stream.end !== undefined);
  t.match(stream.end, { how: 'reset', reason: { code: 'BAD_DATAGRAM' } });
  t.match(await log.line(/^flow reset/), { level: WARN, code: 'BAD_DATAGRAM' });
  const other = DatagramRecorder.open(host, local(port));
  other.send('still there?');
  await host.until(() => other.received.length === 1);
});

t.test('flows end when the guest is told to stop, connected or not', async (t) => {
  const { agent, host } = await startGuest(t);
  const { port } = await startEcho(t);
  const flow = DatagramRecorder.open(host, local(port));
  await host.until(() => flow.result !== undefined);
  await agent.stop();
  await host.until(() => flow.end !== undefined);
  t.match(flow.end, { how: 'reset', reason: { code: 'STOPPED' } });

  const undialled = (): void => {};
  let connected: (error?: Error) => void = undialled;
  const socket = new FakeSocket((done) => {
    connected = done;
    socket.signal.wake();
  });
  const dialling = await startWithSocket(t, socket);
  const early = DatagramRecorder.open(dialling.host, local(53));
  await socket.signal.until(() => connected !== undialled);
  await dialling.agent.stop();
  await dialling.host.until(() => early.end !== undefined);
  connected();
  connected(failure('EINVAL'));
  t.ok(socket.closed);
  t.equal(early.result, undefined);
});
