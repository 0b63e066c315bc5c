import { once } from 'node:events';
import { existsSync, statSync } from 'node:fs';
import http from 'node:http';
import net from 'node:net';
import { mock } from 'node:test';
import t, { type Test } from 'tap';
import { ControlClient } from '../../../host/control/client.js';
import type { ConnectionLimits } from '../../../host/control/connections.js';
import { startControlServer } from '../../../host/control/late-server.js';
import { type ControlTarget, MAX_BODY_VALUES } from '../../../host/control/server.js';
import { MAX_NAMED } from '../../../host/control/unmatched.js';
import { ForwardTable } from '../../../host/forwards/forward-table.js';
import { formatDump } from '../../../host/records/dump.js';
import { createLogger } from '../../../protocol/program/logger.js';
import { fakeConnection, fakeDump, fakeStatus } from '../../fixtures/control-reports.js';
import { fakeControlTarget } from '../../fixtures/fake-control-target.js';
import { freePorts } from '../../fixtures/free-ports.js';
import { LeaseHost, port, takenPort } from '../../fixtures/leases.js';
import { LogRecorder } from '../../fixtures/log-recorder.js';
import { shortFolder } from '../../fixtures/short-folder.js';

interface Control {
  path: string;
  target: ControlTarget;
  lines: string[];
  close(): Promise<void>;
}

async function startControl(t: Test, limits?: ConnectionLimits): Promise<Control> {
  const lines: string[] = [];
  const logger = createLogger('info', { write: (line) => void lines.push(line) });
  const forwards = new ForwardTable({ onClient: (socket) => socket.reset(), logger });
  const target = fakeControlTarget(forwards);
  const path = `${shortFolder(t)}/run/control.sock`;
  const server = await startControlServer(target, path, logger, limits);
  t.teardown(() => forwards.close());
  t.teardown(() => server.close());
  return { path, target, lines, close: () => server.close() };
}

interface Answer {
  status: number | undefined;
  text: string;
}

/** Sends `body` as it stands, with the content-type of `curl -d` unless another or none is given. */
async function send(
  path: string,
  method: string,
  resource: string,
  body?: unknown,
  type: string | undefined = 'application/x-www-form-urlencoded',
): Promise<Answer> {
  const payload = typeof body === 'string' ? body : JSON.stringify(body ?? '');
  const headers: http.OutgoingHttpHeaders = type === '' ? {} : { 'content-type': type };
  if (body !== undefined) headers['content-length'] = Buffer.byteLength(payload);
  const request = http.request({ socketPath: path, method, path: resource, headers, agent: false });
  request.end(body === undefined ? undefined : payload);
  const [response] = (await once(request, 'response')) as [http.IncomingMessage];
  let text = '';
  for await (const chunk of response) text += chunk;
  return { status: response.statusCode, text };
}

const PORT = { proto: 'tcp', out_ip: '127.0.0.1', out_port: 0, in_ip: '172.17.0.2', in_port: 80 };

t.test('the socket is the user’s own, in a folder that is too', async (t) => {
  const { path } = await startControl(t);
  t.equal(statSync(path).mode & 0o777, 0o600);
  t.equal(statSync(path.replace(/\/[^/]*$/, '')).mode & 0o777, 0o700);
});

t.test('a folder that cannot be made', async (t) => {
  const { target } = await startControl(t);
  const path = `${t.testdir({ file: '' })}/file/x/control.sock`;
  await t.rejects(startControlServer(target, path, createLogger('silent')), {
    name: 'OperationError',
    message: /^cannot listen on .*: ENOTDIR/,
  });
});

t.test('vpnkit’s API: ports', async (t) => {
  const { path } = await startControl(t);
  t.same(await send(path, 'GET', '/forwards/list'), { status: 200, text: '[]' });
  for (const method of ['PUT', 'POST']) {
    t.same(await send(path, method, '/forwards/expose/port', PORT), { status: 200, text: '' });
    const listed = JSON.parse((await send(path, 'GET', '/forwards/list')).text);
    t.equal(listed.length, 1);
    t.same(listed, [{ ...PORT, out_port: listed[0].out_port }]);
    t.not(listed[0].out_port, 0);
    t.same(
      await send(path, method, '/forwards/expose/port', listed[0]),
      { status: 200, text: '' },
      'idempotent',
    );
    const remove = method === 'PUT' ? 'DELETE' : 'POST';
    t.same(await send(path, remove, '/forwards/unexpose/port', listed[0]), { status: 200, text: '' });
    t.same(await send(path, remove, '/forwards/unexpose/port', listed[0]), { status: 200, text: '' });
    t.same(await send(path, 'GET', '/forwards/list'), { status: 200, text: '[]' });
  }
});

t.test('the dashboard: where it is, and switched on', async (t) => {
  const { path } = await startControl(t);
  t.match(await send(path, 'GET', '/v1/dashboard'), { status: 400, text: /started without --dashboard/ });
  const switchedOn = await new ControlClient(path).dashboard();
  t.match(switchedOn.address, /#token=/);
  t.same(JSON.parse((await send(path, 'GET', '/v1/dashboard')).text), switchedOn);
});

t.test('vpnkit’s API: pipes, and the dump', async (t) => {
  const { path } = await startControl(t);
  const pipe = { proto: 'unix', out_path: `${shortFolder(t)}/p.sock`, in_path: '/run/x.sock' };
  t.same(await send(path, 'PUT', '/forwards/expose/pipe', pipe), { status: 200, text: '' });
  t.same(JSON.parse((await send(path, 'GET', '/forwards/list')).text), [pipe]);
  t.same(await send(path, 'DELETE', '/forwards/unexpose/pipe', pipe), { status: 200, text: '' });
  t.same(await send(path, 'GET', '/forwards/dump'), { status: 200, text: formatDump(fakeDump()) });
});

t.test('the body is JSON, whatever the content-type says', async (t) => {
  const { path } = await startControl(t);
  for (const type of ['application/json', 'text/plain', '', ';;', 'multipart/form-data'])
    t.match(await send(path, 'PUT', '/forwards/expose/port', PORT, type), { status: 200 }, type);
});

t.test('what fails is 400 with a message that Docker can show', async (t) => {
  const { path, lines } = await startControl(t);
  const taken = net.createServer().listen(0, '127.0.0.1');
  await once(taken, 'listening');
  t.teardown(() => taken.close());
  const { port } = taken.address() as net.AddressInfo;
  const cases: [string, unknown, RegExp][] = [
    ['/forwards/expose/port', { ...PORT, out_port: port }, /address already in use/],
    ['/forwards/expose/port', { ...PORT, proto: 'sctp' }, /"proto" must be "tcp", "udp" or "unix"/],
    ['/forwards/expose/port', { proto: 'unix', out_path: '/a', in_path: '/b' }, /exposed ports can only/],
    ['/forwards/expose/pipe', PORT, /exposed pipes can only/],
    ['/forwards/expose/pipe', { ...PORT, proto: 'udp' }, /exposed pipes can only/],
    ['/forwards/unexpose/pipe', PORT, /exposed pipes can only/],
    ['/forwards/expose/port', '{"proto":', /the body is not valid JSON/],
    ['/forwards/expose/port', '', /the body must be one JSON object/],
    ['/forwards/expose/port', undefined, /the body must be one JSON object/],
    ['/forwards/expose/port', 'null', /the body must be one JSON object/],
    ['/v1/forwards', { specs: ['nonsense'] }, /cannot forward "nonsense"/],
    ['/v1/forwards', { specs: [] }, /the body must be a JSON object such as/],
    ['/v1/forwards', { specs: [1] }, /the body must be a JSON object such as/],
    ['/v1/forwards', 'null', /the body must be a JSON object such as/],
    [
      '/v1/forwards',
      `[${'0,'.repeat(MAX_BODY_VALUES)}0]`,
      new RegExp(`the body has more than ${MAX_BODY_VALUES} values`),
    ],
  ];
  for (const [resource, body, message] of cases) {
    const { status, text } = await send(path, 'POST', resource, body);
    t.equal(status, 400, `${resource} ${String(JSON.stringify(body)).slice(0, 100)}`);
    t.match(JSON.parse(text), { message });
  }
  t.equal(lines.filter((line) => /was refused/.test(line)).length, cases.length);
});

t.test('what is not there, what is too large, and what fails in the host', async (t) => {
  const { path, target } = await startControl(t);
  t.match(await send(path, 'GET', '/nope'), {
    status: 404,
    text: '{"message":"there is no GET /nope here"}',
  });
  const headers = { 'content-length': 1024 * 1024 + 1 };
  const large = http.request({ socketPath: path, method: 'PUT', path: '/forwards/expose/port', headers });
  large.flushHeaders();
  const [refused] = (await once(large, 'response')) as [http.IncomingMessage];
  t.equal(refused.statusCode, 413);
  refused.setEncoding('utf8');
  const [text] = await once(refused, 'data');
  t.match(JSON.parse(text), { message: /too large/, code: 'FST_ERR_CTP_BODY_TOO_LARGE' });
  large.destroy();
  target.status = () => {
    throw new TypeError('a fault');
  };
  t.match(await send(path, 'GET', '/v1/status'), { status: 500, text: '{"message":"a fault"}' });
});

t.test('our own API, through its client', async (t) => {
  const { path } = await startControl(t);
  const client = new ControlClient(path);
  t.same(await client.status(), fakeStatus());
  t.same(await client.connections(), [fakeConnection()]);
  t.same(await client.dump(), fakeDump());
  t.equal(await client.dumpText(), formatDump(fakeDump()));
  t.same(await client.forwards(), []);
  const exposed = await client.expose(['127.0.0.1:0:80', '127.0.0.1:0:81']);
  t.match(exposed, [
    { proto: 'tcp', out_ip: '127.0.0.1', in_ip: '127.0.0.1', in_port: 80, destination: 'tcp 127.0.0.1:80' },
    { in_port: 81, origin: 'runtime', counters: { connections: 0 }, createdAt: /T.*Z$/ },
  ]);
  t.same(await client.forwards(), exposed);
  const [first, second] = exposed.map(({ out_port: hostPort }) => hostPort);
  t.same(
    await client.unexpose([`127.0.0.1:${second}`, `10.0.0.1:${first}`, `${first}/udp`, '1', 'unix:/x']),
    {
      removed: [exposed[1]],
      unmatched: [
        `nothing is forwarded from 10.0.0.1:${first}; what is there: tcp 127.0.0.1:${first} → 127.0.0.1:80`,
        `nothing is forwarded from ${first}/udp; what is there: tcp 127.0.0.1:${first} → 127.0.0.1:80`,
        'nothing is forwarded from 1',
        'nothing is forwarded from unix:/x',
      ],
    },
  );
  await t.rejects(client.expose(['x']), { name: 'OperationError', message: /cannot forward "x"/ });
});

t.test('of much that is there a few are named', async (t) => {
  const { path } = await startControl(t);
  const client = new ControlClient(path);
  const first = await freePorts(MAX_NAMED + 2);
  const range = `${first}-${first + MAX_NAMED + 1}`;
  await client.expose([`127.0.0.1:${range}:${range}`]);
  const { unmatched } = await client.unexpose([`[::1]:${range}`]);
  t.match(unmatched, [
    /^nothing is forwarded from \[::1\]:.*; what is there: (tcp [^,]*, ){2}tcp [^,]* and 2 more$/,
  ]);
});

t.test('whoever changes what cannot be saved is told so', async (t) => {
  const { path, target } = await startControl(t);
  Object.assign(target, { saveProblem: 'cannot write the state file /x: no space left on device (ENOSPC)' });
  const client = new ControlClient(path);
  const [exposed] = await client.expose(['127.0.0.1:0:80']);
  t.equal(
    exposed?.warning,
    'it is listened on, but will not outlast a restart: cannot write the state file /x: no space left on device (ENOSPC)',
  );
  const { removed } = await client.unexpose([`${exposed?.out_port}`]);
  t.match(removed, [{ warning: /^it is removed, but may be back after a restart: cannot write / }]);
});

t.test('what a guest wants is listed too, with the reason why it is not there', async (t) => {
  const host = new LeaseHost(t, { allow: ['127.0.0.1'] });
  const path = `${shortFolder(t)}/c.sock`;
  const server = await startControlServer(fakeControlTarget(host.forwards), path, host.log.logger);
  t.teardown(() => server.close());
  const client = new ControlClient(path);
  const taken = await takenPort(t);
  const lease = host.leases.open();
  await lease?.set({
    publisher: 'docker',
    forwards: [port(taken.port), port(0), { proto: 'tcp', in_port: 80 }],
  });
  const listed = await client.forwards();
  t.match(listed, [
    { state: 'listening', origin: 'published', publisher: 'docker' },
    {
      ...port(taken.port),
      ...{ id: `tcp 127.0.0.1:${taken.port}`, destination: 'tcp 127.0.0.1:80', addresses: [] },
      ...{ state: 'failed', error: /in use/, origin: 'published', publisher: 'docker' },
      ...{ createdAt: /T.*Z$/, counters: { connections: 0 } },
    },
    { state: 'refused', error: /policy does not allow/ },
  ]);
  t.match(JSON.parse((await send(path, 'GET', '/forwards/list')).text), [port(Number(listed[0]?.out_port))]);
  t.equal(JSON.parse((await send(path, 'GET', '/forwards/list')).text).length, 1);
  t.match(await client.unexpose([`127.0.0.1:${listed[0]?.out_port}`]), { removed: [{ id: listed[0]?.id }] });
  t.match(await send(path, 'DELETE', '/forwards/unexpose/port', port(taken.port)), { status: 200 });
  t.match(await client.forwards(), [{ state: 'refused' }]);
});

t.test('closes at once, whoever is connected', async (t) => {
  const { path, close } = await startControl(t);
  const agent = new http.Agent({ keepAlive: true });
  const request = http.get({ socketPath: path, path: '/v1/status', agent });
  const [response] = (await once(request, 'response')) as [http.IncomingMessage];
  response.resume();
  await once(response, 'end');
  const idle = net.connect({ path });
  await once(idle, 'connect');
  const gone = new Promise((resolve) => idle.on('close', resolve));
  idle.resume();
  await close();
  await gone;
  agent.destroy();
});

t.test('an error of the listening socket is logged', async (t) => {
  const made = mock.method(net, 'createServer').mock;
  t.teardown(() => mock.restoreAll());
  const { lines } = await startControl(t);
  made.calls[0]?.result?.emit('error', new Error('accept EMFILE'));
  t.match(JSON.parse(lines[0] ?? ''), { err: { message: 'accept EMFILE' } });
});

t.test('an API that cannot be loaded is loaded with the next client', async (t) => {
  const { target } = await startControl(t);
  const log = new LogRecorder();
  const path = `${shortFolder(t)}/control.sock`;
  let loads = 0;
  const load = async (): Promise<typeof import('../../../host/control/server.js')> => {
    if (++loads === 1) throw new Error('open EMFILE');
    return import('../../../host/control/server.js');
  };
  const server = await startControlServer(target, path, log.logger, {}, load);
  t.teardown(() => server.close());
  const first = net.connect({ path }).resume();
  await once(first, 'close');
  t.match(await log.line(/cannot be loaded/), { err: { message: 'open EMFILE' } });
  const { status } = await send(path, 'GET', '/v1/forwards');
  t.equal(status, 200);
  t.equal(loads, 2);
});

t.test('it can be closed before anybody has come', async (t) => {
  const { path, close } = await startControl(t);
  await close();
  t.equal(existsSync(path), false);
});

t.test('a request beyond those that can be under way hears that the host is busy', async (t) => {
  const { path, target, lines } = await startControl(t, { maxConnections: 1 });
  let answer: () => void = () => {};
  const asked = new Promise<void>((resolve) => {
    target.status = () => {
      resolve();
      // A host that takes its time.
      return new Promise<void>((done) => {
        answer = done;
      }).then(() => fakeStatus()) as never;
    };
  });
  const client = new ControlClient(path);
  const first = client.status();
  await asked;
  await t.rejects(client.forwards(), {
    message: 'the host is busy: 1 control requests are under way, and it takes no more at once; try again',
  });
  t.match(await send(path, 'GET', '/v1/status'), { status: 503 });
  answer();
  t.same(await first, fakeStatus());
  t.same(await client.forwards(), []);
  t.equal(lines.filter((line) => /which is the limit/.test(line)).length, 2, 'one line each, and no stack');
});

t.test('the way of a port, and what is wrong with it', async (t) => {
  const { path } = await startControl(t);
  const client = new ControlClient(path);
  t.match(await client.pathOf('8080'), { asked: 'tcp 8080', forwards: [{ id: 'tcp *:8080' }] });
  t.match(await client.doctor('web'), { asked: 'web', ok: false });
  t.match(await client.health(), {
    ok: true,
    checks: [{ name: 'channel', ok: true }, { name: 'publisher' }],
  });
  await t.rejects(client.pathOf('0'), { message: /there is no port 0/ });
  t.match(await send(path, 'GET', '/v1/path'), { status: 400, text: /which port is meant/ });
});
