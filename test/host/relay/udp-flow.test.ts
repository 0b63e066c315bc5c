import t from 'tap';
import { ForwardTable } from '../../../host/forwards/forward-table.js';
import type { UdpServerSocket } from '../../../host/listen/udp-listener.js';
import { UdpFlow } from '../../../host/relay/udp-flow.js';
import { parseSpec } from '../../../host/rule/forward-spec.js';
import { DeadlineQueue } from '../../../protocol/deadline-queue.js';
import { createLogger } from '../../../protocol/program/logger.js';

t.test('a flow can be reported before it has a stream', async (t) => {
  const table = new ForwardTable({ onClient: (socket) => socket.reset(), logger: createLogger('silent') });
  t.teardown(() => table.close());
  const [forward] = await table.expose(parseSpec('127.0.0.1:0:53/udp'));
  if (!forward) throw new Error('nothing was exposed');
  const socket = { address: { ip: '::', port: 53 } } as UdpServerSocket;
  const client = { ip: 'fe80::1%eth0', port: 4711 };
  const key = UdpFlow.keyOf(client, socket);
  const group = { forward, flows: new Map(), idle: new DeadlineQueue<UdpFlow>(1, () => {}) };
  const flow = new UdpFlow(group, key, client, socket);
  t.same(flow.source, { client: { ip: 'fe80::1', port: 4711 }, listener: { ip: '::', port: 53 } });
  t.equal(flow.client.ip, 'fe80::1%eth0', 'answers need the zone');
  t.match(flow.report(), { streamId: -1, state: 'held', bytesToGuest: 0, bytesToHost: 0 });
  t.not(UdpFlow.keyOf({ ip: '::1', port: 4711 }, socket), key);
});
