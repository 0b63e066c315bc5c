import { once } from 'node:events';
import net from 'node:net';
import { join } from 'node:path';
import t, { type Test } from 'tap';
import { type Forward, ForwardTable } from '../../../host/forwards/forward-table.js';
import { ClientConnection } from '../../../host/relay/client-connection.js';
import type { ForwardRule } from '../../../host/rule/forward-rule.js';
import type { RawSocket } from '../../../protocol/socket/raw-socket.js';
import { LogRecorder } from '../../fixtures/log-recorder.js';
import { temporaryFolder } from '../../fixtures/programs.js';

/** A connection that was accepted on a forward. */
async function accept(t: Test, rule: ForwardRule): Promise<ClientConnection> {
  let accepted: (connection: ClientConnection) => void = () => {};
  const connection = new Promise<ClientConnection>((resolve) => {
    accepted = resolve;
  });
  const table = new ForwardTable({
    onClient: (socket: RawSocket, forward: Forward) => accepted(new ClientConnection(socket, forward)),
    logger: new LogRecorder().logger,
  });
  const [forward] = await table.expose([rule]);
  if (!forward) throw new Error('nothing was exposed');
  const to =
    forward.rule.proto === 'unix' ? { path: forward.rule.hostPath } : { port: forward.rule.hostPort };
  const client = net.connect({ host: '127.0.0.1', ...to });
  await once(client, 'connect');
  t.teardown(async () => {
    client.destroy();
    (await connection).socket.reset();
    await table.close();
  });
  return connection;
}

const destination = { proto: 'tcp', ip: '10.0.0.1', port: 80 } as const;

t.test('a client of a TCP forward is known by its address', async (t) => {
  const rule: ForwardRule = { proto: 'tcp', hostIps: ['127.0.0.1'], hostPort: 0, destination };
  const connection = await accept(t, rule);
  const { client, listener } = connection.source;
  t.match([client?.ip, listener?.ip], ['127.0.0.1', '127.0.0.1']);
  t.match(connection.report(), {
    streamId: -1,
    destination: 'tcp 10.0.0.1:80',
    state: 'held',
    client: `127.0.0.1:${client?.port}`,
    bytesToGuest: 0,
    bytesToHost: 0,
    timings: {},
  });
  connection.ended('failed');
  const { state, ageMs, timings } = connection.report();
  t.equal(state, 'failed');
  t.equal(connection.report().ageMs, ageMs, 'it does not grow older');
  t.same(Object.keys(timings ?? {}), ['total']);
});

t.test('a client of a unix socket has no address', async (t) => {
  const hostPath = join(temporaryFolder(t), 's');
  const connection = await accept(t, { proto: 'unix', hostPath, destination });
  t.same(connection.source, { client: undefined, listener: undefined });
  t.notOk('client' in connection.report());
});
