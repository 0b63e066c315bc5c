import { createSocket } from 'node:dgram';
import { once } from 'node:events';
import { fileURLToPath } from 'node:url';
import t, { type Test } from 'tap';
import type { ForwardReport } from '../../host/records/reports.js';
import { connect, logLines } from '../e2e/fixtures/pair.js';
import { freePorts } from '../fixtures/free-ports.js';
import { Program, requireProgram } from '../fixtures/programs.js';
import { BUSYBOX, DockerVm } from './fixtures/docker.js';
import { withEachEngine } from './fixtures/docker-engines.js';
import { PublishingPair } from './fixtures/publishing-pair.js';

/** What the server sends before it breaks the connection. */
const ANSWER_BYTES = 300_000;
const PAGE = 'from the container';
const HTTPD = [BUSYBOX, 'httpd', '-f', '-h', '/www', '-p', '80'];
const SERVER = fileURLToPath(new URL('fixtures/container-server.mjs', import.meta.url));

/** Ports inside containers. */
const [RESETTING, NOBODY, ECHO] = [81, 82, 83];

/** Ports of the host and the VM that are left to these tests, one after the other. */
const RESERVED = 30;

await withEachEngine(t, 'a container is dialled itself, past its docker-proxy', async (t, engine) => {
  const curl = requireProgram(t, 'curl');
  if (curl === undefined) return;
  let next = await freePorts(RESERVED);
  const takePort = (): number => next++;
  const vm = await DockerVm.start(t, { engine });
  if (!vm) return;
  const on = await PublishingPair.start(t, vm, curl);

  /** A container that serves nothing by itself, until the subtest ends. */
  const start = async (t: Test, name: string, options: string[], command = [BUSYBOX, 'sleep', '1000']) => {
    t.teardown(() => vm.docker('rm', '-f', name));
    await vm.start(['--name', name, ...options], ...command);
  };
  /** Serves in the container's network. */
  const serve = async (t: Test, name: string, how: 'reset' | 'udp', port: number): Promise<void> => {
    const pid = await vm.docker('inspect', '-f', '{{.State.Pid}}', name);
    const args = ['-t', pid, '-n', 'env', '-u', 'NODE_OPTIONS', process.execPath, SERVER, how, String(port)];
    await Program.start(t, 'nsenter', args).line(/^listening$/);
  };
  const addressOf = (name: string, network: string): Promise<string> =>
    vm.docker('inspect', '-f', `{{(index .NetworkSettings.Networks "${network}").IPAddress}}`, name);
  const leadsTo = (id: string, destination: string): Promise<ForwardReport> =>
    on.listed(id, (report) => report.state === 'listening' && report.destination === destination);
  /** How a connection to the host's port ends, and after how many bytes, for a client that talks first and last. */
  const converse = async (t: Test, port: number, bytes: number): Promise<string> => {
    const client = connect(t, port);
    client.socket.on('error', () => {});
    await client.until(() => client.bytes === bytes || client.closed || client.ended || client.cut);
    if (client.bytes === bytes) client.socket.write('now');
    return `${client.bytes} ${await client.outcome()}`;
  };

  /** Resolves when the host's log has a line of that forward with the reason. */
  const logged = (id: string, reason: RegExp): Promise<void> =>
    on.pair.host.until(() =>
      logLines(on.pair.host).some((line) => line['forward'] === id && reason.test(JSON.stringify(line))),
    );

  await vm.docker('network', 'create', 'other');
  const networks: [what: string, address: string, network: string][] = [
    ['published on every address', '', 'bridge'],
    ['published on 127.0.0.1 alone', '127.0.0.1:', 'bridge'],
    ['in a network of its own', '', 'other'],
  ];
  for (const [what, address, network] of networks)
    await t.test(`what it refuses or resets is refused or reset: ${what}`, async (t) => {
      const [resetting, nobody] = [takePort(), takePort()];
      const published = [`${address}${resetting}:${RESETTING}`, `${address}${nobody}:${NOBODY}`];
      const options = ['--network', network, ...published.flatMap((port) => ['-p', port])];
      await start(t, 'server', options);
      await serve(t, 'server', 'reset', RESETTING);
      const ids = [resetting, nobody].map((port) => `tcp ${address || '*:'}${port}`);
      await on.listens(...ids);
      const [resettingId = '', nobodyId = ''] = ids;
      const ip = await addressOf('server', network);
      await leadsTo(resettingId, `tcp ${ip}:${RESETTING}`);
      await leadsTo(nobodyId, `tcp ${ip}:${NOBODY}`);

      t.equal(await converse(t, resetting, ANSWER_BYTES), `${ANSWER_BYTES} ECONNRESET`);
      await logged(resettingId, /ECONNRESET/);
      t.equal(await converse(t, nobody, 1), '0 ECONNRESET');
      await logged(nobodyId, /ECONNREFUSED/);
      const counted = await on.listed(nobodyId, ({ counters }) => counters.refused > 0);
      t.match(counted, { counters: { refused: 1 }, annotation: /^container server \(/ });
    });

  await t.test('it is followed from network to network', async (t) => {
    const port = takePort();
    const id = `tcp *:${port}`;
    await start(t, 'moving', ['--network', 'other', '-p', `${port}:80`], HTTPD);
    await leadsTo(id, `tcp ${await addressOf('moving', 'other')}:80`);
    // Of two, dockerd itself publishes by the one whose name comes first.
    await vm.docker('network', 'connect', 'bridge', 'moving');
    await leadsTo(id, `tcp ${await addressOf('moving', 'bridge')}:80`);
    t.equal(await on.fetch(port), PAGE);
    await vm.docker('network', 'disconnect', 'bridge', 'moving');
    await leadsTo(id, `tcp ${await addressOf('moving', 'other')}:80`);
    t.equal(await on.fetch(port), PAGE);
  });

  await t.test('udp', async (t) => {
    const [echo, nobody] = [takePort(), takePort()];
    await start(t, 'echo', ['-p', `127.0.0.1:${echo}:${ECHO}/udp`, '-p', `${nobody}:${NOBODY}/udp`]);
    await serve(t, 'echo', 'udp', ECHO);
    const ip = await addressOf('echo', 'bridge');
    await leadsTo(`udp 127.0.0.1:${echo}`, `udp ${ip}:${ECHO}`);
    await leadsTo(`udp *:${nobody}`, `udp ${ip}:${NOBODY}`);
    const client = createSocket('udp4');
    t.teardown(() => client.close());
    client.send('hello', echo, '127.0.0.1');
    const [answer] = (await once(client, 'message')) as [Buffer];
    t.equal(answer.toString(), 'hello');
  });

  await t.test('what may not be dialled is reached where it is published', async (t) => {
    await on.agent.stop('SIGTERM');
    await on.startAgent('--allow-dial', '127.0.0.1');
    const port = takePort();
    await start(t, 'careful', ['-p', `${port}:80`], HTTPD);
    await leadsTo(`tcp *:${port}`, `tcp 127.0.0.1:${port}`);
    t.equal(await on.fetch(port), PAGE);
    await on.agent.stop('SIGTERM');
    await on.startAgent();
    await leadsTo(`tcp *:${port}`, `tcp ${await addressOf('careful', 'bridge')}:80`);
    t.equal(await on.fetch(port), PAGE);
  });
});
