import type net from 'node:net';
import t from 'tap';
import type { Slab } from '../../protocol/slab.js';
import { type RawSocket, unattended } from '../../protocol/socket/raw-socket.js';
import { Splice } from '../../protocol/splice.js';
import { encodeReset } from '../../protocol/wire/extension.js';
import { Command, putDataHeader, putHeader, putWindow } from '../../protocol/wire/frame.js';
import { encodeHandshake } from '../../protocol/wire/handshake.js';
import { memoryClient, memoryPair } from './fixtures/memory-socket.js';
import { checksumOf, Observer, pattern } from './fixtures/observer.js';
import { Signal, turnsUntil } from './fixtures/signal.js';
import { Tunnel, TunnelEnd } from './fixtures/tunnel.js';

const GAVE_UP = { code: 'EGAVEUP', message: 'given up by the test' };

/** What the first stream of an end that did not dial is called. */
const ID = 0;

for (const unixApps of [false, true])
  t.test(
    `a refused dial, ${unixApps ? 'unix' : 'TCP'}: both ends know why, and how long it took`,
    async (t) => {
      const tunnel = await Tunnel.open(t, { link: 'unix', unixApps, serve: () => t.fail('a connection') });
      tunnel.destination = { proto: 'unix', path: '/absent/portferry/socket' };
      const client = new Observer(tunnel.connect());
      // A unix socket knows no RST: its client cannot tell a refusal from an end.
      t.equal(await client.outcome(), unixApps ? 'end' : 'ECONNRESET');
      client.socket.end();
      await tunnel.close();
      t.match(tunnel.guest.finished, [{ how: 'dial-failed', reason: { code: 'ENOENT' } }]);
      const [end] = tunnel.host.finished;
      t.match(end, { how: 'refused', result: { step: 'dial', reason: { code: 'ENOENT' } } });
      t.ok(end?.how === 'refused' && end.result && end.result.micros > 0);
    },
  );

t.test('a dial that takes too long is refused', async (t) => {
  const onDial = (splice: Splice): void => splice.dialTimedOut();
  const tunnel = await Tunnel.open(t, { link: 'memory', onDial, serve: (socket) => socket.destroy() });
  const client = new Observer(tunnel.connect());
  t.equal(await client.outcome(), 'ECONNRESET');
  await tunnel.close();
  t.match(tunnel.guest.finished, [{ how: 'dial-failed', reason: { code: 'ETIMEDOUT' } }]);
  t.match(tunnel.host.finished, [{ how: 'refused', result: { reason: { code: 'ETIMEDOUT' } } }]);
});

t.test('a dial that is given up ends at both ends', async (t) => {
  const onDial = (splice: Splice): void => splice.abort(GAVE_UP);
  const tunnel = await Tunnel.open(t, { link: 'memory', onDial, serve: (socket) => socket.destroy() });
  const client = new Observer(tunnel.connect());
  t.equal(await client.outcome(), 'ECONNRESET');
  await tunnel.close();
  t.same(tunnel.guest.finished, [{ how: 'aborted', reason: GAVE_UP }]);
  t.same(tunnel.host.finished, [{ how: 'reset', reason: GAVE_UP }]);
});

t.test('an abort resets both sides, and the other end hears the reason', async (t) => {
  const servers: Observer[] = [];
  const tunnel = await Tunnel.open(t, {
    link: 'unix',
    serve: (socket) => {
      servers.push(new Observer(socket));
      socket.write('x');
    },
  });
  const client = new Observer(tunnel.connect());
  await client.until(() => client.bytes === 1);
  const splice = tunnel.host.splices[0];
  t.same([tunnel.host.firstBytes, tunnel.guest.firstBytes], [1, 0]);
  splice?.abort(GAVE_UP);
  t.equal(await client.outcome(), 'ECONNRESET');
  t.equal(await servers[0]?.outcome(), 'ECONNRESET');
  await tunnel.close();
  t.same(tunnel.host.finished, [{ how: 'aborted', reason: GAVE_UP }]);
  t.same(tunnel.guest.finished, [{ how: 'reset', reason: GAVE_UP }]);
});

t.test('when both directions are done, the end is what the peer says of it', async (t) => {
  await t.test('its Close: all is well', async (t) => {
    const { end, peer } = await bothEnded();
    t.same(end.finished, [], 'the peer has not said so yet');
    peer.send(bare(Command.close));
    await end.until(() => end.idle);
    t.same(end.finished, [{ how: 'closed' }]);
    await finish(t, end);
  });
  await t.test('its Reset: not all has arrived', async (t) => {
    const { end, peer } = await bothEnded();
    peer.send(encodeReset(ID, GAVE_UP));
    await end.until(() => end.idle);
    t.same(end.finished, [{ how: 'reset', reason: GAVE_UP }]);
    await finish(t, end);
  });
  await t.test('an abort does not wait for it', async (t) => {
    const { end, splice } = await bothEnded();
    splice.abort(GAVE_UP);
    t.same(end.finished, [{ how: 'aborted', reason: GAVE_UP }]);
    await finish(t, end);
    t.equal(end.finished.length, 1, 'and the end is told once');
  });
});

t.test('a socket that closes before its end breaks the stream', async (t) => {
  const { end, socket, peer } = await spliced();
  socket.destroy();
  await end.until(() => end.finished.length === 1);
  t.match(end.finished, [{ how: 'socket-failed', reason: { code: 'ECONNABORTED' } }]);
  peer.send(bare(Command.close));
  await end.until(() => end.idle);
  await finish(t, end);
});

t.test('a client that fails after the stream has ended did not get everything', async (t) => {
  const { end, socket, peer } = await spliced();
  peer.send(Buffer.concat([data(pattern(100)), bare(Command.shutdown), bare(Command.close)]));
  await end.until(() => end.channel.multiplexer.streams.size === 0);
  t.equal(socket.unsent, 100, 'the client has read nothing');
  t.same(end.finished, []);
  socket.destroy(Object.assign(new Error('gone'), { code: 'ECONNRESET' }));
  await end.until(() => end.finished.length === 1);
  t.same(end.finished, [{ how: 'socket-failed', reason: { code: 'ECONNRESET', message: 'gone' } }]);
  await finish(t, end);
});

t.test('a slow reader keeps the memory of what came first, and copies of what is small', async (t) => {
  const { end, client, splice, socket, peer } = await spliced();
  const sent = [pattern(20_000), pattern(400), pattern(20_000), pattern(3)];
  for (const [index, payload] of sent.entries()) {
    peer.send(data(payload));
    await turnsUntil(() => splice.stream.bytesReceived === sum(sent.slice(0, index + 1)));
  }
  t.equal(socket.unsent, sum(sent));
  t.equal(end.pool.out, 3, 'two are kept, and the channel reads into a third');
  await readAll(t, client, peer, sent);
  await end.until(() => end.idle);
  t.same(end.finished, [{ how: 'closed' }]);
  await finish(t, end);
});

t.test('what was sent on the socket before gives the peer no credit', async (t) => {
  const { end, client, splice, socket, peer } = await spliced();
  const before = splice.stream.describe();
  // As a proxy answers its client before the stream is there.
  const answers = [pattern(100_000), pattern(100_000)];
  for (const answer of answers) socket.send(answer);
  t.equal(socket.unsent, 200_000);
  client.read(0);
  await turnsUntil(() => socket.unsent === 100_000);
  t.equal(splice.stream.describe(), before, 'one has gone');
  const observer = new Observer(client);
  client.resume();
  await observer.until(() => observer.bytes === 200_000);
  t.equal(splice.stream.describe(), before, 'all has gone');
  peer.send(Buffer.concat([bare(Command.shutdown), bare(Command.close)]));
  t.equal(await observer.checksum(), checksumOf(Buffer.concat(answers)));
  await end.until(() => end.idle);
  t.same(end.finished, [{ how: 'closed' }]);
  await finish(t, end);
});

t.test('when slabs are scarce, a slow reader keeps at most one', async (t) => {
  const { end, client, splice, peer } = await spliced();
  const scarce = takeAll(end);
  const before = end.pool.out;
  const sent = [pattern(100), pattern(20_000), pattern(20_000)];
  for (const [index, payload] of sent.entries()) {
    peer.send(data(payload));
    await turnsUntil(() => splice.stream.bytesReceived === sum(sent.slice(0, index + 1)));
  }
  t.equal(end.pool.out, before, 'all of it was copied');
  await readAll(t, client, peer, sent);
  await end.until(() => end.idle);
  for (const slab of scarce) end.pool.release(slab);
  await finish(t, end);
});

t.test('a bulk sender reads into slabs of its own, unless they are scarce', async (t) => {
  const { end, client, splice, peer } = await spliced();
  peer.send(windowOf(1024 * 1024));
  const chunk = pattern(64 * 1024);
  const send = async (bytes: Buffer): Promise<void> => {
    const before = splice.stream.bytesSent;
    client.write(bytes);
    await turnsUntil(() => splice.stream.bytesSent === before + bytes.length);
  };
  await send(chunk);
  t.equal(end.pool.out, 2, 'after a large read it has one');
  await send(Buffer.from('small'));
  t.equal(end.pool.out, 1, 'after a small one it has none');
  await send(chunk);
  const scarce = takeAll(end);
  scarce.push(end.pool.acquire());
  const before = end.pool.out;
  await send(chunk);
  t.equal(end.pool.out, before - 1, 'it has given its own back');
  await send(chunk);
  t.equal(end.pool.out, before - 1);
  for (const slab of scarce) end.pool.release(slab);
  splice.abort(GAVE_UP);
  peer.send(bare(Command.close));
  await end.until(() => end.idle);
  await finish(t, end);
});

t.test('bytes that go first go before everything the socket brings, however little is allowed', async (t) => {
  const { end, socket, client, splice, peer, arrived } = await spliced({ resume: false });
  const [first, then] = [pattern(1000), pattern(30_000)];
  client.write(then);
  t.notOk(splice.sendFirst(first), 'nothing is allowed yet');
  for (const allowed of [1, 999, 1000]) {
    peer.send(windowOf(allowed));
    await turnsUntil(() => splice.stream.bytesSent === allowed);
  }
  peer.send(windowOf(1_000_000));
  await turnsUntil(() => payloadOf(arrived()).length === sum([first, then]));
  t.ok(payloadOf(arrived()).equals(Buffer.concat([first, then])));
  t.notOk(socket.destroyed);
  splice.abort(GAVE_UP);
  peer.send(bare(Command.close));
  await end.until(() => end.idle);
  await finish(t, end);
});

t.test('where they are allowed, bytes that go first are gone at once', async (t) => {
  const { end, splice, peer } = await spliced({ resume: false });
  peer.send(windowOf(1000));
  await turnsUntil(() => splice.stream.describe().includes('sent=0/1000'));
  t.ok(splice.sendFirst(pattern(1000)));
  t.equal(splice.stream.bytesSent, 1000);
  splice.abort(GAVE_UP);
  peer.send(bare(Command.close));
  await end.until(() => end.idle);
  await finish(t, end);
});

/** A splice in memory: `client` is the far end of its socket, `peer` that of its channel. */
async function spliced({ resume = true } = {}) {
  const signal = new Signal();
  const [channelSocket, peer] = memoryPair();
  const end = new TunnelEnd(channelSocket, signal, { dialled: false });
  const chunks: Buffer[] = [];
  const onRead = (memory: Buffer, length: number): boolean => {
    chunks.push(Buffer.from(memory.subarray(0, length)));
    return true;
  };
  peer.setHandler({ ...unattended, onRead });
  peer.resume();
  peer.send(encodeHandshake('test', ['reset']));
  await end.until(() => end.peer !== undefined);
  // Whatever the client does not read at once is unsent.
  const [socket, client] = memoryClient(0);
  const splice = end.watch(
    (owner) =>
      new Splice(
        owner,
        (handler) => end.channel.multiplexer.open({ proto: 'tcp', ip: '127.0.0.1', port: 80 }, handler),
        (handler) => {
          socket.setHandler(handler);
          return socket;
        },
      ),
  );
  if (resume) socket.resume();
  // Its Window is out when a turn has passed.
  await new Promise(setImmediate);
  await new Promise(setImmediate);
  return { end, splice, socket, client, peer, arrived: () => Buffer.concat(chunks) };
}

/** A splice whose socket has gone after both ends' last bytes. */
async function bothEnded() {
  const all = await spliced();
  all.peer.send(bare(Command.shutdown));
  all.client.end();
  all.client.resume();
  await turnsUntil(() => all.socket.destroyed);
  await new Promise(setImmediate);
  return all;
}

/** The client reads everything, and both directions end. */
async function readAll(
  t: { equal(a: unknown, b: unknown): boolean },
  client: net.Socket,
  peer: RawSocket,
  sent: Buffer[],
) {
  const observer = new Observer(client);
  client.resume();
  await observer.until(() => observer.bytes === sum(sent));
  peer.send(Buffer.concat([bare(Command.shutdown), bare(Command.close)]));
  t.equal(await observer.checksum(), checksumOf(Buffer.concat(sent)));
}

async function finish(t: { equal(a: unknown, b: unknown): boolean }, end: TunnelEnd): Promise<void> {
  end.channel.multiplexer.close({ code: 'DONE', message: 'the test is over' });
  await end.until(() => end.closed);
  t.equal(end.pool.out, 0);
}

/** As many slabs as make the rest scarce. */
function takeAll(end: TunnelEnd): Slab[] {
  const slabs: Slab[] = [];
  while (!end.pool.tight) slabs.push(end.pool.acquire());
  return slabs;
}

/** The payload of the Data frames in what an end has sent, its handshake first. */
function payloadOf(sent: Buffer): Buffer {
  const payloads: Buffer[] = [];
  const handshake = 52 + 2 + sent.readUInt16LE(52);
  for (let at = handshake; at + 7 <= sent.length; ) {
    const isData = sent.readUInt8(at + 2) === Command.data;
    const total = sent.readUInt16LE(at);
    const length = isData ? sent.readUInt32LE(at + 7) : 0;
    payloads.push(sent.subarray(at + total, at + total + length));
    at += total + length;
  }
  return Buffer.concat(payloads);
}

function bare(command: number): Buffer {
  const frame = Buffer.alloc(7);
  putHeader(frame, 0, 7, command, ID);
  return frame;
}

function data(payload: Buffer): Buffer {
  const header = Buffer.alloc(11);
  putDataHeader(header, 0, ID, payload.length);
  return Buffer.concat([header, payload]);
}

function windowOf(allowed: number): Buffer {
  const frame = Buffer.alloc(15);
  putWindow(frame, 0, ID, allowed);
  return frame;
}

function sum(buffers: Buffer[]): number {
  return buffers.reduce((total, bytes) => total + bytes.length, 0);
}
