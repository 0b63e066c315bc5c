import type net from 'node:net';
import t, { type Test as Tap } from 'tap';
import type { Splice } from '../../protocol/splice.js';
import type { Stream } from '../../protocol/stream.js';
import { MAX_WINDOW_BYTES } from '../../protocol/window.js';
import { freePort } from '../fixtures/free-ports.js';
import { withoutLocalVsock } from './fixtures/local-vsock.js';
import { checksumOf, Observer, pattern } from './fixtures/observer.js';
import { withoutEarlyData } from './fixtures/recording.js';
import { Tunnel, type TunnelOptions } from './fixtures/tunnel.js';

const MEBIBYTE = 1024 * 1024;

const VERY_LONG = pattern(64 * MEBIBYTE);
/** More than all the buffers hold that are on the way from the host's stream to a client. */
const LONG = VERY_LONG.subarray(0, 32 * MEBIBYTE);
const LONG_CHECKSUM = checksumOf(LONG);
const MIDDLING = VERY_LONG.subarray(0, 8 * MEBIBYTE);
const MIDDLING_CHECKSUM = checksumOf(MIDDLING);

type Variant = Omit<TunnelOptions, 'serve'>;

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

function comply(t: Tap, variant: Variant): void {
  const plain = variant.guestFeatures?.length === 0;
  const open = (t: Tap, serve: TunnelOptions['serve']): Promise<Tunnel> =>
    Tunnel.open(t, { ...variant, serve });
  // The whole amount where bulk is meant to be fast.
  const bulk = variant.adopt || variant.guestFeatures ? MIDDLING : VERY_LONG;

  t.test('one byte, and very many, go both ways as they are', async (t) => {
    const tunnel = await open(t, echo);
    for (const [bytes, checksum] of [
      [pattern(1), checksumOf(pattern(1))],
      [bulk, checksumOf(bulk)],
    ] as const) {
      const client = new Observer(tunnel.connect());
      client.socket.end(bytes);
      t.equal(await client.checksum(), checksum);
      t.equal(client.bytes, bytes.length);
    }
    await finish(t, tunnel);
    t.same(tunnel.host.finished, [{ how: 'closed' }, { how: 'closed' }]);
    t.same(tunnel.guest.finished, [{ how: 'closed' }, { how: 'closed' }]);
    t.equal(tunnel.host.results.length, plain ? 0 : 2);
  });

  t.test('the client ends first, and reads a long answer after that', async (t) => {
    const tunnel = await open(t, (socket) => {
      const server = new Observer(socket);
      socket.on('end', () => socket.end(server.bytes === 7 ? MIDDLING : 'the request was cut'));
    });
    const client = new Observer(tunnel.connect());
    client.socket.end('request');
    t.equal(await client.checksum(), MIDDLING_CHECKSUM);
    await finish(t, tunnel);
  });

  t.test('the server ends first, and reads a long upload after that', async (t) => {
    const servers: Observer[] = [];
    const tunnel = await open(t, (socket) => {
      servers.push(new Observer(socket));
      socket.end('bye');
    });
    const client = new Observer(tunnel.connect());
    t.equal(await client.checksum(), checksumOf(Buffer.from('bye')));
    client.socket.end(MIDDLING);
    t.equal(await servers[0]?.checksum(), MIDDLING_CHECKSUM);
    await finish(t, tunnel);
  });

  t.test('a client of a refused dial is reset, and the host knows why', async (t) => {
    const tunnel = await open(t, () => t.fail('a connection'));
    tunnel.destination = { proto: 'tcp', ip: '127.0.0.1', port: await freePort() };
    const client = new Observer(tunnel.connect());
    t.equal(await client.outcome(), 'ECONNRESET');
    await tunnel.until(() => tunnel.host.finished.length === 1);
    const [end] = tunnel.host.finished;
    if (plain) t.same(end, { how: 'refused', result: undefined });
    else t.match(end, { how: 'refused', result: { step: 'dial', reason: { code: 'ECONNREFUSED' } } });
    t.same(tunnel.host.results, []);
    await finish(t, tunnel);
  });

  t.test("a server's reset reaches the client", async (t) => {
    const tunnel = await open(t, (socket) => {
      socket.write('some');
      socket.on('data', () => socket.resetAndDestroy());
    });
    const client = new Observer(tunnel.connect());
    await client.until(() => client.bytes === 4);
    client.socket.write('reset me');
    t.equal(await client.outcome(), 'ECONNRESET');
    await finish(t, tunnel);
    t.match(tunnel.guest.finished, [{ how: 'socket-failed', reason: { code: 'ECONNRESET' } }]);
    t.match(tunnel.host.finished, [
      { how: 'reset', reason: { code: plain ? 'CLOSED_EARLY' : 'ECONNRESET' } },
    ]);
  });

  t.test("a client's reset reaches the server", async (t) => {
    const servers: Observer[] = [];
    const tunnel = await open(t, (socket) => {
      servers.push(new Observer(socket));
      socket.write('hello');
    });
    const client = new Observer(tunnel.connect());
    client.socket.write('some');
    await client.until(() => client.bytes === 5);
    const [server] = servers;
    await server?.until(() => server.bytes === 4);
    client.socket.resetAndDestroy();
    t.equal(await server?.outcome(), 'ECONNRESET');
    await finish(t, tunnel);
    t.match(tunnel.host.finished, [{ how: 'socket-failed', reason: { code: 'ECONNRESET' } }]);
    t.match(tunnel.guest.finished, [{ how: 'reset', reason: {} }]);
  });

  for (const end of ['host', 'guest'] as const)
    t.test(`when the channel dies at the ${end}'s end, nobody takes it for a clean end`, async (t) => {
      const servers: Observer[] = [];
      const tunnel = await open(t, (socket) => {
        servers.push(new Observer(socket));
        // More than goes through before the channel dies: the client reads nothing of the most.
        socket.write(LONG);
      });
      const client = new Observer(tunnel.connect());
      client.socket.write('request');
      await client.until(() => client.bytes > 0);
      const [server] = servers;
      await server?.until(() => server.bytes > 0);
      client.socket.pause();
      tunnel[end].channel.destroy();
      await tunnel.until(() => tunnel.host.idle && tunnel.guest.idle);
      client.socket.resume();
      t.equal(await client.outcome(), 'ECONNRESET');
      t.equal(await server?.outcome(), 'ECONNRESET');
      t.match(tunnel.host.finished, [{ how: 'lost' }]);
      t.match(tunnel.guest.finished, [{ how: 'lost' }]);
      await finish(t, tunnel);
    });

  t.test('a thousand connections at once', async (t) => {
    const tunnel = await open(t, echo);
    const clients = Array.from({ length: 1000 }, (_, index) => {
      const client = new Observer(tunnel.connect());
      client.socket.write(`client ${index}`);
      return client;
    });
    await Promise.all(
      clients.map((client, index) => client.until(() => client.bytes === `client ${index}`.length)),
    );
    t.equal(tunnel.host.channel.multiplexer.streams.size, 1000);
    for (const client of clients) client.socket.end();
    const checksums = await Promise.all(clients.map((client) => client.checksum()));
    t.same(
      checksums,
      clients.map((_, index) => checksumOf(Buffer.from(`client ${index}`))),
    );
    await finish(t, tunnel);
    t.equal(tunnel.host.finished.length, 1000);
  });

  t.test('a reader that stops stops nobody else, and holds no more than its window', async (t) => {
    const tunnel = await open(t, echo);
    const slow = new Observer(tunnel.connect());
    slow.socket.pause();
    slow.socket.end(LONG);
    await tunnel.until(() => tunnel.host.splices[0] !== undefined);
    const { stream, socket } = tunnel.host.splices[0] as Splice;
    // Others go on while the slow one comes to a stand, and while it stands.
    let received = -1;
    for (let stands = 0; stands < 3; stands = received === stream.bytesReceived ? stands + 1 : 0) {
      received = stream.bytesReceived;
      await exchange(t, tunnel);
    }
    t.ok(received > 0 && received < LONG.length, `${received} bytes received`);
    const unread = received - consumedBytes(stream);
    t.equal(socket.unsent, unread, 'all that waits is what the socket has not sent');
    t.ok(unread > 0 && unread <= MAX_WINDOW_BYTES, `${unread} bytes wait`);
    const slabs = MAX_WINDOW_BYTES / (16 * 1024);
    t.ok(tunnel.host.pool.out < slabs, `${tunnel.host.pool.out} slabs are lent`);
    slow.socket.resume();
    t.equal(await slow.checksum(), LONG_CHECKSUM);
    await finish(t, tunnel);
  });

  t.end();
}

function echo(socket: net.Socket): void {
  socket.pipe(socket);
}

/** A whole connection beside others. */
async function exchange(t: Tap, tunnel: Tunnel): Promise<void> {
  const bytes = pattern(MEBIBYTE);
  const client = new Observer(tunnel.connect());
  client.socket.end(bytes);
  t.equal(await client.checksum(), checksumOf(bytes));
}

/** Nothing is left when all streams have ended. */
async function finish(t: Tap, tunnel: Tunnel): Promise<void> {
  await tunnel.close();
  for (const end of [tunnel.host, tunnel.guest]) {
    t.equal(end.pool.out, 0, 'every slab came back');
    t.equal(end.channel.multiplexer.streams.size, 0);
    t.ok(end.ended);
  }
}

/** What a stream's reader has taken, by what the stream says of itself. */
function consumedBytes(stream: Stream): number {
  const unread = stream.describe().match(/unread=(\d+)/)?.[1];
  return stream.bytesReceived - Number(unread);
}
