import { once } from 'node:events';
import http from 'node:http';
import { join } from 'node:path';
import t, { type Test } from 'tap';
import { Exchange } from '../../host/bench/near-end.js';
import { chooseFreePorts } from '../fixtures/free-ports.js';
import { requireProgram, temporaryFolder } from '../fixtures/programs.js';
import {
  descriptorsOf,
  hardLimit,
  LoadedPair,
  lacks,
  processorMs,
  SERVICE_DESCRIPTORS,
  startFarEnd,
} from './fixtures/load.js';
import { flags, requireProxy, UserlandProxy } from './fixtures/proxy.js';

/** A fourth of the forwards, and all of them. */
const FEW = 1_250;
const MANY = 5_000;
/** How often their cost is looked at: the least was disturbed least. */
const ROUNDS = 2;
/** Linear cost is 4 times as much for all of them, quadratic 16 times. */
const MOST_TIMES = 8;

const PUBLISHERS = 20;
/** How often each of them publishes. */
const LEASES_BY_PROXY = 3;
const LEASES_BY_HTTP = 25;

t.test('what forwards cost is linear in their number', async (t) => {
  for (const name of ['unshare', 'ip']) if (requireProgram(t, name) === undefined) return;
  const descriptors = Math.min(SERVICE_DESCRIPTORS, hardLimit());
  if (descriptors < 2 * MANY) {
    lacks(t, `a process may have ${descriptors} descriptors here, and ${2 * MANY} are needed`);
    return;
  }
  const folder = temporaryFolder(t);
  const pair = new LoadedPair(t, {
    descriptors,
    hostArgs: ['--state', join(folder, 'state.json'), '--forward', `unix:${join(folder, 'u')}:/nobody`],
    // Its own network: nothing else has any of the ports.
    enter: [
      'unshare',
      process.getuid?.() === 0 ? '-n' : '-rn',
      'sh',
      '-c',
      'ip link set lo up; exec "$0" "$@"',
    ],
  });
  await pair.start();
  const least = new Map<string, number>();
  for (let round = 0; round < ROUNDS; round++)
    for (const count of [FEW, MANY])
      for (const [what, ms] of Object.entries(await costOf(pair, count, t))) {
        const key = `${what} ${count}`;
        least.set(key, Math.min(ms, least.get(key) ?? Number.POSITIVE_INFINITY));
      }
  for (const what of ['expose', 'list', 'path', 'doctor', 'restart', 'unexpose']) {
    const [few = 0, many = 0] = [FEW, MANY].map((count) => least.get(`${what} ${count}`));
    const times = many / few;
    const text = `${what}: ${few.toFixed(1)} ms for ${FEW}, ${many.toFixed(1)} ms for ${MANY} (${times.toFixed(1)} ×)`;
    t.ok(times < MOST_TIMES, text);
    t.comment(text);
  }
});

/** What the host's main thread runs (ms) for so many forwards. */
async function costOf(pair: LoadedPair, count: number, t: Test): Promise<Record<string, number>> {
  const { control } = pair;
  const cost = async (work: () => Promise<unknown>): Promise<number> => {
    const pid = pair.host.child.pid ?? -1;
    const before = processorMs(pid);
    await work();
    return processorMs(pid) - before;
  };
  const ports = `20000-${20_000 + count - 1}`;
  const expose = await cost(() => control.expose([`127.0.0.77:${ports}:${ports}`]));
  const list = await cost(() => control.forwards());
  const path = await cost(() => control.pathOf('20100'));
  const doctor = await cost(() => control.health());
  t.equal(await pair.host.stop(), 0);
  await pair.startHost();
  const restart = processorMs(pair.host.child.pid ?? -1);
  t.equal((await control.status()).forwards, count + 1);
  const unexpose = await cost(() => control.unexpose([`127.0.0.77:${ports}`]));
  return { expose, list, path, doctor, restart, unexpose };
}

t.test('twenty publishers that publish and end at the same time', async (t) => {
  if (requireProxy(t) === undefined) return;
  const port = await startFarEnd(t);
  const api = join(temporaryFolder(t), 'api.sock');
  const pair = new LoadedPair(t, {
    descriptors: Math.min(SERVICE_DESCRIPTORS, hardLimit()),
    hostArgs: ['--forward', `127.0.0.1:0:${port}`],
    guestArgs: ['--proxy-socket', api],
  });
  await pair.start();
  const pids = [pair.host, pair.guest].map(({ child }) => child.pid ?? -1);
  const ports = await chooseFreePorts(2 * PUBLISHERS);
  const ask = async (hostPort: number): Promise<void> => {
    const exchange = new Exchange({ host: '127.0.0.1', port: hostPort });
    await exchange.ask();
    await exchange.finish();
  };
  /** The same port again and again, as of a container that is restarted. */
  const runProxies = async (hostPort: number): Promise<void> => {
    const args = [...flags('tcp', `127.0.0.1:${hostPort}`, `127.0.0.1:${port}`), '-local-bind', 'never'];
    for (let count = 0; count < LEASES_BY_PROXY; count++) {
      const proxy = new UserlandProxy(t, { path: api }, args);
      const status = await proxy.status;
      if (status !== '0\n') throw new Error(status);
      await ask(hostPort);
      t.equal(await proxy.program.stop('SIGTERM'), 0);
    }
  };
  const runLeases = async (hostPort: number): Promise<void> => {
    for (let count = 0; count < LEASES_BY_HTTP; count++) {
      const end = await lease(api, hostPort, port);
      await ask(hostPort);
      end();
    }
  };
  await Promise.all(
    ports.map((hostPort, index) => (index < PUBLISHERS ? runProxies(hostPort) : runLeases(hostPort))),
  );
  let dump = await pair.control.dump();
  while (dump.forwards.length > 1 || dump.leases.length > 0) dump = await pair.control.dump();
  t.equal(dump.status.failedForwards, 0);
  t.equal(await pair.counted('failed'), 0);
  t.same(pair.warnings, []);
  t.comment(`host and guest have ${pids.map(descriptorsOf).join(' and ')} descriptors then`);
});

/** A forward of its own, as the userland proxy asks for it. @returns what ends it */
async function lease(api: string, hostPort: number, guestPort: number): Promise<() => void> {
  const agent = new http.Agent({ keepAlive: true });
  const request = http.request({ socketPath: api, agent, method: 'POST', path: '/v1/proxy' });
  const body = { out_ip: '127.0.0.1', out_port: hostPort, in_ip: '127.0.0.1', in_port: guestPort };
  request.end(JSON.stringify({ proto: 'tcp', ...body }));
  const [response] = (await once(request, 'response')) as [http.IncomingMessage];
  let text = '';
  for await (const chunk of response.setEncoding('utf8')) text += chunk;
  if (response.statusCode !== 200) throw new Error(text);
  return () => agent.destroy();
}
