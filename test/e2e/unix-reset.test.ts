import { once } from 'node:events';
import net from 'node:net';
import { join } from 'node:path';
import t, { type Test } from 'tap';
import { ControlClient } from '../../host/control/client.js';
import { Observer } from '../protocol/fixtures/observer.js';
import { Pair } from './fixtures/pair.js';

/** Answers in a row that tell of no more bytes: the guest, too, has written what its server's buffer takes. */
const STEADY_ANSWERS = 10;

const LINUX_ONLY = process.platform === 'linux' ? false : 'elsewhere the system tells no client';

t.test('a unix forward that is cut: the client may see an end, and the log says so', async (t) => {
  const { pair, connect } = await start(t, (socket) => void socket.write('half of it'));
  const client = await connect();
  await client.until(() => client.bytes > 0);
  await pair.guest.stop('SIGKILL');
  t.equal(await client.outcome(), 'end');
  await pair.host.line(/"client closed \(a unix socket knows no reset: it may look like a clean end\): /);
});

t.test('a client that has sent what was not read yet is told', { skip: LINUX_ONLY }, async (t) => {
  // The server does not read: so neither does, sooner or later, the host.
  const { pair, connect } = await start(t, (socket) => {
    socket.pause();
    socket.write('half of it');
  });
  const client = await connect();
  await client.until(() => client.bytes > 0);
  const block = Buffer.alloc(1024 * 1024);
  while (client.socket.writableLength < 2 * block.length) {
    client.socket.write(block);
    await new Promise(setImmediate);
  }
  await noMoreIsRead(pair);
  await pair.guest.stop('SIGKILL');
  t.match(await client.outcome(), /^(ECONNRESET|EPIPE)$/);
});

t.test('a server behind a unix socket: the guest says the same', async (t) => {
  let settle: (outcome: string) => void = () => {};
  const outcome = new Promise<string>((resolve) => (settle = resolve));
  const { pair, connect } = await start(t, (socket) => {
    const server = new Observer(socket);
    void server.until(() => server.bytes > 0).then(() => pair.host.stop('SIGKILL'));
    void server.outcome().then(settle);
  });
  (await connect()).socket.write('half of it');
  t.equal(await outcome, 'end');
  await pair.guest.line(/"connection to server closed \(a unix socket knows no reset: /);
});

/**
 * Resolves when the host has stopped reading from its one client, which has more to send: each answer comes from the
 * event loop that would have read it before.
 */
async function noMoreIsRead({ control }: Pair): Promise<void> {
  const client = new ControlClient(control);
  let read = -1;
  for (let equal = 0; equal < STEADY_ANSWERS; ) {
    const [connection] = await client.connections();
    const bytes = connection?.bytesToGuest ?? 0;
    equal = bytes === read ? equal + 1 : 0;
    read = bytes;
  }
}

/** A pair with one unix forward, to a server on a unix socket. */
async function start(t: Test, serve: (socket: net.Socket) => void) {
  const pair = new Pair(t);
  const [listener, destination] = [join(pair.folder, 'l'), join(pair.folder, 's')];
  const sockets = new Set<net.Socket>();
  const server = net.createServer({ allowHalfOpen: true }, (socket) => {
    sockets.add(socket.on('error', () => {}));
    serve(socket);
  });
  server.listen(destination);
  await once(server, 'listening');
  t.teardown(() => {
    server.close();
    for (const socket of sockets) socket.destroy();
  });
  pair.startHost('--forward', `unix:${listener}:${destination}`);
  pair.startGuest();
  await pair.up();
  await pair.host.line(/^unix /);
  const connect = async (): Promise<Observer> => {
    const socket = net.connect({ path: listener, allowHalfOpen: true });
    t.teardown(() => socket.destroy());
    const client = new Observer(socket);
    await once(socket, 'connect');
    return client;
  };
  return { pair, connect };
}
