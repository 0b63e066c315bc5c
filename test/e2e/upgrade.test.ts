import { readFileSync, writeFileSync } from 'node:fs';
import http from 'node:http';
import { join } from 'node:path';
import t, { type Test } from 'tap';
import { ControlClient } from '../../host/control/client.js';
import { chooseFreePorts } from '../fixtures/free-ports.js';
import { startServer } from '../fixtures/programs.js';
import { checksumOf, pattern } from '../protocol/fixtures/observer.js';
import { turnsUntil } from '../protocol/fixtures/signal.js';
import { connect, Pair } from './fixtures/pair.js';

/** What is sent back on each connection: small ones, and such that a program is stopped in the middle of them. */
const BODIES = [100, 4 * 1024 * 1024].map((length) => pattern(length));

/** After each step so many more connections of each forward must be whole. */
const WHOLE = 3;

/** The clients of one forward, one after the other, until they are told to stop. */
class Clients {
  whole = 0;
  failed = 0;
  /** What must not be: an end in good order that is none. */
  readonly short: string[] = [];
  readonly #over: Promise<unknown>;
  #running = true;

  constructor(t: Test, port: number) {
    this.#over = Promise.all(BODIES.map((body) => this.#run(t, port, body)));
  }

  async stop(): Promise<void> {
    this.#running = false;
    await this.#over;
  }

  async #run(t: Test, port: number, body: Buffer): Promise<void> {
    const checksum = checksumOf(body);
    while (this.#running) {
      const client = connect(t, port);
      client.socket.end(body);
      const outcome = await client.outcome();
      if (outcome !== 'end') this.failed++;
      else if ((await client.checksum()) === checksum) this.whole++;
      else this.short.push(`${client.bytes} bytes of ${body.length}, and then an end`);
      await new Promise((resolve) => setImmediate(resolve));
    }
  }
}

t.test('host and guest are restarted one after the other under load, and no forward is lost', async (t) => {
  const target = await startServer(t, (socket) => socket.pipe(socket));
  const pair = new Pair(t);
  const [configured = 0, exposed = 0, published = 0] = await chooseFreePorts(3);
  const spec = (port: number): string => `127.0.0.1:${port}:${target}`;
  const config = join(pair.folder, 'config.json');
  const api = join(pair.folder, 'api');
  writeFileSync(config, JSON.stringify({ forward: [spec(configured)], state: join(pair.folder, 'state') }));
  const startHost = (): unknown => pair.startHost('--config', config);
  const startGuest = (): unknown => pair.startGuest('--proxy-socket', api);
  startHost();
  startGuest();
  await pair.host.line(/^tcp /);
  await pair.guest.line(/forwards can be asked for/);
  await new ControlClient(pair.control).expose([spec(exposed)]);
  keepPublished(t, api, {
    ...{ proto: 'tcp', out_ip: '127.0.0.1', out_port: published, in_ip: '127.0.0.1', in_port: target },
  });
  const clients = [configured, exposed, published].map((port) => new Clients(t, port));
  const work = async (): Promise<void> => {
    const enough = clients.map(({ whole }) => whole + WHOLE);
    await turnsUntil(() => clients.every(({ whole }, index) => whole >= Number(enough[index])));
  };
  await work();
  for (const signal of ['SIGTERM', 'SIGKILL'] as const) {
    await pair.host.stop(signal);
    startHost();
    await work();
    await pair.guest.stop(signal);
    startGuest();
    await work();
  }
  await Promise.all(clients.map((each) => each.stop()));
  t.same(
    clients.flatMap(({ short }) => short),
    [],
    'what ends in good order is whole',
  );
  t.comment(clients.map(({ whole, failed }) => `${whole} whole, ${failed} failed`).join('; '));
});

/** Something in the guest's machine wants a forward: it asks again when its agent has gone, as the userland proxy does. */
function keepPublished(t: Test, socketPath: string, forward: object): void {
  const agent = new http.Agent({ keepAlive: true });
  let over = false;
  t.teardown(() => {
    over = true;
    agent.destroy();
  });
  const ask = (): void => {
    if (over) return;
    const request = http.request({ socketPath, agent, method: 'POST', path: '/v1/proxy' });
    request.on('error', () => {}).on('response', (response) => response.resume());
    request.on('socket', (socket) => socket.once('close', () => setImmediate(ask)));
    request.end(JSON.stringify(forward));
  };
  ask();
}

t.test('a state file that cannot be read in whole is set aside, and whoever asks is told', async (t) => {
  const good = { proto: 'tcp', out_ip: '127.0.0.1', out_port: 0, in_ip: '127.0.0.1', in_port: 80 };
  const cases = [
    ['version-2', { version: 2, forwards: [good] }, /a newer portferry has written it: it is of version 2/],
    ['corrupt', { version: 1, forwards: [good, { ...good, proto: 'carrier pigeon' }] }, /carrier pigeon/],
  ] as const;
  for (const [name, content, reason] of cases) {
    const pair = new Pair(t);
    const state = join(pair.folder, 'state.json');
    writeFileSync(state, JSON.stringify(content));
    pair.startHost('--state', state, '--forward', '127.0.0.1:0:80');
    await pair.host.line(/^tcp /);
    const aside = `${state}.${name}`;
    t.same(JSON.parse(readFileSync(aside, 'utf8')), content);
    t.match(pair.warnings, [{ msg: reason }]);
    const { code, lines } = await pair.run('status');
    t.equal(code, 0);
    const told = lines.find((line) => line.startsWith('set aside')) ?? '';
    t.ok(told.includes(aside), told);
    t.match(told, reason);
    t.match(await new ControlClient(pair.control).status(), {
      stateFile: { aside: { path: aside, reason } },
    });
    t.match((await pair.run('doctor')).lines.join('\n'), aside);
    await pair.host.stop();
    pair.startHost('--state', state, '--forward', '127.0.0.1:0:80');
    await pair.host.line(/^tcp /);
    t.same(pair.warnings, [], 'once');
  }
});
