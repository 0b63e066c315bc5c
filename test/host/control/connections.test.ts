import { once } from 'node:events';
import http from 'node:http';
import net from 'node:net';
import t, { type Test } from 'tap';
import { type ConnectionLimits, Connections } from '../../../host/control/connections.js';
import { LogRecorder, WARN } from '../../fixtures/log-recorder.js';
import { shortFolder } from '../../fixtures/short-folder.js';
import { Observer } from '../../protocol/fixtures/observer.js';
import { Signal } from '../../protocol/fixtures/signal.js';

const REQUEST = 'GET / HTTP/1.1\r\nHost: x\r\n\r\n';

/** A server that answers when the test says so, or that it is busy. */
async function startServer(t: Test, limits: ConnectionLimits) {
  const path = `${shortFolder(t)}/c.sock`;
  const log = new LogRecorder();
  const signal = new Signal();
  const waiting: http.ServerResponse[] = [];
  let accepted = 0;
  const server = http.createServer({ keepAliveTimeout: 0 }, (request, response) => {
    const message = connections.refusalOf(request.socket);
    if (message !== undefined) response.writeHead(503, { connection: 'close' }).end(message);
    else waiting.push(response);
    signal.wake();
  });
  const connections = new Connections(server, log.logger, limits);
  server.on('connection', () => {
    accepted++;
    signal.wake();
  });
  await once(server.listen(path), 'listening');
  t.teardown(() => {
    server.close();
    server.closeAllConnections();
  });
  /** Connects, and resolves when the server has seen it. */
  const connect = async (bytes = ''): Promise<Observer> => {
    const before = accepted;
    const socket = net.connect(path);
    t.teardown(() => socket.destroy());
    const observer = new Observer(socket);
    await signal.until(() => accepted > before);
    if (bytes !== '') socket.write(bytes);
    return observer;
  };
  return { connect, waiting, log, signal };
}

t.test('when there are as many as there may be, the one that is idle longest makes way', async (t) => {
  const { connect, waiting, log, signal } = await startServer(t, { maxConnections: 3 });
  const [first, second, third] = [await connect(), await connect(), await connect('GET / HTT')];
  first.socket.write(REQUEST);
  await signal.until(() => waiting.length === 1);
  waiting[0]?.end('it has been idle least');
  await first.until(() => first.bytes > 0);
  const fourth = await connect();
  await second.until(() => second.closed);
  const fifth = await connect();
  await third.until(() => third.closed);
  t.same([first.closed, fourth.closed, fifth.closed], [false, false, false]);
  t.match(log.lines[0], { level: WARN, msg: /^there are 3 control connections, which is the limit/ });
  for (let count = 0; count < 100; count++) await connect();
  t.equal(log.lines.length, 3, 'however many come, the log says so three times');
});

t.test('while none is idle, further ones hear that the host is busy', async (t) => {
  const { connect, waiting, log, signal } = await startServer(t, { maxConnections: 1 });
  const busy = await connect(REQUEST + REQUEST);
  await signal.until(() => waiting.length === 2);
  const refused = await connect(REQUEST);
  await refused.until(() => refused.closed);
  t.ok(refused.bytes > 0, 'it was answered');
  t.match(log.lines, [{ level: WARN, msg: /^1 control requests are under way, which is the limit/ }]);
  const silent = await Promise.all(Array.from({ length: 8 }, () => connect()));
  const more = await connect();
  await silent[0]?.until(() => silent[0]?.closed === true);
  t.equal(more.closed, false, 'few of those wait at the same time');
  waiting[0]?.end();
  const tooEarly = await connect(REQUEST);
  await tooEarly.until(() => tooEarly.closed);
  t.equal(busy.closed, false, 'it has another request under way');
  waiting[1]?.end();
  await busy.until(() => busy.bytes > 0);
  busy.socket.destroy();
  await once(busy.socket, 'close');
});

t.test('one that is idle too long ends, also with half a request', async (t) => {
  const { connect } = await startServer(t, { idleMs: 30 });
  const halfABody = 'POST / HTTP/1.1\r\nHost: x\r\nContent-Length: 6\r\n\r\nabc';
  for (const bytes of ['', 'GET / HTT', halfABody]) {
    const idle = await connect(bytes);
    await idle.until(() => idle.closed);
    t.ok(idle.closed);
  }
});

t.test('a request whose body does not come ends', async (t) => {
  const { connect, waiting, signal } = await startServer(t, { idleMs: 30 });
  const whole = await connect(REQUEST);
  const half = await connect('PUT / HTTP/1.1\r\nhost: h\r\ncontent-length: 2\r\n\r\nx');
  await half.until(() => half.closed);
  await signal.until(() => waiting.length === 2);
  t.equal(whole.closed, false, 'what has come whole may be worked on for any time');
  waiting[0]?.end();
  await whole.until(() => whole.bytes > 0);
  whole.socket.destroy();
});

t.test('a request takes as long as it takes', async (t) => {
  const { connect, waiting, signal } = await startServer(t, { idleMs: 30 });
  const busy = await connect(REQUEST);
  await signal.until(() => waiting.length === 1);
  const idle = await connect();
  await idle.until(() => idle.closed);
  t.equal(busy.closed, false);
  waiting[0]?.end('at last');
  await busy.until(() => busy.closed);
  t.ok(busy.bytes > 0);
});

t.test('a client that goes before its answer is no trouble', async (t) => {
  const { connect, waiting, signal } = await startServer(t, { maxConnections: 1 });
  const hasty = await connect(REQUEST);
  await signal.until(() => waiting.length === 1);
  const gone = once(waiting[0] as http.ServerResponse, 'close');
  hasty.socket.destroy();
  await gone;
  const next = await connect(REQUEST);
  await signal.until(() => waiting.length === 2);
  waiting[1]?.end('hello');
  await next.until(() => next.bytes > 0);
});

t.test(
  'a connection that ends leaves no timer, whatever is behind the request that it has in hand',
  async (t) => {
    const idleMs = 54_321;
    const timers = new Set<NodeJS.Timeout>();
    const { setTimeout: start, clearTimeout: stop } = globalThis;
    const startNoted = (action: () => void, ms?: number): NodeJS.Timeout => {
      const timer = start(action, ms);
      if (ms === idleMs) timers.add(timer);
      return timer;
    };
    const stopNoted = (timer: NodeJS.Timeout | undefined): void => {
      stop(timer);
      if (timer) timers.delete(timer);
    };
    t.intercept(globalThis, 'setTimeout', { value: startNoted });
    t.intercept(globalThis, 'clearTimeout', { value: stopNoted });
    const { connect, waiting, signal } = await startServer(t, { idleMs });
    const client = await connect(REQUEST.repeat(3));
    await signal.until(() => waiting.length === 3);
    t.equal(timers.size, 1);
    client.socket.write('no request\r\n\r\n');
    await client.until(() => client.closed);
    while (timers.size > 0) await new Promise(setImmediate);
  },
);
