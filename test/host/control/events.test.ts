import { once } from 'node:events';
import http from 'node:http';
import net from 'node:net';
import { mock } from 'node:test';
import fastify from 'fastify';
import t, { type Test } from 'tap';
import { WebSocketServer } from 'ws';
import { ControlClient } from '../../../host/control/client.js';
import { Connections } from '../../../host/control/connections.js';
import { parseEventFilter } from '../../../host/control/event-filter.js';
import { EventHub } from '../../../host/control/event-hub.js';
import { EventServer } from '../../../host/control/event-server.js';
import { serveEvents } from '../../../host/control/late-events.js';
import { MAX_QUEUED_BYTES } from '../../../host/control/subscriber.js';
import type { HostEvent } from '../../../host/records/event.js';
import { parseSpecMatcher } from '../../../host/rule/forward-matcher.js';
import { parseSpec } from '../../../host/rule/forward-spec.js';
import { fakeStatus } from '../../fixtures/control-reports.js';
import { fakeCarrier } from '../../fixtures/fake-carrier.js';
import { fakeForward } from '../../fixtures/fake-forward.js';
import { takenPort } from '../../fixtures/leases.js';
import { Observer } from '../../protocol/fixtures/observer.js';
import { ObservedHost, Reader } from './fixtures/observed-host.js';

t.test('what happens is told while it happens, after a hello and the state of the channel', async (t) => {
  const host = await ObservedHost.start(t);
  const reader = await host.subscribe(t).hello();
  t.match(await reader.take(2), [
    { type: 'hello', version: '1.2.3', pid: 7, time: /T.*Z$/ },
    { type: 'channel', channel: { state: 'connected' } },
  ]);
  host.serve('failed');
  const forward = fakeForward().id;
  t.match(await reader.take(2), [
    { type: 'opened', time: /T.*Z$/, connection: { id: 1, forward, client: '127.0.0.1:5' } },
    { type: 'ended', connection: { id: 1, ending: { termination: 'HC', message: 'it broke' } } },
  ]);
  host.observer?.onChannel?.(fakeStatus({ state: 'waiting', lastError: 'gone' }).channel);
  t.match(await reader.take(1), [{ type: 'channel', channel: { state: 'waiting', lastError: 'gone' } }]);
});

t.test('forwards come, go and fail', async (t) => {
  const host = await ObservedHost.start(t);
  const reader = await host.subscribe(t, '?types=forward').hello();
  await reader.take(1);
  const [exposed] = await host.forwards.expose(parseSpec('127.0.0.1:0:80'));
  const id = exposed?.id as string;
  t.match(await reader.take(1), [{ type: 'forward', change: 'added', forward: { id, state: 'listening' } }]);
  await host.forwards.unexpose([parseSpecMatcher(`${id.replace('tcp ', '')}`)]);
  t.match(await reader.take(1), [{ change: 'removed', forward: { id, origin: 'runtime' } }]);
  const taken = await takenPort(t);
  await host.forwards.restore(parseSpec(`127.0.0.1:${taken.port}:80`));
  const failed = `tcp 127.0.0.1:${taken.port}`;
  t.match(await reader.take(1), [{ change: 'failed', forward: { id: failed, error: /in use/ } }]);
  await host.forwards.unexpose([parseSpecMatcher(String(taken.port))]);
  t.match(await reader.take(1), [{ change: 'removed', forward: { id: failed } }]);
});

t.test('a subscriber hears of what it has asked for', async (t) => {
  const host = await ObservedHost.start(t);
  const queries = [
    '?types=ended',
    '?failures=1',
    '?forward=tcp+localhost:81',
    '?types=opened,ended&failures=1',
  ];
  const readers = await Promise.all(queries.map((query) => host.subscribe(t, query).hello()));
  host.serve('fine');
  host.serve('failed');
  host.serve('fine', fakeForward('81:81'));
  const seen: [string[], number][] = [
    [['hello', 'ended', 'ended', 'ended'], 4],
    [['hello', 'ended'], 2],
    [['hello', 'channel', 'opened', 'ended'], 4],
    [['hello', 'opened', 'opened', 'ended', 'opened'], 5],
  ];
  for (const [index, [types, count]] of seen.entries()) {
    await readers[index]?.until(() => (readers[index]?.events.length ?? 0) >= count);
    t.same(readers[index]?.types, types, queries[index] ?? '');
  }
});

t.test('nobody watches while nobody is subscribed', async (t) => {
  const host = await ObservedHost.start(t);
  t.equal(host.observers, 0);
  const readers = await Promise.all([host.subscribe(t).hello(), host.subscribe(t, '?traffic=1').hello()]);
  t.equal(host.observers, 1, 'one watches for all');
  for (const { socket } of readers) socket.close();
  await host.signal.until(() => host.observers === 0);
  await host.subscribe(t).hello();
  t.equal(host.observers, 1, 'and again');
});

t.test('traffic is told once a second, of forwards that have changed', async (t) => {
  const host = await ObservedHost.start(t);
  const [first, second] = await host.forwards.expose([...parseSpec('0:80'), ...parseSpec('0:81')]);
  if (!first || !second) throw new Error('they are exposed');
  host.serve('fine', first);
  mock.timers.enable({ apis: ['setInterval'] });
  t.teardown(() => mock.timers.reset());
  const subscribe = (query: string): Promise<Reader> =>
    host.subscribe(t, `?types=channel&traffic=1${query}`).hello();
  const all = await subscribe('');
  const some = await subscribe(`&forward=${second.id}`);
  const other = await subscribe('&forward=tcp+localhost:1');
  const none = await host.subscribe(t, '?types=opened').hello();
  for (const reader of [all, some, other]) await reader.take(2);
  mock.timers.tick(1_000);
  host.serve('failed', second);
  const open = host.records.begin(first, { client: undefined, listener: undefined });
  const carrier = fakeCarrier(10, 20);
  open.streamOpened(8, carrier);
  mock.timers.tick(1_000);
  const counts = { connections: 2, active: 1, bytesToGuest: 11, bytesToHost: 22, refused: 0, failed: 0 };
  const failed = {
    id: second.id,
    active: 0,
    bytesToGuest: 1,
    bytesToHost: 2,
    connections: 1,
    refused: 0,
    failed: 1,
  };
  t.match(await all.take(1), [
    { type: 'traffic', time: /Z$/, forwards: [{ id: first.id, ...counts }, failed] },
  ]);
  t.match(await some.take(1), [{ forwards: [failed] }]);
  carrier.bytesSent = 11;
  mock.timers.tick(1_000);
  t.match(await all.take(1), [{ forwards: [{ id: first.id, bytesToGuest: 12 }] }]);
  t.same([...some.types, ...other.types], [], 'nothing of that is for them');
  t.same(none.types, ['hello', 'opened', 'opened']);
  all.socket.close();
  some.socket.close();
  other.socket.close();
  await all.until(() => all.closed !== undefined);
});

t.test('a slow reader is told how many it has missed, and delays nobody', async (t) => {
  const host = await ObservedHost.start(t);
  const slow = await host.subscribe(t, '?types=ended').hello();
  const quick = await host.subscribe(t, '?types=ended').hello();
  slow.socket.pause();
  const before = process.memoryUsage().arrayBuffers;
  const served = 20_000;
  for (let count = 0; count < served; count++) {
    host.serve();
    if (count % 100 === 99) await quick.until(() => quick.events.length === count + 2);
  }
  t.equal(quick.events.length, served + 1);
  t.ok(process.memoryUsage().arrayBuffers - before < 8 * MAX_QUEUED_BYTES, 'memory is bounded');
  slow.socket.resume();
  const lostIn = (): number =>
    slow.events.reduce((sum, event) => sum + (event.type === 'lost' ? event.events : 0), 0);
  await slow.until(() => slow.types.includes('lost'));
  host.serve();
  await slow.until(() => slow.events.at(-1)?.type === 'ended');
  const ended = slow.types.filter((type) => type === 'ended').length;
  t.equal(ended + lostIn(), served + 1, 'every event has come or is counted');
  t.ok(lostIn() > served / 2, `${lostIn()} were left out`);
  const ids = slow.events.flatMap((event) => (event.type === 'ended' ? [event.connection.id] : []));
  t.same(
    ids,
    [...ids].sort((a, b) => a - b),
  );
  const at = slow.types.indexOf('lost');
  t.ok(at > 1 && slow.types[at - 1] === 'ended', 'told where they are missing');
});

t.test('who may not subscribe hears why', async (t) => {
  const host = await ObservedHost.start(t, 4);
  const ask = (query: string, options = {}) => host.subscribe(t, query, options).refused();
  t.match(await ask('?types=all'), { status: 400, message: /no events of the type "all"/ });
  t.match(await new Reader(t, `ws+unix:${host.path}:/v1/status`).refused(), {
    status: 404,
    message: '/v1/status is no WebSocket: events are at /v1/events',
  });
  t.match(await ask('', { origin: 'http://evil.example' }), {
    status: 403,
    message: 'a web page of http://evil.example may not read events',
  });
  const readers = await Promise.all([host.subscribe(t).hello(), host.subscribe(t).hello()]);
  t.match(await ask(''), { status: 503, message: /^2 read events already, and the host takes no more/ });
  readers[0]?.socket.close();
  await readers[0]?.until(() => readers[0]?.closed !== undefined);
  await host.subscribe(t).hello();
});

t.test('readers do not count as idle, and leave room for others', async (t) => {
  const host = await ObservedHost.start(t, 4);
  const readers = await Promise.all([host.subscribe(t).hello(), host.subscribe(t).hello()]);
  const client = new ControlClient(host.path);
  const idle = Array.from({ length: 6 }, () => net.connect(host.path));
  for (const socket of idle) t.teardown(() => socket.destroy());
  t.equal((await client.status()).version, '1.2.3');
  t.same(
    readers.map(({ closed }) => closed),
    [undefined, undefined],
  );
});

t.test('when all connections are busy, an upgrade is refused as a request is', async (t) => {
  const host = await ObservedHost.start(t, 1);
  await host.subscribe(t).hello();
  t.match(await host.subscribe(t).refused(), {
    status: 503,
    message: /^the host is busy: 1 control requests/,
  });
});

t.test('whoever says something is let go', async (t) => {
  const host = await ObservedHost.start(t);
  const chatty = await host.subscribe(t).hello();
  chatty.socket.send('hello?');
  await chatty.until(() => chatty.closed !== undefined);
  t.same(chatty.closed, { code: 1008, reason: 'nothing is read here' });
  const flood = await host.subscribe(t).hello();
  flood.socket.send(Buffer.alloc(2_000));
  await flood.until(() => flood.closed !== undefined);
  t.equal(flood.closed?.code, 1009);
  await host.signal.until(() => host.observers === 0);
});

t.test('the host says that it stops', async (t) => {
  const host = await ObservedHost.start(t);
  const reader = await host.subscribe(t).hello();
  const stopped = await host.subscribe(t).hello();
  stopped.socket.pause();
  for (let count = 0; count < 5_000; count++) host.serve();
  await host.stop();
  await reader.until(() => reader.closed !== undefined);
  t.same(reader.closed, { code: 1006, reason: '' }, 'one that had not read everything is cut off');
});

t.test('one that has read everything learns the reason', async (t) => {
  const host = await ObservedHost.start(t);
  const reader = await host.subscribe(t).hello();
  await host.stop();
  await reader.until(() => reader.closed !== undefined);
  t.same(reader.closed, { code: 1001, reason: 'the host is stopping' });
});

t.test('no WebSocket: HTTP goes on as ever', async (t) => {
  const host = await ObservedHost.start(t);
  const headers = { connection: 'upgrade', upgrade: 'h2c' };
  const request = http.get({ socketPath: host.path, path: '/v1/events', headers });
  const [response] = (await once(request, 'response')) as [http.IncomingMessage];
  t.equal(response.resume().statusCode, 400);
});

/** An HTTP server of the test's own for one event server. */
async function serve(t: Test, server: EventServer): Promise<string> {
  const web = http.createServer();
  web.on('upgrade', (request, socket, head) => server.upgrade(request, socket, head));
  await once(web.listen(0, '127.0.0.1'), 'listening');
  t.teardown(() => {
    server.close();
    web.close();
    web.closeAllConnections();
  });
  return `ws://127.0.0.1:${(web.address() as net.AddressInfo).port}/v1/events`;
}

t.test('over TCP, with an origin that is let in', async (t) => {
  const server = new EventServer(new ObservedHost().target, {
    admitsOrigin: (origin) => origin === 'http://127.0.0.1:1',
  });
  const address = await serve(t, server);
  const reader = await new Reader(t, address, { origin: 'http://127.0.0.1:1' }).hello();
  t.equal((await new Reader(t, address, { origin: 'http://127.0.0.1:2' }).refused())?.status, 403);
  server.close();
  await reader.until(() => reader.closed !== undefined);
  t.equal(reader.closed?.code, 1001);
  t.match(await new Reader(t, address).refused(), { status: 503, message: 'the host is stopping' });
});

t.test('one that does not answer a ping is gone', async (t) => {
  mock.timers.enable({ apis: ['setInterval'] });
  t.teardown(() => mock.timers.reset());
  const host = new ObservedHost();
  const hub = new EventHub(host.target, 1_000);
  const sockets = new WebSocketServer({ host: '127.0.0.1', port: 0, autoPong: false });
  t.teardown(() => sockets.close());
  await once(sockets, 'listening');
  const filter = parseEventFilter(new URLSearchParams('types=opened'));
  sockets.on('connection', (socket) => hub.subscribe(socket, filter));
  const address = `ws://127.0.0.1:${(sockets.address() as net.AddressInfo).port}`;
  const [live, dead] = await Promise.all([
    new Reader(t, address).hello(),
    new Reader(t, address, { autoPong: false }).hello(),
  ]);
  const ponged = once(live.socket, 'ping') as Promise<unknown>;
  mock.timers.tick(1_000);
  await ponged;
  const back = once(live.socket, 'pong');
  live.socket.ping('there?');
  t.equal(String((await back)[0]), 'there?', 'pings are answered, and what came before them has arrived');
  mock.timers.tick(1_000);
  await dead.until(() => dead.closed !== undefined);
  t.equal(live.closed, undefined);
  t.equal(hub.size, 1);
});

t.test('pings that nobody reads the answers of are not answered', async (t) => {
  const host = await ObservedHost.start(t);
  const socket = net.connect(host.path);
  t.teardown(() => socket.destroy());
  socket.write(
    'GET /v1/events?types=opened HTTP/1.1\r\nhost: x\r\nconnection: upgrade\r\nupgrade: websocket\r\n' +
      'sec-websocket-version: 13\r\nsec-websocket-key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n',
  );
  await once(socket, 'readable');
  // FIN and ping, masked by zeros, of 125 bytes.
  const ping = Buffer.concat([Buffer.from([0x89, 0x80 | 125, 0, 0, 0, 0]), Buffer.alloc(125)]);
  const pings = Buffer.concat(Array.from({ length: 40_000 }, () => ping));
  const before = process.memoryUsage().arrayBuffers;
  await new Promise<void>((resolve) => socket.write(pings, () => resolve()));
  t.ok(process.memoryUsage().arrayBuffers - before < 3 * MAX_QUEUED_BYTES + pings.length);
  const observer = new Observer(socket);
  await observer.until(() => observer.bytes > MAX_QUEUED_BYTES / 2);
  t.ok(observer.bytes < 40_000 * 127);
});

t.test('when what events need cannot be loaded, that is said, and tried again', async (t) => {
  const host = new ObservedHost();
  const app = fastify();
  const connections = new Connections(app.server, host.log.logger, {});
  let loads = 0;
  serveEvents(app, host.target, { connections, maxConnections: 9, logger: host.log.logger }, async () => {
    if (++loads === 1) throw new Error('no such file');
    return { EventServer };
  });
  await app.listen({ host: '127.0.0.1', port: 0 });
  t.teardown(() => app.close());
  const address = `ws://127.0.0.1:${(app.server.address() as net.AddressInfo).port}/v1/events`;
  const first = new Reader(t, address);
  await first.until(() => first.closed !== undefined);
  t.match(host.log.lines, [{ msg: /^what events need cannot be loaded/ }]);
  const second = await new Reader(t, address).hello();
  t.match(second.events, [{ type: 'hello' }] as Partial<HostEvent>[]);
});
