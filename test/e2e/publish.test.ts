import { once } from 'node:events';
import http from 'node:http';
import net from 'node:net';
import { join } from 'node:path';
import t, { type Test } from 'tap';
import { chooseFreePorts, freePort } from '../fixtures/free-ports.js';
import { Program, requireProgram, run, startServer } from '../fixtures/programs.js';
import { connect, Pair } from './fixtures/pair.js';

/** A pair whose guest offers the API. */
class Publishing extends Pair {
  readonly api = join(this.folder, 'proxy.sock');

  /** @param hostArgs beside those that join the two */
  static async publishing(t: Test, ...hostArgs: string[]): Promise<Publishing> {
    const pair = new Publishing(t);
    pair.startHost(...hostArgs);
    await pair.startPublisher();
    await pair.up();
    return pair;
  }

  async startPublisher(): Promise<void> {
    const guest = this.startGuest('--proxy-socket', this.api);
    await guest.line(/"msg":"forwards can be asked for on /);
  }

  ask(method: string, resource: string, body?: object, agent?: http.Agent): Promise<Answer> {
    return ask(this.api, method, resource, body, agent);
  }

  /** A forward of the host as `portferry list --json` shows it. */
  async listed(): Promise<Record<string, unknown>[]> {
    return JSON.parse((await ask(this.control, 'GET', '/v1/forwards')).text);
  }
}

interface Answer {
  status: number | undefined;
  text: string;
}

async function ask(
  path: string,
  method: string,
  resource: string,
  body?: object,
  agent: http.Agent | false = false,
): Promise<Answer> {
  const payload = body === undefined ? '' : JSON.stringify(body);
  const headers = { 'content-length': Buffer.byteLength(payload) };
  const request = http.request({ socketPath: path, method, path: resource, headers, agent });
  request.end(payload);
  const [response] = (await once(request, 'response')) as [http.IncomingMessage];
  let text = '';
  for await (const chunk of response.setEncoding('utf8')) text += chunk;
  return { status: response.statusCode, text };
}

/** How a connection to this port of the host ends: `end` where it is forwarded to a server that says hello. */
async function outcomeAt(t: Test, hostPort: number): Promise<string> {
  const client = connect(t, hostPort);
  const outcome = await client.outcome();
  client.socket.destroy();
  return outcome;
}

const serveHello = (t: Test): Promise<number> => startServer(t, (socket) => socket.end('hello'));

const port = (hostPort: number, guestPort: number) => ({
  ...{ proto: 'tcp', out_ip: '127.0.0.1', out_port: hostPort },
  ...{ in_ip: '127.0.0.1', in_port: guestPort },
});

const DONE = { status: 200, text: '' };

t.test('what is exposed in the guest answers on the host, whoever of the two restarts', async (t) => {
  const server = await serveHello(t);
  const pair = await Publishing.publishing(t);
  const [exposed = 0, published = 0] = await chooseFreePorts(2);
  t.same(await pair.ask('PUT', '/forwards/expose/port', port(exposed, server)), DONE);
  const agent = new http.Agent({ keepAlive: true });
  t.teardown(() => agent.destroy());
  t.same(await pair.ask('POST', '/v1/proxy', port(published, server), agent), DONE);
  for (const each of [exposed, published]) t.equal(await outcomeAt(t, each), 'end');
  t.match(await pair.listed(), [
    { origin: 'published', publisher: 'api', state: 'listening' },
    { origin: 'published', publisher: 'proxy', state: 'listening' },
  ]);
  const { lines } = await pair.run('list');
  t.match(lines[1], /^tcp 127\.0\.0\.1:\d+ .* listening +api$/);

  t.equal(await pair.host.stop('SIGKILL'), 'SIGKILL');
  for (const each of [exposed, published]) t.equal(await outcomeAt(t, each), 'ECONNREFUSED');
  const host = pair.startHost();
  await host.until(() => host.count(/"msg":"listening on/) === 2);
  for (const each of [exposed, published]) t.equal(await outcomeAt(t, each), 'end', 'back after the host');

  pair.guest.child.kill('SIGKILL');
  await host.until(() => host.count(/"msg":"no longer listening/) === 2);
  for (const each of [exposed, published]) t.equal(await outcomeAt(t, each), 'ECONNREFUSED');
  await pair.startPublisher();
  t.same(await pair.ask('PUT', '/forwards/expose/port', port(exposed, server)), DONE);
  t.equal(await outcomeAt(t, exposed), 'end', 'the new guest may have it');

  t.equal(await pair.guest.stop('SIGTERM'), 0);
  await host.until(() => host.count(/"msg":"no longer listening/) === 3);
  t.equal(await pair.host.stop('SIGTERM'), 0);
});

t.test('the host’s rules hold', async (t) => {
  const server = await serveHello(t);
  const [allowed = 0, other = 0] = await chooseFreePorts(2);
  const pair = await Publishing.publishing(t, '--allow-expose', `127.0.0.1:${allowed}`);
  t.same(await pair.ask('PUT', '/forwards/expose/port', port(allowed, server)), DONE);
  const refused = await pair.ask('PUT', '/forwards/expose/port', port(other, server));
  t.equal(refused.status, 403);
  t.same(JSON.parse(refused.text), {
    message: `the host's policy does not allow tcp 127.0.0.1:${other}: --allow-expose has only 127.0.0.1:${allowed}`,
  });
  const proxy = await pair.ask('POST', '/v1/proxy', { ...port(allowed, server), out_ip: '0.0.0.0' });
  t.match(proxy, { status: 403, text: /^the host's policy does not allow tcp 0\.0\.0\.0/ });
  t.equal((await pair.listed()).length, 1);
});

t.test(
  'a port that is taken when the channel comes back is listed as failed, and comes when it is free',
  async (t) => {
    const server = await serveHello(t);
    const pair = await Publishing.publishing(t);
    const number = await freePort();
    t.same(await pair.ask('PUT', '/forwards/expose/port', port(number, server)), DONE);
    await pair.host.stop('SIGTERM');
    const intruder = net.createServer().listen(number, '127.0.0.1');
    t.teardown(() => intruder.close());
    await once(intruder, 'listening');
    pair.startHost();
    await pair.host.line(/"msg":"not listening for api: cannot listen on .*pid/);
    t.match(await pair.listed(), [
      {
        out_port: number,
        state: 'failed',
        publisher: 'api',
        error: new RegExp(`in use .*pid ${process.pid}`),
      },
    ]);
    const { lines } = await pair.run('list');
    t.match(
      lines.at(-1),
      new RegExp(`^tcp 127\\.0\\.0\\.1:${number}: cannot listen on .*pid ${process.pid}`),
    );
    await pair.guest.line(/"msg":"the host does not listen \(failed\): /);
    await new Promise((resolve) => intruder.close(resolve));
    await pair.host.line(/"msg":"listening on [^"]*, for api now"/);
    t.equal(await outcomeAt(t, number), 'end');
  },
);

t.test('what the user removes is gone', async (t) => {
  const server = await serveHello(t);
  const pair = await Publishing.publishing(t);
  const number = await freePort();
  t.same(await pair.ask('PUT', '/forwards/expose/port', port(number, server)), DONE);
  t.equal((await pair.run('unexpose', `127.0.0.1:${number}`)).code, 0);
  t.equal(await outcomeAt(t, number), 'ECONNREFUSED');
  t.same(await pair.listed(), []);
});

t.test('a thousand forwards', async (t) => {
  const server = await serveHello(t);
  const pair = await Publishing.publishing(t);
  const agent = new http.Agent({ keepAlive: true, maxSockets: 8 });
  t.teardown(() => agent.destroy());
  const ports = await chooseFreePorts(1000);
  // By the same lease, so that they come back in one request.
  const exposed = await Promise.all(
    ports.map((each) => pair.ask('PUT', '/forwards/expose/port', port(each, server), agent)),
  );
  t.equal(exposed.filter(({ status }) => status === 200).length, 1000);
  const before = await pair.listed();
  t.equal(before.length, 1000);
  await pair.host.stop('SIGTERM');
  const host = pair.startHost();
  await host.line(/"msg":"listening on/);
  while ((await pair.listed()).length < 1000);
  t.same((await pair.listed()).map(({ id }) => id).sort(), before.map(({ id }) => id).sort());
  t.equal(await outcomeAt(t, Number(before[999]?.['out_port'])), 'end');
  await pair.guest.stop('SIGKILL');
  while ((await pair.listed()).length > 0);
  t.ok(host.count(/"msg":"listening on/) <= 20, 'a guest does not fill the log');
});

t.test('vpnkit’s own programs work in the guest', async (t) => {
  // No registry has them: the test may always be skipped.
  const expose = requireProgram(t, 'vpnkit-expose-port', true);
  if (expose === undefined) return;
  const list = requireProgram(t, 'vpnkit-list-ports', true);
  if (list === undefined) return;
  const server = await serveHello(t);
  const pair = await Publishing.publishing(t);
  const number = await freePort();
  const args = (hostPort: number): string[] => [
    ...['-control', pair.api, '-i', '-proto', 'tcp', '-local-bind', 'never'],
    ...['-host-ip', '127.0.0.1', '-host-port', String(hostPort)],
    ...['-container-ip', '127.0.0.1', '-container-port', String(server)],
  ];
  const exposing = Program.start(t, expose, args(number));
  await exposing.line(/Proxy running/);
  t.equal(await outcomeAt(t, number), 'end');
  const listed = await run(t, list, '-control', pair.api);
  t.match(listed, { outcome: 0, output: `tcp forward from 127.0.0.1:${number} to 127.0.0.1:${server}` });
  // Its own client shows the messages of status 400 only.
  const taken = await run(t, expose, ...args(server));
  t.match(taken, {
    outcome: 1,
    output: new RegExp(`cannot listen on 127.0.0.1:${server}: address already in use`),
  });
  await exposing.stop('SIGTERM');
  t.equal(await outcomeAt(t, number), 'ECONNREFUSED');
});

t.test('with a vpnkit host the guest says what is missing', async (t) => {
  const forwarder = requireProgram(t, 'vpnkit-forwarder', true);
  if (forwarder === undefined) return;
  const pair = new Publishing(t);
  const channel = join(pair.folder, 'channel.sock');
  const host = Program.start(t, forwarder, [
    '-data-listen',
    channel,
    '-control-listen',
    join(pair.folder, 'v'),
  ]);
  await host.line(/listening on .* for data connection/);
  await pair.startPublisher();
  await pair.guest.line(/the channel is up, with a plain peer/);
  const answer = await pair.ask('PUT', '/forwards/expose/port', port(0, 80));
  t.match(answer, { status: 503, text: /the host is no portferry, but vpnkit-forwarder or alike/ });
  await pair.ask('PUT', '/forwards/expose/port', port(0, 80));
  t.equal(pair.guest.count(/what the guest publishes is not forwarded/), 1);
});
