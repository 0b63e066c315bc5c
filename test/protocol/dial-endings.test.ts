import { once } from 'node:events';
import net from 'node:net';
import t, { type Test } from 'tap';
import { type SocketAddress, unattended } from '../../protocol/socket/raw-socket.js';
import { Splice } from '../../protocol/splice.js';
import type { Stream } from '../../protocol/stream.js';
import type { Destination } from '../../protocol/wire/destination.js';
import { encodeReset, type Reason } from '../../protocol/wire/extension.js';
import { encodeOpen } from '../../protocol/wire/frame.js';
import { encodeHandshake, FEATURES } from '../../protocol/wire/handshake.js';
import { closeFrame, dataFrame, shutdownFrame } from './fixtures/frames.js';
import { memoryPair } from './fixtures/memory-socket.js';
import { checksumOf, Observer } from './fixtures/observer.js';
import { Signal } from './fixtures/signal.js';
import { TunnelEnd } from './fixtures/tunnel.js';

const ID = 0xffff_ffff;
const GAVE_UP: Reason = { code: 'ECONNRESET', message: 'read ECONNRESET' };
const CLOSED_EARLY = { how: 'reset', reason: { code: 'CLOSED_EARLY' } };

interface Client {
  /** Its own; undefined if it was gone before it was accepted. */
  port: number | undefined;
  observer: Observer;
}

/** A server whose clients are observed. */
class Server {
  readonly #server = net.createServer({ allowHalfOpen: true });
  readonly #clients: Client[] = [];
  readonly #signal = new Signal();
  address!: SocketAddress;

  static async start(t: Test, path?: string): Promise<Server> {
    const server = new Server();
    server.#server.on('connection', (socket) => {
      socket.on('error', () => {});
      server.#clients.push({ port: socket.remotePort, observer: new Observer(socket) });
      server.#signal.wake();
    });
    server.#server.listen(path === undefined ? { host: '127.0.0.1', port: 0 } : { path });
    await once(server.#server, 'listening');
    const bound = server.#server.address() as net.AddressInfo | string;
    server.address = typeof bound === 'string' ? { path: bound } : { host: bound.address, port: bound.port };
    t.teardown(() => server.#server.close());
    return server;
  }

  /** Who has connected by now: all who come before one that connects last. */
  async clients(): Promise<Observer[]> {
    const last = net.connect(this.address as net.NetConnectOpts);
    await once(last, 'connect');
    const isLast = ({ port }: Client): boolean => port === last.localPort;
    await this.#signal.until(() => this.#clients.some(isLast));
    const others = this.#clients.filter((client) => !isLast(client));
    last.destroy();
    return others.map(({ observer }) => observer);
  }
}

/** A guest's end whose peer is played by the test, and which dials the server for every stream. */
async function guest(dial: (stream: Stream, end: TunnelEnd) => void) {
  const [channelSocket, peer] = memoryPair();
  const end: TunnelEnd = new TunnelEnd(channelSocket, new Signal(), { dialled: false }, (stream) => {
    dial(stream, end);
  });
  peer.setHandler({ ...unattended, onRead: () => true });
  peer.resume();
  peer.send(encodeHandshake('test', FEATURES));
  await end.until(() => end.peer !== undefined);
  return { end, peer };
}

function destinationOf(address: SocketAddress): Destination {
  return 'path' in address
    ? { proto: 'unix', path: address.path }
    : { proto: 'tcp', ip: address.host, port: address.port };
}

const BROKEN_OFF: [string, Buffer[]][] = [
  ['Close', [closeFrame(ID)]],
  ['Reset', [encodeReset(ID, GAVE_UP)]],
  ['Data, Close', [dataFrame(ID, Buffer.from('early')), closeFrame(ID)]],
  ['Data, Reset', [dataFrame(ID, Buffer.from('early')), encodeReset(ID, GAVE_UP)]],
  [
    'Data, Shutdown, Reset',
    [dataFrame(ID, Buffer.from('early')), shutdownFrame(ID), encodeReset(ID, GAVE_UP)],
  ],
];

for (const [name, frames] of BROKEN_OFF)
  t.test(`Open, ${name}, in one read: the server sees a reset, or nobody`, async (t) => {
    const server = await Server.start(t);
    const { end, peer } = await guest((stream, end) => {
      end.watch((owner) => Splice.dial(owner, stream, server.address));
    });
    peer.send(Buffer.concat([encodeOpen(ID, destinationOf(server.address)), ...frames]));
    await end.until(() => end.splices.length === 1 && end.idle);
    t.match(end.finished, [name.endsWith('Reset') ? { how: 'reset', reason: GAVE_UP } : CLOSED_EARLY]);
    for (const client of await server.clients()) t.equal(await client.outcome(), 'ECONNRESET');
    end.channel.destroy();
    await end.until(() => end.closed);
  });

for (const [name, giveUp] of [
  ['takes too long', (splice: Splice) => splice.dialTimedOut()],
  ['is given up', (splice: Splice) => splice.abort(GAVE_UP)],
] as const)
  t.test(
    `a dial that ${name}: the server, which may have the connection already, sees a reset`,
    async (t) => {
      const server = await Server.start(t);
      const { end, peer } = await guest((stream, end) => {
        giveUp(end.watch((owner) => Splice.dial(owner, stream, server.address)));
      });
      peer.send(
        Buffer.concat([encodeOpen(ID, destinationOf(server.address)), dataFrame(ID, Buffer.from('early'))]),
      );
      await end.until(() => end.finished.length === 1);
      peer.send(closeFrame(ID));
      await end.until(() => end.idle);
      const clients = await server.clients();
      t.equal(clients.length, 1);
      for (const client of clients) t.equal(await client.outcome(), 'ECONNRESET');
      end.channel.destroy();
      await end.until(() => end.closed);
    },
  );

for (const early of ['', 'early'])
  t.test(
    `Open, Data of ${early.length} bytes, Shutdown and Close in one read: all of it arrives`,
    async (t) => {
      const server = await Server.start(t);
      const { end, peer } = await guest((stream, end) => {
        end.watch((owner) => Splice.dial(owner, stream, server.address));
      });
      const ending = [shutdownFrame(ID), closeFrame(ID)];
      const opening = [encodeOpen(ID, destinationOf(server.address)), dataFrame(ID, Buffer.from(early))];
      peer.send(Buffer.concat([...opening, ...ending]));
      await end.until(() => end.splices.length === 1 && end.idle);
      t.same(end.finished, [{ how: 'closed' }]);
      const [client] = await server.clients();
      t.equal(await client?.checksum(), checksumOf(Buffer.from(early)));
      end.channel.destroy();
      await end.until(() => end.closed);
    },
  );
