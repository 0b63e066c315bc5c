import { once } from 'node:events';
import net from 'node:net';
import { join } from 'node:path';
import t from 'tap';
import { Agent } from '../../guest/agent.js';
import { parseEndpointRule } from '../../protocol/endpoint-rule.js';
import { OperationError } from '../../protocol/errors.js';
import type { connectSocket } from '../../protocol/socket/connect-socket.js';
import type { Destination } from '../../protocol/wire/destination.js';
import { freePort } from '../fixtures/free-ports.js';
import { startGuest } from '../fixtures/guest.js';
import { DEBUG, INFO, LogRecorder, WARN } from '../fixtures/log-recorder.js';
import { startServer, temporaryFolder } from '../fixtures/programs.js';
import { memoryClient } from '../protocol/fixtures/memory-socket.js';

const local = (port: number) => ({ proto: 'tcp', ip: '127.0.0.1', port }) as const;
const client = { client: { ip: '10.0.0.1', port: 4711 }, listener: undefined };

t.test('a stream reaches the server that it names, and both half-closes pass', async (t) => {
  const { agent, host, log } = await startGuest(t);
  const port = await startServer(t, (socket) => {
    let text = '';
    socket.on('data', (chunk) => (text += chunk)).on('end', () => socket.end(`got ${text}`));
  });
  const stream = host.open(local(port), client);
  stream.send('hello');
  await host.until(() => stream.result?.step === 'connected');
  t.equal(agent.channel.streams, 1);
  t.match(agent.describe(), /1 streams/);
  stream.stream.shutdown();
  await host.until(() => stream.end !== undefined);
  t.equal(stream.received, 'got hello');
  t.same(stream.end, { how: 'closed' });
  const line = await log.line(/^connection closed/);
  t.match(line, { level: DEBUG, client: '10.0.0.1:4711', destination: `tcp 127.0.0.1:${port}` });
});

t.test('a stream reaches a unix socket, and whoever publishes hears that somebody has come', async (t) => {
  const { agent, host } = await startGuest(t);
  let served = 0;
  agent.onServe = () => served++;
  const path = join(temporaryFolder(t), 's');
  const server = net.createServer((socket) => socket.end('from the socket')).listen(path);
  await once(server, 'listening');
  t.teardown(() => server.close());
  const stream = host.open({ proto: 'unix', path });
  await host.until(() => stream.halfClosed);
  t.equal(stream.received, 'from the socket');
  t.equal(served, 1);
});

t.test('a dial that fails is reported by its errno, on both sides', async (t) => {
  const { host, log } = await startGuest(t);
  const port = await freePort();
  const stream = host.open(local(port), client);
  await host.until(() => stream.end !== undefined);
  t.match(stream.end, { how: 'refused', result: { step: 'dial', reason: { code: 'ECONNREFUSED' } } });
  t.match(await log.line(/^dial failed/), {
    level: WARN,
    errno: 'ECONNREFUSED',
    client: '10.0.0.1:4711',
    destination: `tcp 127.0.0.1:${port}`,
  });
});

t.test('a dial that takes too long is given up', async (t) => {
  // A socket that hears nothing, as from an address that drops packets.
  const connectToNobody: typeof connectSocket = (_address, handler) => {
    const [socket] = memoryClient(0);
    socket.setHandler(handler);
    return socket;
  };
  const mocked = await t.mockImport<typeof import('../../guest/agent.js')>('../../guest/agent.js', {
    '../../guest/dial/dialler.ts': await t.mockImport('../../guest/dial/dialler.js', {
      '../../protocol/splice.ts': await t.mockImport('../../protocol/splice.js', {
        '../../protocol/socket/connect-socket.ts': { connectSocket: connectToNobody },
      }),
    }),
  });
  const { host, log } = await startGuest(t, { dialTimeoutMs: 5 }, mocked.Agent);
  const stream = host.open({ proto: 'tcp', ip: '192.0.2.1', port: 80 });
  await host.until(() => stream.end !== undefined);
  t.match(stream.end, { how: 'refused', result: { step: 'dial', reason: { code: 'ETIMEDOUT' } } });
  t.match(await log.line(/^dial failed/), { errno: 'ETIMEDOUT' });
});

t.test('what is not allowed, or cannot be dialled at all, is refused with the reason', async (t) => {
  const { agent, host, log } = await startGuest(t, {
    allowDial: ['127.0.0.1:81', 'unix:/*'].map((rule) => parseEndpointRule(rule, '--allow-dial')),
  });
  const refusals = [
    [local(80), 'policy', 'EACCES'],
    [{ proto: 'unix', path: 'portferry:nothing' }, 'policy', 'EACCES'],
    [{ proto: 'udp', ip: '127.0.0.1', port: 53 }, 'policy', 'EACCES'],
    [{ proto: 'unix', path: `/${'x'.repeat(200)}` }, 'dial', 'ENAMETOOLONG'],
  ] as const;
  t.equal(agent.mayDial(local(81)), true, 'publishers ask before they publish what would be refused');
  for (const [destination, step, code] of refusals) {
    t.equal(agent.mayDial(destination), step !== 'policy');
    const stream = host.open(destination);
    await host.until(() => stream.end !== undefined);
    t.match(stream.end, { how: 'refused', result: { step, reason: { code } } });
  }
  t.equal(log.matching(/^refused to dial/).length, refusals.length);
  t.match(await log.line(/^refused to dial/), {
    level: WARN,
    errno: 'EACCES',
    destination: 'tcp 127.0.0.1:80',
  });
});

t.test('a service that does not exist is refused', async (t) => {
  const { host } = await startGuest(t);
  const stream = host.open({ proto: 'unix', path: 'portferry:nothing' });
  await host.until(() => stream.end !== undefined);
  t.match(stream.end, { how: 'refused', result: { step: 'service', reason: { code: 'ENOENT' } } });
});

t.test('resets pass in both directions', async (t) => {
  const { host, log } = await startGuest(t);
  const port = await startServer(t, (socket) => {
    socket.on('data', (chunk) => {
      if (chunk.toString() === 'reset me') socket.resetAndDestroy();
    });
  });
  const resetByServer = host.open(local(port));
  resetByServer.send('reset me');
  await host.until(() => resetByServer.end !== undefined);
  t.match(resetByServer.end, { how: 'reset', reason: { code: 'ECONNRESET' } });
  t.match(await log.line(/^server gone/), { level: INFO, code: 'ECONNRESET' });

  const resetByHost = host.open(local(port));
  await host.until(() => resetByHost.result !== undefined);
  resetByHost.stream.reset({ code: 'EPIPE', message: 'the client is gone' });
  t.match(await log.line(/^connection to server reset: the client is gone/), { level: INFO, code: 'EPIPE' });
});

t.test('a guest that is told to stop lets its streams finish', async (t) => {
  const { agent, host } = await startGuest(t);
  const port = await startServer(t, (socket) => socket.on('data', (chunk) => socket.end(chunk)));
  const stream = host.open(local(port));
  await host.until(() => stream.result !== undefined);
  const stopped = agent.stop();
  await host.until(() => host.goAways.length > 0);
  stream.send('the last words');
  stream.stream.shutdown();
  await stopped;
  await host.until(() => stream.end !== undefined);
  t.same([stream.received, stream.end], ['the last words', { how: 'closed' }]);
  t.match(host.goAways, [{ code: 'STOPPED' }]);
});

t.test('a guest that ends at once resets its servers', async (t) => {
  const { agent, host } = await startGuest(t);
  let serve = (_socket: net.Socket): void => {};
  const served = new Promise<net.Socket>((resolve) => {
    serve = resolve;
  });
  const port = await startServer(t, (socket) => serve(socket));
  const stream = host.open(local(port));
  const server = await served;
  const failure = new Promise((resolve) => server.resume().once('error', resolve));
  await host.until(() => stream.result !== undefined);
  agent.abandon();
  t.match(await failure, { code: 'ECONNRESET' });
  await host.until(() => stream.end !== undefined);
  t.match(stream.end, { how: 'reset', reason: { code: 'STOPPED' } });
});

t.test('an agent that cannot have its address says so', async (t) => {
  const agent = new Agent({
    channel: {
      mode: 'listen',
      address: { kind: 'unix', path: join(temporaryFolder(t), 'no', 'such', 'folder', 's') },
    },
    version: 'test',
    allowDial: [],
    logger: new LogRecorder().logger,
  });
  await t.rejects(agent.start(), OperationError);
  t.equal(agent.describe(), 'no channel\n');
  await agent.stop();
});

t.test('what fails again and again is summed up, whatever it is', async (t) => {
  const { agent, host, log } = await startGuest(t, {
    allowDial: ['127.0.0.1', 'unix:/*'].map((rule) => parseEndpointRule(rule, '--allow-dial')),
  });
  await log.line(/the channel is up/);
  const closed = await freePort();
  const resetting = await startServer(t, (socket) => socket.resetAndDestroy());
  const again = async (destination: Destination): Promise<void> => {
    const before = log.lines.length;
    for (let count = 0; count < 20; count++) {
      const stream = host.open(destination);
      await host.until(() => stream.end !== undefined);
    }
    t.equal(log.lines.length - before, 3, JSON.stringify(destination).slice(0, 60));
  };
  await again(local(closed));
  await again(local(resetting));
  await again({ proto: 'tcp', ip: '127.0.0.2', port: 1 });
  await again({ proto: 'udp', ip: '127.0.0.2', port: 1 });
  await again({ proto: 'udp', ip: '127.0.0.1', port: 0 });
  await again({ proto: 'unix', path: `/\u001b[2J${'x'.repeat(200)}` });
  for (const { msg } of log.lines) t.notMatch(msg, /\p{Cc}/u);
  host.close();
  await agent.stop();
  t.equal(log.matching(/the last of 17 more like it/).length, 6);
});
