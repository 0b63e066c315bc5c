import { once } from 'node:events';
import http from 'node:http';
import t, { type Test } from 'tap';
import { WebSocketServer } from 'ws';
import { portferry } from '../../../host/cli/program.js';
import { TailTable } from '../../../host/cli/tail-table.js';
import { startControlServer } from '../../../host/control/late-server.js';
import { EXIT, runProgram } from '../../../protocol/program/run-program.js';
import { callProgram, TextSink } from '../../fixtures/call-program.js';
import { fakeConnection } from '../../fixtures/control-reports.js';
import { fakeForward } from '../../fixtures/fake-forward.js';
import { shortFolder } from '../../fixtures/short-folder.js';
import { Signal } from '../../protocol/fixtures/signal.js';
import { ObservedHost } from '../control/fixtures/observed-host.js';

/** `portferry tail` in this process. */
class Tail {
  readonly signal = new Signal();
  readonly stdout = new TextSink(() => this.signal.wake());
  readonly stderr = new TextSink(() => this.signal.wake());
  readonly code: Promise<number>;

  constructor(path: string, ...args: string[]) {
    this.code = runProgram(portferry, {
      args: ['tail', '--control', path, ...args],
      ...{ environment: {}, stdout: this.stdout, stderr: this.stderr },
    });
  }

  until(condition: () => boolean): Promise<void> {
    return this.signal.until(condition);
  }

  /** Its reader goes away. */
  async end(): Promise<number> {
    this.stdout.destroy(Object.assign(new Error('write EPIPE'), { code: 'EPIPE' }));
    return this.code;
  }
}

async function watched(host: ObservedHost, count = 1): Promise<void> {
  await host.signal.until(() => host.observers >= count);
}

t.test('a table that grows, with what began and what ended', async (t) => {
  const host = await ObservedHost.start(t);
  const tail = new Tail(host.path, '--open');
  await watched(host);
  host.serve('failed');
  await tail.until(() => tail.stdout.text.includes('it broke'));
  const long = 'unix:/a/very/long/path/of/a/socket.sock:/guest.sock';
  const slow = host.records.begin(fakeForward(long), { client: undefined, listener: undefined });
  t.ok(slow);
  host.serve('fine');
  await tail.until(() => tail.stdout.text.includes('the client ended'));
  const lines = tail.stdout.text.split('\n');
  t.match(lines.slice(0, 4), [
    /^TIME {10}FORWARD {13}CLIENT {11}DESTINATION {9}TO GUEST {3}TO HOST {4}TOOK {6}END {2}HOW$/,
    /^[\d:.]{12} {2}tcp localhost:8080 {2}127\.0\.0\.1:5 {6}tcp 127\.0\.0\.1:80 {36}>> {3}a client has come$/,
    /^[\d:.]{12} {2}tcp localhost:8080 .* 1 B +2 B +[\d.]+ ms +HC {3}it broke$/,
    /^[\d:.]{12} {2}unix \/a\/very\/long\/path\/of\/a\/socket\.sock {2}- +unix \/guest\.sock .*a client has come$/,
  ]);
  t.match(
    lines.at(-2),
    /^[\d:.]{12} {2}tcp localhost:8080 {12,}127.* -- {3}the client ended the connection$/,
  );
  t.equal(await tail.end(), EXIT.done);
});

t.test('JSON lines, of the forwards that are named', async (t) => {
  const host = await ObservedHost.start(t);
  const tail = new Tail(
    host.path,
    '--json',
    '--failures',
    '--forward',
    '81',
    '--forward',
    'tcp localhost:82',
  );
  await watched(host);
  for (const spec of ['80:80', '81:81', '82:82'])
    for (const how of ['fine', 'failed'] as const) host.serve(how, fakeForward(spec));
  await tail.until(() => tail.stdout.text.split('\n').length > 2);
  const events = tail.stdout.text
    .trim()
    .split('\n')
    .map((line) => JSON.parse(line));
  t.match(events, [
    { type: 'ended', connection: { forward: 'tcp localhost:81', state: 'failed' } },
    { type: 'ended', connection: { forward: 'tcp localhost:82', state: 'failed' } },
  ]);
  t.equal(events.length, 2);
  t.equal(await tail.end(), EXIT.done);
});

t.test('it says when the host goes, and connects again', async (t) => {
  const host = await ObservedHost.start(t);
  const tail = new Tail(host.path);
  await watched(host);
  await host.stop();
  await tail.until(() => /has gone \(the host is stopping\); connecting again/.test(tail.stderr.text));
  const busy = http.createServer();
  busy.on('upgrade', (_request, socket) => socket.end('HTTP/1.1 503 Service Unavailable\r\n\r\n'));
  busy.listen(host.path);
  for (let count = 0; count < 2; count++) await once(busy, 'upgrade');
  await new Promise((resolve) => busy.close(resolve));
  const server = await startControlServer(host.target, host.path, host.log.logger);
  t.teardown(() => server.close());
  await tail.until(() => /connected again: portferry 1\.2\.3, pid 7\n/.test(tail.stderr.text));
  t.equal(await tail.end(), EXIT.done);
  t.equal(tail.stderr.text.match(/has gone/g)?.length, 1, 'however often it has tried');
});

t.test('one that took long has its time in seconds', async (t) => {
  const connection = { ...fakeConnection(), ageMs: 2_500 };
  const line = new TailTable().line({ type: 'ended', time: '2026-01-01T00:00:00.000Z', connection });
  t.match(line, / 2\.5 s /);
});

t.test('a host that is not there, or does not tell', async (t) => {
  const folder = shortFolder(t);
  const call = (...args: string[]) =>
    callProgram(portferry, ['tail', '--control', `${folder}/c.sock`, ...args]);
  t.match(await call(), {
    code: EXIT.failed,
    stderr: /^portferry: no portferry host answers on .* \(ENOENT\)/,
  });
  t.match(await call('--forward', '1000-1100'), { code: EXIT.usage, stderr: /names 101 forwards/ });
  const answers = [
    (response: http.ServerResponse) => response.writeHead(404).end('what?'),
    (response: http.ServerResponse) => response.writeHead(404, { 'content-length': 1e9 }).end('too much'),
  ];
  const old = http.createServer((_request, response) => void answers.shift()?.(response));
  await once(old.listen(`${folder}/c.sock`), 'listening');
  t.teardown(() => old.close());
  for (let times = answers.length; times > 0; times--)
    t.match(await call(), {
      code: EXIT.failed,
      stderr: /tells no events \(it answered with 404\): is it an older one\?/,
    });
});

t.test('what is lost is said, and a host that dies has no reason', async (t) => {
  const path = `${shortFolder(t)}/c.sock`;
  await startTeller(t, path, (send, end) => {
    send({ type: 'hello', version: '1', pid: 1 });
    send({ type: 'lost', events: 3 });
    end();
  });
  const tail = new Tail(path);
  await tail.until(() => /3 connections are missing here/.test(tail.stderr.text));
  await tail.until(() => /has gone \(the connection was lost\)/.test(tail.stderr.text));
  t.equal(await tail.end(), EXIT.done);
});

t.test('a message that is none is a fault', async (t) => {
  const path = `${shortFolder(t)}/c.sock`;
  await startTeller(t, path, (send, end) => {
    send(undefined);
    end();
  });
  t.equal(await new Tail(path).code, EXIT.failed);
});

/** Something that tells what the test says. */
async function startTeller(
  t: Test,
  path: string,
  tell: (send: (event: object | undefined) => void, end: () => void) => void,
): Promise<void> {
  const web = http.createServer();
  const sockets = new WebSocketServer({ server: web });
  sockets.on('connection', (socket) =>
    tell(
      (event) => socket.send(JSON.stringify(event) ?? '{'),
      () => socket.terminate(),
    ),
  );
  await once(web.listen(path), 'listening');
  t.teardown(() => {
    sockets.close();
    web.close();
  });
}
