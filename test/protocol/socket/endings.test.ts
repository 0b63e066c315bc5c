import { once } from 'node:events';
import net from 'node:net';
import { join } from 'node:path';
import t, { type Test } from 'tap';
import { connectSocket } from '../../../protocol/socket/connect-socket.js';
import { type Handles, handles } from '../../../protocol/socket/handles.js';
import type { RawSocket } from '../../../protocol/socket/raw-socket.js';
import { startPlainServer, startRawServer, temporaryFolder } from '../transport/fixtures/pairs.js';
import { Recorder } from '../transport/fixtures/recorder.js';

/** More than the kernel holds of a connection. */
const MUCH = 8 * 1024 * 1024;

/** The kernel takes as much at once, but a TCP peer that does not read gets less than half of it. */
const SOME = 150 * 1024;

/** How often what arrives together is tried. */
const TIMES = 20;

const RESET = { code: 'ECONNRESET' };

/** Only Linux tells a unix socket that its peer was closed with bytes that it had not read. */
const LINUX_ONLY = process.platform === 'linux' ? false : 'Linux only';

interface Way {
  internals: Handles | null;
  role: 'accepted' | 'dialled';
  family: 'tcp' | 'unix';
}

/** A socket of ours, its events, and its peer. */
interface Connection {
  socket: RawSocket;
  recorder: Recorder;
  peer: net.Socket;
}

for (const internals of [handles, null])
  for (const role of ['accepted', 'dialled'] as const)
    for (const family of ['tcp', 'unix'] as const)
      t.test(`${internals ? 'handles' : 'node:net'}, ${role}, ${family}`, (t) => {
        testEndings(t, { internals, role, family });
        if (family === 'unix') testUnix(t, { internals, role, family });
        else {
          testResets(t, { internals, role, family });
          testOurResets(t, { internals, role, family });
        }
        t.end();
      });

/** Ends in good order, which every socket knows. */
function testEndings(t: Test, way: Way): void {
  t.test('an end', async (t) => {
    const { socket, recorder, peer } = await connect(t, way);
    socket.resume();
    peer.end();
    await recorder.until(() => recorder.ended);
    t.equal(recorder.closed, false, 'the other direction goes on');
    const all = read(peer);
    t.equal(socket.send(Buffer.from('answer')), true);
    socket.end();
    t.equal(await all, 'answer');
    await recorder.until(() => recorder.closed);
    t.same(recorder.closes, [undefined]);
  });

  t.test('bytes with an end right behind', async (t) => {
    for (let count = 0; count < TIMES; count++) {
      const { socket, recorder, peer } = await connect(t, way);
      if (count % 2 === 0) socket.resume();
      peer.end('all there is');
      await once(peer, 'finish');
      socket.resume();
      await recorder.until(() => recorder.ended);
      t.equal(recorder.text, 'all there is');
      socket.end();
      await recorder.until(() => recorder.closed);
      t.same(recorder.closes, [undefined]);
    }
  });

  t.test('our end first: the peer goes on', async (t) => {
    const { socket, recorder, peer } = await connect(t, way);
    socket.resume();
    const all = read(peer);
    socket.send(Buffer.from('question'));
    socket.end();
    t.equal(await all, 'question');
    t.equal(recorder.closed, false);
    peer.end('answer');
    await recorder.until(() => recorder.closed);
    t.equal(recorder.text, 'answer');
    t.same([recorder.ended, recorder.closes], [true, [undefined]]);
  });

  t.test('both ends at the same time', async (t) => {
    const { socket, recorder, peer } = await connect(t, way);
    socket.resume();
    const all = read(peer);
    peer.end('question');
    socket.send(Buffer.from('answer'));
    socket.end();
    t.equal(await all, 'answer');
    await recorder.until(() => recorder.closed);
    t.equal(recorder.text, 'question');
    t.same([recorder.ended, recorder.closes], [true, [undefined]]);
  });

  t.test('an end while reading pauses waits for its turn', async (t) => {
    const { socket, recorder, peer } = await connect(t, way);
    peer.end('late');
    await once(peer, 'finish');
    t.same([recorder.text, recorder.ended], ['', false]);
    socket.resume();
    await recorder.until(() => recorder.ended);
    t.equal(recorder.text, 'late');
  });

  t.test('an end behind bytes that had to wait', async (t) => {
    const { socket, recorder, peer } = await connect(t, way);
    let reads = 0;
    recorder.wants = () => {
      if (++reads % 7 !== 0) return true;
      setImmediate(() => socket.resume());
      return false;
    };
    const sent = pattern(MUCH);
    peer.end(sent);
    socket.resume();
    await recorder.until(() => recorder.ended);
    t.ok(recorder.bytes.equals(sent));
  });

  t.test('our end behind bytes that have to wait', async (t) => {
    const { socket, recorder, peer } = await connect(t, way);
    const sent = pattern(MUCH);
    t.equal(socket.send(sent), false);
    socket.end();
    const all = readBytes(peer);
    t.ok((await all).equals(sent));
    t.equal(socket.unsent, 0);
    socket.resume();
    peer.end();
    await recorder.until(() => recorder.closed);
    t.same([recorder.ended, recorder.closes], [true, [undefined]]);
  });

  for (const peerHasEnded of [true, false]) {
    const name = peerHasEnded ? 'whose peer has ended' : "that does not wait for its peer's end";
    t.test(`a close ${name} loses nothing that the peer has not read yet`, async (t) => {
      const { socket, recorder, peer } = await connect(t, way);
      socket.resume();
      if (peerHasEnded) {
        peer.end();
        await recorder.until(() => recorder.ended);
      }
      const sent = pattern(SOME);
      t.equal(socket.send(sent), true, 'the kernel has all of it');
      if (peerHasEnded) socket.end();
      else socket.closeWhenSent();
      await recorder.until(() => recorder.closed);
      t.same(recorder.closes, [undefined]);
      t.ok((await readBytes(peer)).equals(sent));
    });
  }

  t.test('closeWhenSent: what waits goes first', async (t) => {
    const { socket, recorder, peer } = await connect(t, way);
    const sent = pattern(MUCH);
    socket.send(sent);
    socket.closeWhenSent();
    t.equal(socket.destroyed, false);
    t.ok((await readBytes(peer)).equals(sent));
    await recorder.until(() => recorder.closed);
    t.same(recorder.closes, [undefined]);
  });
}

/** What only TCP knows. */
function testResets(t: Test, way: Way): void {
  for (const halfClosed of [false, true]) {
    const name = halfClosed ? 'after our end' : 'with both directions open';

    t.test(`a reset, ${name}`, async (t) => {
      const { socket, recorder, peer } = await connect(t, way);
      socket.resume();
      if (halfClosed) await sendEnd(socket, peer);
      peer.resetAndDestroy();
      await recorder.until(() => recorder.closed);
      t.match(recorder.closes, [RESET]);
      t.equal(recorder.ended, false);
    });

    for (const reads of [true, false])
      t.test(`bytes with a reset right behind, ${name}, ${reads ? 'reading' : 'paused'}`, async (t) => {
        for (let count = 0; count < TIMES; count++) {
          const { socket, recorder, peer } = await connect(t, way);
          if (halfClosed) await sendEnd(socket, peer);
          if (reads) socket.resume();
          peer.write('half of it');
          peer.resetAndDestroy();
          await once(peer, 'close');
          socket.resume();
          await recorder.until(() => recorder.closed);
          t.match(recorder.closes, [RESET]);
          t.equal(recorder.ended, false, 'it is not complete');
          t.equal(recorder.text, 'half of it');
        }
      });
  }

  t.test('a reset while bytes wait to be sent', async (t) => {
    const { socket, recorder, peer } = await connect(t, way);
    socket.resume();
    socket.send(pattern(MUCH));
    socket.end();
    peer.resetAndDestroy();
    await recorder.until(() => recorder.closed);
    t.match(recorder.closes, [{ code: /^(ECONNRESET|EPIPE)$/ }]);
    t.equal(recorder.ended, false);
  });

  for (const [name, action] of Object.entries({
    reset: (socket: RawSocket) => socket.reset(),
    destroy: (socket: RawSocket) => socket.destroy(new Error('of no use any more')),
  }))
    for (const state of ['open', 'the peer has ended', 'we have ended'] as const)
      t.test(`${name} resets the peer: ${state}`, async (t) => {
        const { socket, recorder, peer } = await connect(t, way);
        socket.resume();
        if (state === 'the peer has ended') {
          peer.end();
          await recorder.until(() => recorder.ended);
        } else if (state === 'we have ended') await sendEnd(socket, peer);
        const failed = failure(peer);
        action(socket);
        // After an end node:net may not read any more: writing tells as well.
        if (state === 'we have ended') peer.write('too late');
        peer.resume();
        t.match(await failed, /^(ECONNRESET|EPIPE)$/);
        await recorder.until(() => recorder.closed);
        t.match(recorder.closes, [name === 'reset' ? undefined : { message: 'of no use any more' }]);
      });
}

/** With sockets of ours at both ends: node:net itself takes a reset right behind bytes for an end. */
function testOurResets(t: Test, way: Way): void {
  for (const ends of [false, true])
    t.test(`a reset overtakes bytes that wait${ends ? ', and our end behind them' : ''}`, async (t) => {
      const { socket, recorder, peer, peerRecorder } = await connectOurs(t, way);
      t.equal(socket.send(pattern(MUCH)), false);
      if (ends) socket.end();
      socket.reset();
      peer.resume();
      await peerRecorder.until(() => peerRecorder.closed);
      t.match(peerRecorder.closes, [RESET]);
      t.equal(peerRecorder.ended, false, 'it is not complete');
      await recorder.until(() => recorder.closed);
      t.same(recorder.closes, [undefined]);
    });
}

/** A unix socket knows no reset. */
function testUnix(t: Test, way: Way): void {
  t.test('a peer that is closed with bytes unread', { skip: LINUX_ONLY }, async (t) => {
    for (let count = 0; count < TIMES; count++) {
      const { socket, recorder, peer } = await connect(t, way);
      if (count % 2 === 0) socket.resume();
      t.equal(socket.send(Buffer.from('not read')), true);
      await new Promise<void>((resolve) => peer.write('half of it', () => resolve()));
      peer.destroy();
      socket.resume();
      await recorder.until(() => recorder.closed);
      t.match(recorder.closes, [RESET]);
      t.equal(recorder.ended, false, 'it is not complete');
      t.equal(recorder.text, 'half of it');
    }
  });

  t.test('reset: the peer sees an end', async (t) => {
    const { socket, recorder, peer } = await connect(t, way);
    socket.resume();
    const all = read(peer);
    socket.send(Buffer.from('half of it'));
    socket.reset();
    t.equal(await all, 'half of it');
    await recorder.until(() => recorder.closed);
    t.same(recorder.closes, [undefined]);
  });

  t.test(
    'reset: the peer sees an error if it has sent what was not read',
    { skip: LINUX_ONLY },
    async (t) => {
      const { socket, peer } = await connect(t, way);
      await new Promise<void>((resolve) => peer.write('not read', () => resolve()));
      const failed = failure(peer);
      socket.reset();
      peer.resume();
      t.equal(await failed, 'ECONNRESET');
    },
  );
}

/** Connects; our socket does not read yet. */
async function connect(t: Test, { internals, role, family }: Way): Promise<Connection> {
  const path = family === 'unix' ? join(temporaryFolder(t), 's') : undefined;
  const recorder = new Recorder();
  const connection = role === 'accepted' ? await accept(internals, path) : await dial(internals, path);
  connection.socket.setHandler(recorder);
  connection.peer.on('error', () => {});
  t.teardown(() => {
    connection.peer.destroy();
    connection.socket.reset();
  });
  return { ...connection, recorder };
}

async function accept(internals: Handles | null, path?: string) {
  const { server, address, accepted } = await startRawServer(path, internals !== null);
  const peer = net.connect({ ...address, allowHalfOpen: true } as net.NetConnectOpts);
  const [socket] = await Promise.all([accepted(), once(peer, 'connect')]);
  server.close();
  return { socket, peer };
}

async function dial(internals: Handles | null, path?: string) {
  const { server, port, accepted } = await startPlainServer(path);
  const address = path === undefined ? { host: '127.0.0.1', port } : { path };
  const connected = new Promise<RawSocket>((resolve) => {
    const socket = connectSocket(address, new Recorder(), () => resolve(socket), internals);
    socket.pause();
  });
  const [socket, peer] = await Promise.all([connected, accepted()]);
  server.close();
  return { socket, peer };
}

async function connectOurs(t: Test, { internals, role }: Way) {
  const { server, address, accepted } = await startRawServer(
    undefined,
    role === 'accepted' ? internals !== null : true,
  );
  const recorders = { accepted: new Recorder(), dialled: new Recorder() };
  const dialled = new Promise<RawSocket>((resolve) => {
    const socket = connectSocket(
      address,
      recorders.dialled,
      () => resolve(socket),
      role === 'dialled' ? internals : handles,
    );
    socket.pause();
  });
  const sockets = { accepted: await accepted(), dialled: await dialled };
  sockets.accepted.setHandler(recorders.accepted);
  server.close();
  t.teardown(() => {
    sockets.accepted.reset();
    sockets.dialled.reset();
  });
  const other = role === 'accepted' ? 'dialled' : 'accepted';
  return {
    socket: sockets[role],
    recorder: recorders[role],
    peer: sockets[other],
    peerRecorder: recorders[other],
  };
}

/** Half-closes, and waits until the peer has seen it. */
async function sendEnd(socket: RawSocket, peer: net.Socket): Promise<void> {
  socket.end();
  peer.resume();
  await once(peer, 'end');
}

/** Resolves with the errno that the peer meets, or with 'end'. */
function failure(peer: net.Socket): Promise<string | undefined> {
  return new Promise((resolve) => {
    peer.on('error', (error: NodeJS.ErrnoException) => resolve(error.code));
    peer.on('end', () => resolve('end'));
  });
}

async function read(peer: net.Socket): Promise<string> {
  return (await readBytes(peer)).toString();
}

/** Everything up to the other end's FIN. */
async function readBytes(peer: net.Socket): Promise<Buffer> {
  const chunks: Buffer[] = [];
  peer.on('data', (chunk) => chunks.push(chunk));
  await once(peer, 'end');
  return Buffer.concat(chunks);
}

function pattern(length: number): Buffer {
  return Buffer.alloc(length, Buffer.from(Uint8Array.from({ length: 251 }, (_, at) => at)));
}
