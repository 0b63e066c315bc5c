import { once } from 'node:events';
import { renameSync } from 'node:fs';
import type { ServerResponse } from 'node:http';
import net from 'node:net';
import { join } from 'node:path';
import t from 'tap';
import { EngineClient, type EngineEvent } from '../../../guest/docker/engine.js';
import { EngineError } from '../../../guest/docker/engine-socket.js';
import { errnoOf } from '../../../protocol/errors.js';
import { Program, temporaryFolder } from '../../fixtures/programs.js';
import { EngineServer, listed } from './fixtures/engine-server.js';

const { signal } = new AbortController();

/** What may connect to a socket with a backlog of 1 before it is full, with room for a slow SIGSTOP. */
const MAX_BACKLOG = 100;

async function collect(events: AsyncIterable<EngineEvent>, into: EngineEvent[] = []): Promise<EngineEvent[]> {
  for await (const event of events) into.push(event);
  return into;
}

t.test('containers are listed', async (t) => {
  const engine = await EngineServer.start(t);
  engine.containers = [listed('abc', 'web', 8080)];
  t.match(await new EngineClient(engine.socket).listContainers(signal), [
    { id: 'abc', name: 'web', ports: [{ proto: 'tcp', port: 8080 }] },
  ]);
  t.same(engine.requests, ['/containers/json']);
});

t.test('events are those that matter, in whatever pieces they come', async (t) => {
  const engine = await EngineServer.start(t);
  const parts = [
    '{"Type":"container","Action":"start","Actor":{"ID":"a',
    'bc"}}\n\n{"Type":"daemon",',
    '"Action":"reload"}\n{"Type":"network","Action":"connect","Actor":{"Attributes":{}}}\n',
    // As podman calls it.
    '{"Type":"container","Action":"died","Actor":{"ID":"abc"}}\n{"cut',
  ];
  engine.onEvents = async (response) => {
    for (const part of parts) await new Promise<void>((resolve) => response.write(part, () => resolve()));
    response.end();
  };
  const events = await new EngineClient(engine.socket).openEvents(1234, signal);
  t.same(await collect(events), [
    { type: 'container', action: 'start', id: 'abc' },
    { type: 'daemon', action: 'reload', id: '' },
    { type: 'network', action: 'connect', id: '' },
    { type: 'container', action: 'die', id: 'abc' },
  ]);
  const url = new URL(engine.requests[0] ?? '', 'http://docker');
  t.equal(url.searchParams.get('since'), '1234');
  t.match(JSON.parse(url.searchParams.get('filters') ?? ''), { type: ['container', 'network', 'daemon'] });
});

t.test('what is wrong with an answer is said, with the socket', async (t) => {
  const engine = await EngineServer.start(t);
  const client = new EngineClient(engine.socket);
  const answers: [(response: ServerResponse) => void, RegExp][] = [
    [
      (response) => response.writeHead(500).end('{"message":"no\n space"}'),
      /answers with 500: \{"message":"no space"\}$/,
    ],
    [(response) => response.writeHead(503).end(), /it answers with 503$/],
    [(response) => response.writeHead(400).end('x'.repeat(5000)), /it answers with 400: x{300}$/],
    [(response) => response.end('nothing'), /it has sent what is no JSON: /],
    [(response) => response.end('{}'), /list of containers cannot be understood: it is no list$/],
    [
      (response) => response.write('[', () => response.destroy()),
      /it has broken the connection \(ECONNRESET\)$/,
    ],
    [
      (response) => response.end(Buffer.alloc(32 * 1024 * 1024 + 1)),
      /its answer is longer than 33554432 bytes$/,
    ],
  ];
  const troubleOf = (message: RegExp): string => (/ECONNRESET/.test(message.source) ? 'ended' : 'faulty');
  for (const [answer, message] of answers) {
    engine.onList = answer;
    await t.rejects(client.listContainers(signal), { message });
    await t.rejects(client.listContainers(signal), { name: 'EngineError', trouble: troubleOf(message) });
    await t.rejects(client.listContainers(signal), {
      message: new RegExp(`^the Docker engine at ${engine.socket} cannot be asked for /containers/json: `),
    });
  }
});

t.test('events that are none end the stream with the reason', async (t) => {
  const engine = await EngineServer.start(t);
  const client = new EngineClient(engine.socket);
  const lines: [string, RegExp][] = [
    ['nothing\n', /cannot be asked for \/events: it has sent what is no JSON/],
    ['null\n', /it has sent what is no event: null$/],
    ['{"Type":"container"}\n', /it has sent what is no event: \{"Type":"container"\}$/],
    [`"${'y'.repeat(1_000)}"\n`, /it has sent what is no event: "y{299}$/],
    ['x'.repeat(1024 * 1024 + 1), /it has sent an event of more than 1048576 bytes$/],
  ];
  for (const [text, message] of lines) {
    engine.onEvents = (response) => response.write(text);
    await t.rejects(collect(await client.openEvents(0, signal)), { message });
  }
  engine.onEvents = (response) => response.writeHead(400).end('bad filter');
  await t.rejects(client.openEvents(0, signal), { message: /it answers with 400: bad filter$/ });
});

t.test('an engine that does not answer in time', async (t) => {
  const engine = await EngineServer.start(t);
  const client = new EngineClient(engine.socket, 5);
  const message = /it has not answered within 0\.005 s$/;
  engine.onList = () => {};
  await t.rejects(client.listContainers(signal), { message, trouble: 'silent' });
  engine.onList = (response) => response.write('[');
  await t.rejects(client.listContainers(signal), { message }, 'or stops in the middle');
  engine.onEvents = () => {};
  await t.rejects(client.openEvents(0, signal), { message });
});

t.test('events are waited for longer than for anything else, where there is patience', async (t) => {
  const engine = await EngineServer.start(t);
  const client = new EngineClient(engine.socket, 5);
  let begin: (() => void) | undefined;
  engine.onEvents = (response) => {
    begin = () => response.end('{"Type":"daemon","Action":"reload"}\n');
  };
  const events = client.openEvents(0, signal, true);
  await engine.until(() => begin !== undefined);
  engine.onList = () => {};
  // That this one is given up shows that more than the usual time has passed.
  await t.rejects(client.listContainers(signal), { name: 'EngineError', trouble: 'silent' });
  begin?.();
  t.match(await collect(await events), [{ type: 'daemon', action: 'reload' }]);
});

t.test('where it runs', async (t) => {
  const engine = await EngineServer.start(t);
  const client = new EngineClient(engine.socket);
  const homes: [info: unknown, hostname: string, rootless: boolean][] = [
    [{ Name: 'vm', SecurityOptions: ['name=seccomp,profile=default'] }, 'vm', false],
    [{ Name: 'vm', SecurityOptions: ['name=seccomp', 'name=rootless'] }, 'vm', true],
    [{ Name: 'vm', Rootless: true }, 'vm', true],
    [{ Name: 'vm', Rootless: false, SecurityOptions: null }, 'vm', false],
    [{ Name: 5 }, '', false],
    [null, '', false],
  ];
  for (const [info, hostname, rootless] of homes) {
    engine.info = info;
    t.same(await client.findHome(signal), { hostname, rootless });
  }
  engine.onInfo = (response) => response.writeHead(403).end();
  await t.rejects(client.findHome(signal), { trouble: 'faulty', message: /\/info: it answers with 403$/ });
});

t.test('podman is asked for all ports of a range, and for what is paused', async (t) => {
  const engine = await EngineServer.start(t);
  const mapping = { host_port: 8080, container_port: 80, range: 3, protocol: 'tcp', host_ip: '' };
  engine.podman = { version: '4.3.1-dev', containers: [{ Id: 'abc', Ports: [mapping] }] };
  engine.containers = [listed('abc', 'web', 8080)];
  const client = new EngineClient(engine.socket);
  await client.openEvents(0, signal);
  t.match(await client.listContainers(signal), [
    { id: 'abc', name: 'web', ports: [8080, 8081, 8082].map((port) => ({ port })) },
  ]);
  const filters = encodeURIComponent('{"status":["running","paused"]}');
  t.same(engine.requests.slice(1), [
    `/v4.3.1/libpod/containers/json?filters=${filters}`,
    `/containers/json?filters=${filters}`,
  ]);
  engine.podman = undefined;
  await client.openEvents(0, signal);
  await client.listContainers(signal);
  t.equal(engine.requests.at(-1), '/containers/json', 'what listens there may be another engine tomorrow');
});

t.test("a socket whose owner takes no more connections is an engine's that has stalled", async (t) => {
  if (process.platform !== 'linux') {
    t.plan(0, 'only Linux tells a full backlog from a socket without an owner');
    return;
  }
  const path = join(temporaryFolder(t), 'full.sock');
  const listen = `require('net').createServer().listen({ path: '${path}', backlog: 1 }, () => console.log('up'))`;
  const owner = Program.start(t, process.execPath, ['-e', listen]);
  await owner.line(/^up$/);
  owner.child.kill('SIGSTOP');
  let outcome: string | undefined;
  for (let count = 0; outcome !== 'EAGAIN' && count < MAX_BACKLOG; count++) {
    const socket = net.connect(path);
    t.teardown(() => socket.destroy());
    outcome = await new Promise((resolve) => {
      socket.once('connect', () => resolve('connected')).once('error', (error) => resolve(errnoOf(error)));
    });
  }
  await t.rejects(new EngineClient(path).listContainers(signal), {
    message: /it takes no more connections \(EAGAIN\); is dockerd stalled\?$/,
    trouble: 'silent',
  });
});

t.test('a request is given up when it is not wanted any more', async (t) => {
  const engine = await EngineServer.start(t);
  const client = new EngineClient(engine.socket);
  const giveUp = new AbortController();
  engine.onList = () => giveUp.abort();
  await t.rejects(client.listContainers(giveUp.signal), EngineError);
  await t.rejects(client.openEvents(0, giveUp.signal), EngineError);
  const later = new AbortController();
  const events = collect(await client.openEvents(0, later.signal));
  later.abort();
  await t.rejects(events, EngineError);
});

t.test('no engine', async (t) => {
  const socket = join(temporaryFolder(t), 'docker.sock');
  const client = new EngineClient(socket);
  await t.rejects(client.listContainers(signal), {
    message: /no such socket \(ENOENT\); is dockerd running\?$/,
    trouble: 'gone',
  });
  const server = net.createServer().listen(`${socket}.first`);
  await once(server, 'listening');
  // Under its new name the socket stays when the server is closed, as after a crash.
  renameSync(`${socket}.first`, socket);
  await new Promise((resolve) => server.close(resolve));
  await t.rejects(client.listContainers(signal), {
    message: /nobody listens there \(ECONNREFUSED\); is dockerd/,
    trouble: 'gone',
    unattended: true,
  });
  const between = net.createServer((socket) => socket.destroy()).listen(`${socket}.second`);
  await once(between, 'listening');
  t.teardown(() => between.close());
  await t.rejects(new EngineClient(`${socket}.second`).listContainers(signal), {
    name: 'EngineError',
    trouble: 'gone',
    unattended: false,
  });
  const long = new EngineClient(`/${'x'.repeat(200)}`);
  await t.rejects(long.listContainers(signal), { message: /the socket path .* is 201 bytes long/ });
});
