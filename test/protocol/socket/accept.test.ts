import { once } from 'node:events';
import net from 'node:net';
import { join } from 'node:path';
import t from 'tap';
import { NodeSocket } from '../../../protocol/socket/node-socket.js';
import { type RawSocket, unattended } from '../../../protocol/socket/raw-socket.js';
import { startRawServer, temporaryFolder } from '../transport/fixtures/pairs.js';
import { Recorder } from '../transport/fixtures/recorder.js';

for (const internals of [true, false]) {
  for (const kind of ['tcp', 'unix'] as const) {
    const name = `${kind}, ${internals ? 'with' : 'without'} internals`;

    t.test(`an accepted socket reads, answers and half-closes: ${name}`, async (t) => {
      const [client, socket] = await connectedPair(t, kind, internals);
      client.write('early bytes');
      client.write(' and more');
      const recorder = new Recorder();
      socket.setHandler(recorder);
      socket.resume();
      await recorder.until(() => recorder.text === 'early bytes and more');
      client.end(' last');
      await recorder.until(() => recorder.ended);
      t.equal(recorder.text, 'early bytes and more last');
      t.equal(recorder.closed, false, 'the other direction goes on');

      t.equal(socket.send(Buffer.from('answer')), true);
      socket.end();
      const chunks = await client.toArray();
      t.equal(Buffer.concat(chunks).toString(), 'answer');
      await recorder.until(() => recorder.closed);
      t.same(recorder.closes, [undefined]);
      t.equal(socket.destroyed, true);
    });

    t.test(`nothing is lost when reading pauses, whatever the memory's size: ${name}`, async (t) => {
      const [client, socket] = await connectedPair(t, kind, internals);
      const sent = Buffer.alloc(300_000).map((_, index) => (index * 7) % 251);
      client.end(sent);
      const recorder = new Recorder(999);
      let reads = 0;
      recorder.wants = () => {
        if (++reads % 5 !== 0) return true;
        setImmediate(() => socket.resume());
        return false;
      };
      socket.setHandler(recorder);
      socket.resume();
      await recorder.until(() => recorder.ended);
      t.ok(recorder.bytes.equals(sent));
      socket.reset();
      await recorder.until(() => recorder.closed);
    });
  }

  t.test(`a reset reaches the client as ECONNRESET: internals ${internals}`, async (t) => {
    const [client, socket] = await connectedPair(t, 'tcp', internals);
    const [error] = await Promise.all([once(client, 'error'), socket.reset()]);
    t.equal((error[0] as NodeJS.ErrnoException).code, 'ECONNRESET');
  });
}

t.test('a failure to accept is an error of the server, and accepting goes on', async (t) => {
  const { server, address, accepted } = await startRawServer();
  t.teardown(() => server.close());
  const failed = once(server, 'error');
  // What libuv calls when the process has no descriptor left.
  const emfile = -24;
  (server as unknown as { _handle: { onconnection(status: number): void } })._handle.onconnection(emfile);
  const [error] = await failed;
  t.match(error, { code: 'EMFILE', syscall: 'accept' });

  const client = net.connect(address as net.TcpNetConnectOpts);
  const socket = await accepted();
  t.equal(socket.destroyed, false);
  socket.reset();
  await once(client, 'error');
});

async function connectedPair(
  t: Tap,
  kind: 'tcp' | 'unix',
  internals: boolean,
): Promise<[net.Socket, RawSocket]> {
  const path = kind === 'unix' ? join(temporaryFolder(t), 's') : undefined;
  const { server, address, accepted } = await startRawServer(path, internals);
  t.teardown(() => server.close());
  const client = net.connect({ ...address, allowHalfOpen: true } as net.NetConnectOpts);
  const socket = await accepted();
  t.teardown(() => client.destroy());
  return [client, socket];
}

type Tap = Pick<typeof t, 'teardown'>;

t.test('a Node whose sockets have no handle is told apart from a connection', (t) => {
  t.throws(() => NodeSocket.adopt(new net.Socket(), true, unattended), /has no handle in Node v/);
  t.end();
});
