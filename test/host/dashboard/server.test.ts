import { once } from 'node:events';
import http from 'node:http';
import net from 'node:net';
import t, { type Test } from 'tap';
import { WebSocket } from 'ws';
import { type DashboardAddress, DEFAULT_ADDRESS } from '../../../host/dashboard/address.js';
import { LateDashboard } from '../../../host/dashboard/late-dashboard.js';
import { shortFolder } from '../../fixtures/short-folder.js';
import { ObservedHost } from '../control/fixtures/observed-host.js';

const ANY: DashboardAddress = { ip: '127.0.0.1', port: 0, orAny: false };

/** A dashboard of a host that the test makes things happen in. */
class Running {
  readonly host: ObservedHost;
  readonly dashboard: LateDashboard;
  token = '';
  port = 0;

  constructor(t: Test, host: ObservedHost, maxConnections: number) {
    this.host = host;
    this.dashboard = new LateDashboard({
      target: host.target,
      tokenPath: `${shortFolder(t)}/token`,
      descriptors: { takeDashboard: () => maxConnections },
      logger: host.log.logger,
    });
    t.teardown(() => this.dashboard.close());
  }

  static async start(t: Test, maxConnections = 8): Promise<Running> {
    const running = new Running(t, await ObservedHost.start(t), maxConnections);
    await running.open();
    return running;
  }

  async open(address = ANY): Promise<string> {
    const url = new URL((await this.dashboard.open(address)).address);
    this.port = Number(url.port);
    this.token = url.hash.replace('#token=', '');
    return url.href;
  }

  async ask(
    path: string,
    headers: http.OutgoingHttpHeaders = this.withToken,
    method = 'GET',
  ): Promise<{ status: number | undefined; headers: http.IncomingHttpHeaders; text: string }> {
    const request = http.request({ host: '127.0.0.1', port: this.port, path, method, headers, agent: false });
    request.end();
    const [response] = (await once(request, 'response')) as [http.IncomingMessage];
    let text = '';
    for await (const chunk of response) text += chunk;
    return { status: response.statusCode, headers: response.headers, text };
  }

  get withToken(): http.OutgoingHttpHeaders {
    return { authorization: `Bearer ${this.token}` };
  }

  /** @returns the first message, or the status with which it is refused */
  async subscribe(t: Test, protocols: string[], headers: http.OutgoingHttpHeaders = {}): Promise<unknown> {
    const socket = new WebSocket(`ws://127.0.0.1:${this.port}/v1/events?traffic=1`, protocols, { headers });
    t.teardown(() => socket.terminate());
    socket.on('error', () => {});
    return Promise.race([
      once(socket, 'message').then(([data]) => ({ ...JSON.parse(String(data)), protocol: socket.protocol })),
      once(socket, 'unexpected-response').then(([, response]) => response.statusCode),
    ]);
  }
}

t.test('the page is the same for all, and nothing else can run in it', async (t) => {
  const running = await Running.start(t);
  const { status, headers, text } = await running.ask('/', {});
  t.equal(status, 200);
  t.match(text, /<!doctype html>/i);
  t.match(headers, {
    'content-type': 'text/html; charset=utf-8',
    'content-security-policy':
      /^default-src 'none'; script-src 'self'; style-src 'self'; connect-src 'self'; img-src 'self'; /,
    'referrer-policy': 'no-referrer',
    'x-content-type-options': 'nosniff',
    'cross-origin-opener-policy': 'same-origin',
    'cross-origin-resource-policy': 'same-origin',
    'cache-control': 'no-store',
  });
  t.notMatch(text, new RegExp(running.token));
  t.notOk(Object.keys(headers).some((name) => name.startsWith('access-control-')));
  t.match(await running.ask('/icon.svg?x', {}), {
    status: 200,
    headers: { 'content-type': 'image/svg+xml', 'cache-control': /immutable/ },
  });
});

t.test('what the host reports takes the token, and nothing can be changed', async (t) => {
  const running = await Running.start(t);
  for (const path of [
    '/v1/status',
    '/v1/forwards',
    '/v1/connections',
    '/v1/path?of=8080',
    '/v1/doctor?of=8080',
  ]) {
    t.match(await running.ask(path), { status: 200, headers: { 'cache-control': 'no-store' } }, path);
    for (const headers of [
      {},
      { authorization: `Bearer ${running.token}x` },
      { cookie: `token=${running.token}` },
    ])
      t.match(await running.ask(path, headers), {
        status: 401,
        text: /portferry dashboard prints the address/,
      });
  }
  t.match(JSON.parse((await running.ask('/v1/status')).text), { version: '1.2.3' });
  t.match(await running.ask('/v1/path?of='), { status: 400, text: /is neither a port/ });
  for (const path of [
    '/v1/dump',
    '/v1/dashboard',
    '/metrics',
    '/forwards/list',
    '/../package.json',
    '/%2e%2e/x',
    '//x',
  ]) {
    t.match(await running.ask(path), { status: 404 }, path);
    t.match(await running.ask(path, {}), { status: 401 }, path);
  }
  for (const method of ['POST', 'PUT', 'DELETE', 'HEAD', 'OPTIONS'])
    t.match(await running.ask('/v1/forwards', running.withToken, method), {
      status: 405,
      headers: { allow: 'GET' },
    });
  t.same(running.host.forwards.list(), []);
  const lines = JSON.stringify(running.host.log.lines);
  t.notMatch(lines, new RegExp(running.token), 'the token is in no log');
});

t.test('a page from elsewhere gets nothing, with or without the token', async (t) => {
  const running = await Running.start(t);
  const { withToken, token } = running;
  for (const path of ['/', '/icon.svg', '/v1/status', '/nothing'])
    for (const headers of [
      { origin: 'http://evil.example' },
      { origin: 'null' },
      { host: 'evil.example' },
      { host: `rebound.example:${running.port}` },
      { 'sec-fetch-site': 'cross-site', 'sec-fetch-mode': 'no-cors', 'sec-fetch-dest': 'script' },
    ])
      t.match(await running.ask(path, { ...withToken, ...headers }), { status: 403 }, path);
  const protocols = ['portferry', `token.${token}`];
  t.equal(await running.subscribe(t, protocols, { origin: 'http://evil.example' }), 403);
  t.equal(await running.subscribe(t, protocols, { host: 'rebound.example' }), 403);
  t.equal(await running.subscribe(t, ['portferry'], {}), 401);
  t.equal(await running.subscribe(t, ['portferry', 'token.x'], {}), 401);
  t.match(await running.subscribe(t, protocols, { origin: `http://127.0.0.1:${running.port}` }), {
    type: 'hello',
    protocol: 'portferry',
  });
});

t.test('there are only so many connections, of which half may be WebSockets', async (t) => {
  const running = await Running.start(t, 2);
  const protocols = ['portferry', `token.${running.token}`];
  t.match(await running.subscribe(t, protocols), { type: 'hello' });
  t.equal(await running.subscribe(t, protocols), 503, 'the second one');
  t.match(await running.ask('/v1/status'), { status: 200 });
  const long = await running.ask('/', { cookie: 'x'.repeat(9_000) });
  t.equal(long.status, 431, 'headers are bounded');
});

t.test('it is opened once, and closed with whoever looks', async (t) => {
  const running = new Running(t, await ObservedHost.start(t), 8);
  t.equal(running.dashboard.report, undefined);
  const both = await Promise.all([running.open(), running.open()]);
  t.equal(both[0], both[1]);
  t.same(running.dashboard.report?.address, both[0]);
  const socket = new WebSocket(`ws://127.0.0.1:${running.port}/v1/events`, ['p', `token.${running.token}`]);
  await once(socket, 'message');
  const closed = once(socket, 'close');
  // As a browser, which keeps its connection for the next request.
  const idle = net.connect(running.port, '127.0.0.1');
  idle.write(`GET / HTTP/1.1\r\nHost: 127.0.0.1:${running.port}\r\n\r\n`);
  await once(idle, 'data');
  const dropped = once(idle.resume(), 'close');
  await running.dashboard.close();
  await closed;
  await dropped;
  const client = net.connect(running.port, '127.0.0.1');
  t.match(await once(client, 'error'), [{ code: 'ECONNREFUSED' }]);
});

t.test('where the default port is taken it has another one; where a chosen one is, it fails', async (t) => {
  const other = net.createServer().listen(0, '127.0.0.1');
  await once(other, 'listening');
  t.teardown(() => other.close());
  const { port } = other.address() as net.AddressInfo;
  const running = new Running(t, await ObservedHost.start(t), 8);
  await t.rejects(running.open({ ...ANY, port }), {
    name: 'OperationError',
    message: new RegExp(`the dashboard cannot listen on 127\\.0\\.0\\.1:${port}: EADDRINUSE`),
  });
  t.equal(running.dashboard.report, undefined);
  await running.open({ ...DEFAULT_ADDRESS, port });
  t.not(running.port, port);
  t.match(running.host.log.matching(/is taken/), [{ level: 40 }]);
});

t.test('a dashboard that could not be opened is closed, too', async (t) => {
  const running = new Running(t, await ObservedHost.start(t), 8);
  const opening = running.open({ ...ANY, ip: '192.0.2.1' });
  await Promise.all([running.dashboard.close(), t.rejects(opening, { message: /EADDRNOTAVAIL/ })]);
});
