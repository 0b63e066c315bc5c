import { once } from 'node:events';
import { statSync } from 'node:fs';
import http from 'node:http';
import net from 'node:net';
import { join } from 'node:path';
import t, { type Test } from 'tap';
import { Api } from '../../../guest/publish/api.js';
import { HostControl } from '../../../guest/publish/host-control.js';
import type { HostLease } from '../../../guest/publish/host-lease.js';
import type { LeaseTimes } from '../../../guest/publish/lease-link.js';
import { freePort } from '../../fixtures/free-ports.js';
import { LeaseHost, port, takenPort } from '../../fixtures/leases.js';
import { LogRecorder } from '../../fixtures/log-recorder.js';
import { shortFolder } from '../../fixtures/short-folder.js';
import { serving, writeForEver } from './fixtures/serving.js';

interface Guest {
  api: Api;
  path: string;
  host: LeaseHost;
  control: HostControl;
  log: LogRecorder;
}

async function start(
  t: Test,
  openLease?: (publisher: string) => HostLease,
  times: Partial<LeaseTimes> = {},
): Promise<Guest> {
  const host = await LeaseHost.start(t, { allow: ['127.0.0.1'] });
  const log = new LogRecorder();
  const control = new HostControl(log.logger, { answerTimeoutMs: 60_000, ...times });
  control.onUp(host.channel().guest.multiplexer);
  const api = new Api(
    { hostControl: openLease ? { openLease } : control, describe: () => 'everything\n' },
    log.logger,
  );
  const path = join(shortFolder(t), 'api.sock');
  await api.listen(path);
  t.teardown(() => {
    api.close();
    control.close();
  });
  return { api, path, host, control, log };
}

interface Answer {
  status: number | undefined;
  type: string | undefined;
  text: string;
}

async function ask(
  { path }: Guest,
  method: string,
  resource: string,
  body?: unknown,
  agent: http.Agent | false = false,
): Promise<Answer> {
  const payload = typeof body === 'string' ? body : (JSON.stringify(body) ?? '');
  const headers = { 'content-length': Buffer.byteLength(payload) };
  const request = http.request({ socketPath: path, method, path: resource, agent, headers });
  request.end(payload);
  const [response] = (await once(request, 'response')) as [http.IncomingMessage];
  let text = '';
  for await (const chunk of response) text += chunk;
  return { status: response.statusCode, type: response.headers['content-type'], text };
}

const DONE = { status: 200, text: '' };

t.test('vpnkit’s API, for whoever may use the socket', async (t) => {
  const guest = await start(t);
  const { host } = guest;
  t.equal(statSync(guest.path).mode & 0o777, 0o600);
  t.match(await ask(guest, 'GET', '/forwards/list'), { status: 200, type: 'application/json', text: '[]' });
  for (const [expose, unexpose] of [
    ['PUT', 'DELETE'],
    ['POST', 'POST'],
  ] as const) {
    t.match(await ask(guest, expose, '/forwards/expose/port', port(0)), DONE);
    const [listed] = JSON.parse((await ask(guest, 'GET', '/forwards/list')).text);
    t.match(listed, { ...port(0), out_port: Number });
    t.match(host.forwards.list(), [{ id: `tcp 127.0.0.1:${listed.out_port}`, publisher: 'api' }]);
    t.match(await ask(guest, unexpose, '/forwards/unexpose/port', listed), DONE);
    t.same(host.forwards.list(), []);
  }
  t.match(await ask(guest, 'GET', '/forwards/dump'), { status: 200, text: 'everything\n' });
  t.match(await ask(guest, 'GET', '/nope'), {
    status: 404,
    text: '{"message":"there is no GET /nope here"}',
  });
});

t.test('failures are messages with the host’s status', async (t) => {
  const guest = await start(t);
  const taken = await takenPort(t);
  const cases: [resource: string, body: unknown, status: number, message: RegExp][] = [
    ['expose/port', port(taken.port), 400, /address already in use/],
    ['expose/port', { proto: 'tcp', in_port: 80 }, 403, /policy does not allow/],
    ['expose/pipe', { proto: 'unix', out_path: '/etc/x', in_path: '/y' }, 403, /policy does not allow/],
    ['expose/pipe', port(1), 400, /exposed pipes can only/],
    ['expose/port', { proto: 'tcp' }, 400, /"in_port"/],
    ['unexpose/port', { proto: 'tcp', out_ip: 'x' }, 400, /"out_ip"/],
    ['expose/port', '{', 400, /not valid JSON/],
    ['expose/port', undefined, 400, /not valid JSON/],
    ['expose/port', 'null', 400, /must be one JSON object/],
    ['expose/port', '[]', 400, /must be one JSON object/],
    ['expose/port', '7', 400, /must be one JSON object/],
    ['expose/port', '['.repeat(16_000), 400, /nested deeper than 4/],
    ['expose/port', `[${'0,'.repeat(7_000)}0]`, 400, /more than 64 values/],
    ['expose/port', { ...port(1), out_port: '1' }, 400, /"out_port" must be a port from 0 to 65535, not "1"/],
    ['unexpose/port', { ...port(1), out_ip: { a: 1 } }, 400, /"out_ip" must be a text of at most/],
    ['expose/port', '{"proto":"\u001b[2J', 400, /^the body is not valid JSON: \P{Cc}*$/u],
    ['expose/port', 'x'.repeat(70_000), 413, /a body of more than 16384 bytes/],
  ];
  for (const [resource, body, status, message] of cases) {
    const answer = await ask(guest, 'POST', `/forwards/${resource}`, body);
    t.match(answer, { status, type: 'application/json' }, resource);
    t.match(JSON.parse(answer.text), { message });
  }
  guest.control.onDown();
  guest.control.close();
  t.match(await ask(guest, 'POST', '/forwards/expose/port', port(0)), { status: 503 });
});

t.test('a proxy’s forward lives as long as its connection', async (t) => {
  const guest = await start(t);
  const number = await freePort();
  const agent = new http.Agent({ keepAlive: true, maxSockets: 1 });
  t.match(await ask(guest, 'POST', '/v1/proxy', port(number), agent), {
    ...DONE,
    type: 'text/plain; charset=utf-8',
  });
  t.match(guest.host.forwards.list(), [{ id: `tcp 127.0.0.1:${number}`, publisher: 'proxy' }]);
  t.match(await ask(guest, 'POST', '/v1/proxy', port(number), agent), {
    status: 400,
    text: 'this connection has its forward already',
  });
  guest.control.onDown();
  await guest.host.until((forwards) => forwards.length === 1);
  guest.control.onUp(guest.host.channel().guest.multiplexer);
  await guest.host.until((forwards) => forwards.length === 1);
  agent.destroy();
  await guest.host.until((forwards) => forwards.length === 0);
});

t.test('what a proxy is told when its port cannot be had', async (t) => {
  const guest = await start(t);
  const taken = await takenPort(t);
  const agent = new http.Agent({ keepAlive: true, maxSockets: 1 });
  t.teardown(() => agent.destroy());
  const cases: [body: unknown, status: number, message: RegExp][] = [
    [port(taken.port), 400, /^cannot listen on 127\.0\.0\.1:\d+: address already in use [^\n]*$/],
    [{ proto: 'tcp', in_port: 80 }, 403, /^the host's policy does not allow tcp 0\.0\.0\.0:0: [^\n]*$/],
    ['{', 400, /^the body is not valid JSON/],
    ['x'.repeat(17_000), 503, /^a body of more than/],
  ];
  for (const [body, status, text] of cases)
    t.match(await ask(guest, 'POST', '/v1/proxy', body, agent), {
      status,
      type: 'text/plain; charset=utf-8',
      text,
    });
  await taken.free();
  t.match(await ask(guest, 'POST', '/v1/proxy', port(taken.port), agent), DONE, 'it may try again');
  guest.api.close();
  await guest.host.until((forwards) => forwards.length === 0);
});

t.test('who goes in the middle of a request leaves nothing', async (t) => {
  let opened = 0;
  const leases: HostLease[] = [];
  const guest = await start(t, (publisher) => {
    const lease = guest.control.openLease(publisher);
    opened++;
    leases.push(lease);
    return lease;
  });
  const cut = net.connect(guest.path);
  cut.write('POST /v1/proxy HTTP/1.1\r\nhost: x\r\ncontent-length: 100\r\n\r\n{');
  while (opened < 1) await new Promise(setImmediate);
  cut.destroy();
  await once(cut, 'close');

  // Here the request is whole, and the host has not been reached yet.
  guest.control.onDown();
  const waiting = net.connect(guest.path);
  const body = JSON.stringify(port(0));
  waiting.write(`POST /v1/proxy HTTP/1.1\r\nhost: x\r\ncontent-length: ${body.length}\r\n\r\n${body}`);
  while (opened < 2) await new Promise(setImmediate);
  waiting.destroy();
  await once(waiting, 'close');
  for (const lease of leases) await t.rejects(lease.expose(port(0)), { message: /not wanted any more/ });
  t.same(guest.log.matching(/failed/), []);
});

t.test('what a client has not waited for is not exposed', async (t) => {
  const signals: AbortSignal[] = [];
  const guest = await start(t, (publisher) => {
    const lease = guest.control.openLease(publisher);
    const expose = lease.expose.bind(lease);
    lease.expose = (forward, wanted = AbortSignal.abort()) => {
      signals.push(wanted);
      return expose(forward, wanted);
    };
    return lease;
  });
  guest.control.onDown();
  const client = net.connect(guest.path);
  const body = JSON.stringify(port(0));
  client.write(
    `PUT /forwards/expose/port HTTP/1.1\r\nhost: x\r\ncontent-length: ${body.length}\r\n\r\n${body}`,
  );
  while (signals.length < 1) await new Promise(setImmediate);
  client.destroy();
  while (!signals[0]?.aborted) await new Promise(setImmediate);
  guest.control.onUp(guest.host.channel().guest.multiplexer);
  t.match(await ask(guest, 'GET', '/forwards/list'), { status: 200, text: '[]' });
});

t.test('a fault of ours is logged, and no more often than other lines', async (t) => {
  const guest = await start(t, () => {
    throw new TypeError('a fault');
  });
  for (let count = 0; count < 10; count++)
    t.match(await ask(guest, 'GET', '/forwards/list'), { status: 500, text: '{"message":"a fault"}' });
  t.match(await guest.log.line(/^a request for a forward failed/), { err: { message: 'a fault' } });
  t.equal(guest.log.matching(/^a request for a forward failed/).length, 3);
  guest.api.close();
  t.match(guest.log.lines.at(-1), { more: 7 });
});

t.test('a host that answers what is no answer, or never ends its answer', async (t) => {
  const guest = await start(t, undefined, { channelWaitMs: 1_500, retryMs: 1 });
  const cases: [resource: string, end: (response: http.ServerResponse) => void, reason: RegExp][] = [
    [
      '/forwards/expose/port',
      (response) => response.socket?.end('HTTP/1.1 042 x\r\ncontent-length: 0\r\n\r\n'),
      /the host has not answered: it answers with status 42, which is no answer/,
    ],
    ['/v1/proxy', writeForEver, /^the host has not answered: its answer is a body of more than 69632 bytes$/],
  ];
  for (const [resource, answer, text] of cases) {
    const channel = guest.host.channel();
    channel.b.owner.accept = serving((request, response) => {
      if (request.url === '/v1/lease') response.end('{"forwards":[]}');
      else answer(response);
    });
    guest.control.onDown();
    guest.control.onUp(channel.guest.multiplexer);
    t.match(await ask(guest, 'POST', resource, port(0)), { status: 503, text });
    t.match(await ask(guest, 'GET', '/forwards/list'), { status: 200, text: '[]' });
  }
  t.same(guest.log.matching(/failed/), []);
});

t.test('two sockets, and one that cannot be had', async (t) => {
  const guest = await start(t);
  const other = join(shortFolder(t), 'other.sock');
  await guest.api.listen(other);
  t.match(await ask({ ...guest, path: other }, 'GET', '/forwards/dump'), { status: 200 });
  await t.rejects(guest.api.listen(other), { name: 'OperationError', message: /in use by another process/ });
});

t.test('an error of the listening socket is logged', async (t) => {
  const create = http.createServer;
  t.teardown(() => {
    http.createServer = create;
  });
  const servers: http.Server[] = [];
  http.createServer = ((...args: Parameters<typeof create>) => {
    const server = create(...args);
    servers.push(server);
    return server;
  }) as typeof create;
  const guest = await start(t);
  servers.at(-1)?.emit('error', new Error('accept EMFILE'));
  t.match(await guest.log.line(/cannot accept clients/), { err: { message: 'accept EMFILE' } });
});
