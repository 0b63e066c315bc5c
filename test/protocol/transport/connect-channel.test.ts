import { once } from 'node:events';
import { mkdirSync, writeFileSync } from 'node:fs';
import type net from 'node:net';
import { join } from 'node:path';
import t from 'tap';
import type { RawSocket } from '../../../protocol/socket/raw-socket.js';
import type { ChannelAddress } from '../../../protocol/transport/channel-address.js';
import { connectChannel } from '../../../protocol/transport/connect-channel.js';
import { freePort } from '../../fixtures/free-ports.js';
import { startPlainServer, temporaryFolder } from './fixtures/pairs.js';
import { Recorder } from './fixtures/recorder.js';

t.test('unix: connected and paused, and what comes meanwhile is not lost', async (t) => {
  const path = join(temporaryFolder(t), 's');
  const { server, accepted } = await startPlainServer(path);
  t.teardown(() => server.close());
  const socket = await connect(t, { kind: 'unix', path });
  const peer = await accepted();
  await new Promise<void>((resolve) => peer.end('early', () => resolve()));
  t.equal(socket.destroyed, false);
  const recorder = attend(socket);
  await recorder.until(() => recorder.ended);
  t.equal(recorder.text, 'early');
});

t.test('tcp: connected both ways', async (t) => {
  const { server, port, accepted } = await startPlainServer();
  t.teardown(() => server.close());
  const socket = await connect(t, { kind: 'tcp', host: '127.0.0.1', port });
  const peer = await accepted();
  socket.send(Buffer.from('ping'));
  peer.pipe(peer);
  const recorder = attend(socket);
  await recorder.until(() => recorder.text === 'ping');
});

t.test('a reset before the owner has come is told to the owner', async (t) => {
  const { server, port, accepted } = await startPlainServer();
  t.teardown(() => server.close());
  const socket = await connect(t, { kind: 'tcp', host: '127.0.0.1', port });
  const peer = await accepted();
  peer.resetAndDestroy();
  await once(peer, 'close');
  const recorder = attend(socket);
  await recorder.until(() => recorder.closed);
  t.match(recorder.closes, [{ code: 'ECONNRESET' }]);
});

t.test('a failure says the address, the errno and what to try', async (t) => {
  const folder = temporaryFolder(t);
  await t.rejects(connect(t, { kind: 'unix', path: join(folder, 's') }), {
    name: 'OperationError',
    message: `cannot connect to unix:${folder}/s: ENOENT (there is no such socket; start the end that listens`,
    cause: { code: 'ENOENT' },
  });
  const port = await freePort();
  await t.rejects(connect(t, { kind: 'tcp', host: '127.0.0.1', port }), {
    name: 'OperationError',
    message: `cannot connect to tcp:127.0.0.1:${port}: ECONNREFUSED (nothing listens there; `,
  });
  await t.rejects(connect(t, { kind: 'unix', path: `/${'x'.repeat(200)}` }), {
    name: 'OperationError',
    message: /is 201 bytes long/,
  });
});

t.test('gives up when it is cancelled', async (t) => {
  const { server, port, accepted } = await startPlainServer();
  t.teardown(() => server.close());
  const address: ChannelAddress = { kind: 'tcp', host: '127.0.0.1', port };
  const cancelled = {
    name: 'OperationError',
    message: `cannot connect to tcp:127.0.0.1:${port}: it was cancelled`,
  };
  await t.rejects(connectChannel(address, { signal: AbortSignal.abort() }), cancelled);

  const controller = new AbortController();
  const attempt = connectChannel(address, { signal: controller.signal });
  controller.abort();
  await t.rejects(attempt, cancelled);

  const later = new AbortController();
  const socket = await connect(t, address, { signal: later.signal });
  later.abort();
  t.equal(socket.destroyed, false, 'a signal means nothing once connected');
  await accepted();
});

t.test('gives up when the connection does not stand in time', async (t) => {
  const { server, port } = await startPlainServer();
  t.teardown(() => server.close());
  // After setImmediate come the timers, before the event loop learns of the connection.
  await new Promise(setImmediate);
  const attempt = connectChannel({ kind: 'tcp', host: '127.0.0.1', port }, { timeoutMs: 1 });
  Atomics.wait(new Int32Array(new SharedArrayBuffer(4)), 0, 0, 10);
  await t.rejects(attempt, {
    name: 'OperationError',
    message: `cannot connect to tcp:127.0.0.1:${port}: nothing answers within 1 ms; check the address`,
  });
});

t.test('hyperkit: by the shared socket, with a line that names the port', async (t) => {
  const dir = temporaryFolder(t);
  const { server, accepted } = await startPlainServer(join(dir, 'connect'));
  t.teardown(() => server.close());
  const socket = await connect(t, { kind: 'hyperkit', dir, port: 0xf3a4 });
  socket.send(Buffer.from('bytes'));
  const peer = await accepted();
  t.equal(await readText(peer, 23), '00000003.0000f3a4\nbytes');
  peer.write('answer');
  const recorder = attend(socket);
  await recorder.until(() => recorder.text === 'answer');
});

t.test("hyperkit: by the port's own socket where there is one, without a line", async (t) => {
  const dir = temporaryFolder(t);
  const { server, accepted } = await startPlainServer(join(dir, '00000003.00001002'));
  t.teardown(() => server.close());
  const socket = await connect(t, { kind: 'hyperkit', dir, port: 0x1002 });
  socket.send(Buffer.from('bytes'));
  t.equal(await readText(await accepted(), 5), 'bytes');
});

t.test('hyperkit: by the shared socket when what has the name is no socket', async (t) => {
  const dir = temporaryFolder(t);
  writeFileSync(join(dir, '00000003.00001002'), '');
  await t.rejects(connect(t, { kind: 'hyperkit', dir, port: 0x1002 }), {
    message: `cannot connect to hyperkit:${dir}:4098: ENOENT`,
  });
  mkdirSync(join(dir, 'connect'));
  await t.rejects(connect(t, { kind: 'hyperkit', dir, port: 0x1002 }), { name: 'OperationError' });
});

for (const chunks of [
  ['OK 1073741824\nguest bytes'],
  ['O', 'K', ' ', '5', '\n', 'guest bytes'],
  ['OK 9\n'],
]) {
  t.test(`firecracker: takes the answer ${JSON.stringify(chunks)}`, async (t) => {
    const { address, accepted } = await startDevice(t);
    const attempt = connect(t, address);
    const peer = await accepted();
    t.equal(await readText(peer, 13), 'CONNECT 1024\n');
    for (const chunk of chunks) await writeAlone(peer, chunk);
    const socket = await attempt;
    if (chunks.length === 1 && chunks[0] === 'OK 9\n') await writeAlone(peer, 'guest bytes');
    const recorder = attend(socket);
    await recorder.until(() => recorder.text === 'guest bytes');
    socket.send(Buffer.from('host bytes'));
    t.equal(await readText(peer, 10), 'host bytes');
  });
}

const WRONG_ANSWERS: [answer: string, shown: string][] = [
  ['HTTP/1.1 400 Bad Request\r\n', '"HTTP/1.1 400 Bad Request\\r\\n"'],
  ['OK\n', '"OK\\n"'],
  ['\n', '"\\n"'],
  [`OK ${'1'.repeat(40)}\n`, `"OK ${'1'.repeat(40)}\\n"`],
  ['https://github.com/moby/vpnkit multiplexer protocol\n', '"https://github.com/moby/vpnkit multiplexer pr'],
  ['\0\xff\x1b'.repeat(60), '"\\u0000\xff\\u001b'],
];

for (const [answer, shown] of WRONG_ANSWERS) {
  t.test(`firecracker: refuses the answer ${JSON.stringify(answer)}`, async (t) => {
    const { address, accepted } = await startDevice(t);
    const attempt = connect(t, address);
    const peer = await accepted();
    peer.write(Buffer.from(answer, 'latin1'));
    const error = await attempt.then(
      () => new Error('connected'),
      (thrown: Error) => thrown,
    );
    t.equal(error.name, 'OperationError');
    t.ok(error.message.includes(`the answer to CONNECT was ${shown}`), error.message);
    t.ok(error.message.includes(`instead of "OK <port>\\n"; is that the VM's vsock socket?`), error.message);
    await peerCloses(peer);
  });
}

t.test('firecracker: says when nothing in the guest listens', async (t) => {
  const { address, accepted } = await startDevice(t);
  const attempt = connect(t, address);
  const peer = await accepted();
  peer.end();
  await t.rejects(attempt, {
    name: 'OperationError',
    message: /it closed without accepting \(no answer to CONNECT\); does the guest listen on that port\?/,
  });
  await peerCloses(peer);
});

t.test('firecracker: gives up a device that does not answer in time', async (t) => {
  const { address, accepted } = await startDevice(t);
  const attempt = connect(t, address, { timeoutMs: 50 });
  const peer = await accepted();
  await t.rejects(attempt, {
    name: 'OperationError',
    message: /: no answer to CONNECT within 50 ms; check the address/,
  });
  await peerCloses(peer);
});

async function connect(
  t: Tap,
  address: ChannelAddress,
  options?: Parameters<typeof connectChannel>[1],
): Promise<RawSocket> {
  const socket = await connectChannel(address, options);
  t.teardown(() => socket.reset());
  return socket;
}

function attend(socket: RawSocket): Recorder {
  const recorder = new Recorder();
  socket.setHandler(recorder);
  socket.resume();
  return recorder;
}

async function startDevice(t: Tap) {
  const path = join(temporaryFolder(t), 'v.sock');
  const { server, accepted } = await startPlainServer(path);
  t.teardown(() => server.close());
  const address: ChannelAddress = { kind: 'firecracker', path, port: 1024 };
  return { address, accepted };
}

/** The first `length` bytes that arrive, or fewer if the other end ends before. */
async function readText(peer: net.Socket, length: number): Promise<string> {
  let text = '';
  while (text.length < length) {
    const chunk = peer.read() as Buffer | null;
    if (chunk) text += chunk.toString('latin1');
    else await once(peer, 'readable');
  }
  return text;
}

/** Writes, and lets the other end's event loop read it before the next write. */
async function writeAlone(peer: net.Socket, text: string): Promise<void> {
  await new Promise<void>((resolve) => peer.write(text, () => resolve()));
  await new Promise(setImmediate);
  await new Promise(setImmediate);
}

async function peerCloses(peer: net.Socket): Promise<void> {
  peer.resume().end();
  if (!peer.closed) await once(peer, 'close');
}

type Tap = Pick<typeof t, 'teardown'>;
