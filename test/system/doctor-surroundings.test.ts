import { once } from 'node:events';
import { writeFileSync } from 'node:fs';
import net from 'node:net';
import { join } from 'node:path';
import t, { type Test } from 'tap';
import type { DoctorReport } from '../../host/diagnose/diagnosis.js';
import { Pair } from '../e2e/fixtures/pair.js';
import { freePorts } from '../fixtures/free-ports.js';
import { builtCommand, Program, requireProgram, startPortferryGuest } from '../fixtures/programs.js';
import { BUSYBOX, DockerVm } from './fixtures/docker.js';
import { withEachEngine } from './fixtures/docker-engines.js';
import { PublishingPair } from './fixtures/publishing-pair.js';

/** Ports that minikube's container publishes, each on one that the engine chooses. */
const MINIKUBE = [22, 2376, 5000, 8443, 32443];
/** How many ports the engine chooses from, and the host has for them. */
const CHOSEN = 20;
const SECOND = 1000;
const AN_HOUR_AHEAD =
  'data:text/javascript,const now = Date.now.bind(Date); Date.now = () => now() + 3_600_000;';

/** What doctor says, when it is asked in these surroundings. */
async function ask(t: Test, { control }: Pair, of: string, ...prefix: string[]): Promise<DoctorReport> {
  const [command = '', ...rest] = [...prefix, ...builtCommand('host/main.js')];
  const doctor = Program.start(t, command, [...rest, 'doctor', of, '--json', '--control', control]);
  await doctor.exit();
  const lines = doctor.lines.filter((line) => !line.startsWith('portferry:'));
  return JSON.parse(lines.join('\n')) as DoctorReport;
}

await withEachEngine(t, 'many ports of one container, each another one on the host', async (t, engine) => {
  const curl = requireProgram(t, 'curl');
  if (curl === undefined) return;
  const first = await freePorts(2 * CHOSEN);
  const vm = await DockerVm.start(t, { engine, dynamicPorts: [first, first + CHOSEN - 1] });
  if (!vm) return;
  const on = await PublishingPair.start(t, vm, curl);
  const rules = join(vm.folder, 'rules.json');
  writeFileSync(rules, JSON.stringify([{ container: 'minikube', remap: `+${CHOSEN}` }]));
  await on.agent.stop('SIGTERM');
  await on.startAgent('--publish-rules', rules);

  await vm.docker('network', 'create', 'minikube');
  const servers = MINIKUBE.map((port) => `${BUSYBOX} httpd -h /www -p ${port}`).join('; ');
  const options = ['--name', 'minikube', '--network', 'minikube'];
  const published = MINIKUBE.flatMap((port) => ['-p', `127.0.0.1::${port}`]);
  await vm.start([...options, ...published], BUSYBOX, 'sh', '-c', `${servers}; exec ${BUSYBOX} sleep 10000`);
  for (const inside of MINIKUBE) {
    const chosen = Number(/:(\d+)/.exec(await vm.docker('port', 'minikube', String(inside)))?.[1]);
    const port = chosen + CHOSEN;
    await on.listens(`tcp 127.0.0.1:${port}`);
    const { ok, complaint, path } = await ask(t, on.pair, String(port));
    t.ok(ok, complaint?.problem ?? 'no complaint');
    t.match(path.guest, {
      found: {
        listeners: { found: [{ port: chosen }] },
        container: { found: { name: 'minikube', network: 'minikube', privatePort: inside } },
        dnat: { found: [{ to: new RegExp(`:${inside}$`), rule: new RegExp(`\\b${chosen}\\b`) }] },
        link: { found: { bridge: /^br-\w{12}$/, up: true, veth: /^veth/ } },
        inside: { found: [{ port: inside, command: 'busybox' }] },
      },
    });
    const picture = (await on.pair.run('path', String(port))).lines.join('\n');
    t.match(picture, new RegExp(`┌─▼ container minikube .*, port ${inside}\n│ │ ● server .*:${inside}\n`));
  }

  await t.test("the host's rules allow no port to the guest", async (t) => {
    await on.pair.host.stop('SIGTERM');
    on.startHost('--allow-expose', 'none');
    await on.pair.up();
    const chosen = Number(/:(\d+)/.exec(await vm.docker('port', 'minikube', '22'))?.[1]);
    await on.listed(`tcp 127.0.0.1:${chosen + CHOSEN}`, ({ state }) => state === 'refused');
    t.match((await ask(t, on.pair, String(chosen + CHOSEN))).complaint, {
      hop: 'forward',
      problem: /^tcp 127\.0\.0\.1:\d+ is refused: /,
      advice: /--allow-expose/,
    });
    const list = (await on.pair.run('list')).lines.join('\n');
    t.match(list, new RegExp(`^tcp 127\\.0\\.0\\.1:${chosen + CHOSEN} .* refused `, 'm'));
  });
});

t.test(
  "what surrounds a forward that works: the user's machine, the host's limits, the guest's clock",
  async (t) => {
    const pair = new Pair(t);
    const port = await freePorts(2);
    const server = net.createServer(() => {}).listen(port + 1, '127.0.0.1');
    await once(server, 'listening');
    t.teardown(() => void server.close());
    const limited = ['-c', 'ulimit -n 256; exec "$0" "$@"', ...builtCommand('host/main.js'), 'host'];
    const addresses = ['--listen', pair.channel, '--control', pair.control];
    const host = Program.start(t, 'sh', [
      ...limited,
      ...addresses,
      '--forward',
      `127.0.0.1:${port}:${port + 1}`,
    ]);
    const of = String(port);
    const guest = startPortferryGuest(t, '--connect', pair.channel);
    await host.line(/the channel is up/);

    await t.test('a proxy', async (t) => {
      const { ok, remarks } = await ask(t, pair, of, 'env', 'http_proxy=http://127.0.0.1:1');
      t.ok(ok);
      t.match(remarks, [/^http_proxy is set here, and NO_PROXY does not name localhost and 127\.0\.0\.1/]);
    });

    await t.test('localhost is ::1 alone', async (t) => {
      const unshare = requireProgram(t, 'unshare');
      if (unshare === undefined) return;
      if (process.getuid?.() !== 0) {
        t.plan(0, 'only root may have another /etc/hosts');
        return;
      }
      const hosts = join(pair.folder, 'hosts');
      writeFileSync(hosts, '::1 localhost\n');
      const elsewhere = [unshare, '-m', 'sh', '-c', `mount --bind ${hosts} /etc/hosts && exec "$0" "$@"`];
      t.match(await ask(t, pair, of, ...elsewhere), {
        ok: false,
        complaint: {
          hop: 'host',
          problem: /^localhost is ::1 on this host, and tcp 127\.0\.0\.1:\d+ is there on 127\.0\.0\.1 only$/,
        },
      });
    });

    await t.test('as many clients as there are descriptors for', async (t) => {
      const { limits } = JSON.parse((await pair.run('dump', '--json')).lines.join('\n'));
      const clients = Array.from({ length: limits.clients }, () => net.connect(port, '127.0.0.1'));
      await Promise.all(clients.map((client) => once(client, 'connect')));
      t.match((await ask(t, pair, of)).complaint, {
        hop: 'host',
        problem: /^\d+ clients are being served, more would need more file descriptors/,
        advice: /ulimit -n/,
      });
      const list = (await pair.run('list')).lines.join('\n');
      t.match(list, new RegExp(`^tcp 127\\.0\\.0\\.1:${port} +\\S+ +${limits.clients} `, 'm'));
      for (const client of clients) client.destroy();
    });

    await t.test("the guest's clock is an hour ahead", async (t) => {
      await guest.stop('SIGTERM');
      const built = builtCommand('guest/main.js');
      const command = [...built.slice(0, -1), '--import', AN_HOUR_AHEAD, ...built.slice(-1)];
      const [program = '', ...rest] = command;
      Program.start(t, program, [...rest, '--connect', pair.channel]);
      await host.until(() => host.count(/the channel is up/) === 2);
      t.match(await ask(t, pair, of), {
        ok: true,
        remarks: [/^the guest's clock is 3\d\d\d s ahead of this host's/],
      });
    });
  },
);

t.setTimeout(300 * SECOND);
