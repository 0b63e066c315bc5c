import { EventEmitter, once } from 'node:events';
import { existsSync, lstatSync } from 'node:fs';
import net from 'node:net';
import { join } from 'node:path';
import t from 'tap';
import type { RawSocket } from '../../../protocol/socket/raw-socket.js';
import { type ChannelAddress, formatAddress } from '../../../protocol/transport/channel-address.js';
import { connectChannel } from '../../../protocol/transport/connect-channel.js';
import { type ChannelListener, listenForChannel } from '../../../protocol/transport/listen-for-channel.js';
import { freePort } from '../../fixtures/free-ports.js';
import { temporaryFolder } from './fixtures/pairs.js';
import { Recorder } from './fixtures/recorder.js';

t.test('unix: listens, accepts, and removes its socket', async (t) => {
  const path = join(temporaryFolder(t), 'channel.sock');
  const address: ChannelAddress = { kind: 'unix', path };
  const { listener, accepted } = await start(t, address);
  t.same(listener.address, address);
  t.equal(lstatSync(path).mode & 0o777, 0o600);
  await exchange(t, await connectChannel(address), await accepted());
  await listener.close();
  t.equal(existsSync(path), false);
  await t.rejects(connectChannel(address), { message: /ENOENT/ });
  await listener.close();
});

for (const host of ['127.0.0.1', '::1']) {
  t.test(`tcp: the address has the port that was chosen: ${host}`, async (t) => {
    const { listener, accepted } = await start(t, { kind: 'tcp', host, port: 0 });
    t.match(listener.address, { kind: 'tcp', host });
    t.notMatch(formatAddress(listener.address), /:0$/);
    await exchange(t, await connectChannel(listener.address), await accepted());
  });

  t.test(`tcp: an address is taken until it is closed: ${host}`, async (t) => {
    const address: ChannelAddress = { kind: 'tcp', host, port: await freePort() };
    const { listener } = await start(t, address);
    await t.rejects(start(t, address), {
      name: 'OperationError',
      message: `cannot listen on ${formatAddress(address)}: EADDRINUSE (another process has it; stop`,
    });
    await listener.close();
    await t.rejects(connectChannel(address), { message: /ECONNREFUSED/ });
  });
}

t.test('hyperkit: listens where the guest calls', async (t) => {
  const dir = temporaryFolder(t);
  const address: ChannelAddress = { kind: 'hyperkit', dir, port: 0xf3a4 };
  const { listener, accepted } = await start(t, address);
  t.same(listener.address, address);
  const path = join(dir, '00000002.0000f3a4');
  await exchange(t, await connectChannel({ kind: 'unix', path }), await accepted());
  await listener.close();
  t.equal(existsSync(path), false);
});

t.test('firecracker: listens where the guest calls', async (t) => {
  const path = join(temporaryFolder(t), 'v.sock');
  const { listener, accepted } = await start(t, { kind: 'firecracker', path, port: 0x400 });
  await exchange(t, await connectChannel({ kind: 'unix', path: `${path}_1024` }), await accepted());
  await listener.close();
  t.equal(existsSync(`${path}_1024`), false);
});

t.test('closing leaves accepted sockets alone', async (t) => {
  const address: ChannelAddress = { kind: 'unix', path: join(temporaryFolder(t), 's') };
  const { listener, accepted } = await start(t, address);
  const client = await connectChannel(address);
  const socket = await accepted();
  await listener.close();
  await exchange(t, client, socket);
});

t.test('a failure to accept is told, and listening goes on', async (t) => {
  const created: net.Server[] = [];
  const createServer = net.createServer;
  t.teardown(() => {
    net.createServer = createServer;
  });
  net.createServer = ((options: net.ServerOpts) => {
    const server = createServer(options);
    created.push(server);
    return server;
  }) as typeof createServer;
  const address: ChannelAddress = { kind: 'unix', path: join(temporaryFolder(t), 's') };
  const { accepted, errors } = await start(t, address);
  created[0]?.emit('error', Object.assign(new Error('accept EMFILE'), { code: 'EMFILE' }));
  t.match(errors, [
    { message: `accepting on ${formatAddress(address)}: EMFILE (too many files are open; raise` },
  ]);
  await exchange(t, await connectChannel(address), await accepted());
});

async function start(t: Tap, address: ChannelAddress) {
  const events = new EventEmitter();
  const sockets: RawSocket[] = [];
  const errors: Error[] = [];
  const listener: ChannelListener = await listenForChannel(
    address,
    (socket) => {
      sockets.push(socket);
      events.emit('socket');
    },
    (error) => errors.push(error),
  );
  t.teardown(() => listener.close());
  const accepted = async (): Promise<RawSocket> => {
    if (sockets.length === 0) await once(events, 'socket');
    return sockets.shift() as RawSocket;
  };
  return { listener, accepted, errors };
}

/** Sends a few bytes each way, then ends both. */
async function exchange(t: Tap, client: RawSocket, socket: RawSocket): Promise<void> {
  const ends = [client, socket].map((end) => {
    const recorder = new Recorder();
    end.setHandler(recorder);
    end.resume();
    return { end, recorder };
  });
  client.send(Buffer.from('from client'));
  socket.send(Buffer.from('from server'));
  for (const { end } of ends) end.end();
  for (const { recorder } of ends) await recorder.until(() => recorder.closed);
  t.same(
    ends.map(({ recorder }) => recorder.text),
    ['from server', 'from client'],
  );
}

type Tap = Pick<typeof t, 'teardown' | 'same'>;
