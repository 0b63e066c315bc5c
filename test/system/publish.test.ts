import { createSocket } from 'node:dgram';
import { once } from 'node:events';
import { writeFileSync } from 'node:fs';
import net from 'node:net';
import { join } from 'node:path';
import t, { type Test } from 'tap';
import { freePorts } from '../fixtures/free-ports.js';
import { Program, requireProgram } from '../fixtures/programs.js';
import { BUSYBOX, DockerVm, IMAGE } from './fixtures/docker.js';
import { withEachEngine } from './fixtures/docker-engines.js';
import { PublishingPair } from './fixtures/publishing-pair.js';

const HTTPD = [BUSYBOX, 'httpd', '-f', '-h', '/www', '-p'];
const PAGE = 'from the container';
const REFUSED = 'curl: 7';
const MANY = 1000;

/** Ports of the host and the VM that are left to these tests: dockerd's choice, then one after the other. */
const DYNAMIC = 20;
const RESERVED = 60;

await withEachEngine(t, 'what containers publish in the VM is there on the host', async (t, engine) => {
  const curl = requireProgram(t, 'curl');
  if (curl === undefined) return;
  const reserved = await freePorts(RESERVED);
  const dynamicPorts = [reserved, reserved + DYNAMIC - 1] as const;
  const vm = await DockerVm.start(t, { engine, dynamicPorts });
  if (!vm) return;
  const on = await PublishingPair.start(t, vm, curl);
  let next = reserved + DYNAMIC;
  const takePort = (): number => next++;

  /** A container with a web server on these ports of its own, until the subtest ends. */
  const start = async (t: Test, name: string, options: string[], ports = ['80']): Promise<void> => {
    t.teardown(() => vm.docker('rm', '-f', name));
    const servers = ports.map((port) => [...HTTPD, port].join(' ')).join(' & ');
    await vm.start(['--name', name, ...options], BUSYBOX, 'sh', '-c', servers);
  };
  const remove = (name: string): Promise<string> => vm.docker('rm', '-f', name);

  await t.test('it answers while its container runs', async (t) => {
    const port = takePort();
    await start(t, 'web', ['-p', `${port}:80`]);
    await on.listens(`tcp *:${port}`);
    t.equal(await on.fetch(port), PAGE);
    t.equal(await on.fetch(port, '[::1]'), PAGE);
    const report = (await on.list()).find(({ out_port: listed }) => listed === port);
    const id = (await vm.docker('inspect', '-f', '{{.Id}}', 'web')).slice(0, 12);
    t.match(report, {
      publisher: 'docker',
      ...{ annotation: `container web (${id})`, container: 'web', container_id: id },
      destination: /^tcp 172\.\d+\.\d+\.\d+:80$/,
    });
    await remove('web');
    await on.lacks(`tcp *:${port}`);
    t.equal(await on.fetch(port), REFUSED);
  });

  await t.test('an address is kept', async (t) => {
    const port = takePort();
    await start(t, 'local', ['-p', `127.0.0.1:${port}:80`]);
    await on.listens(`tcp 127.0.0.1:${port}`);
    t.equal(await on.fetch(port), PAGE);
    t.equal(await on.fetch(port, '[::1]'), REFUSED);
  });

  await t.test('ports that dockerd chooses', async (t) => {
    await start(t, 'chosen', ['--expose', '80', '-p', '81', '-P'], ['80', '81']);
    for (const inside of ['80', '81']) {
      const bound = (await vm.docker('port', 'chosen', inside)).trim().split('\n');
      const ports = bound.map((address) => Number(address.slice(address.lastIndexOf(':') + 1)));
      // Docker 20.10 may choose one port for IPv4, and another one for IPv6.
      const same = bound.length > 1 && new Set(ports).size === 1;
      await on.listens(...(same ? [`tcp *:${ports[0]}`] : bound.map((address) => `tcp ${address}`)));
      t.equal(await on.fetch(Number(ports[0])), PAGE);
    }
  });

  await t.test('a range, and several containers at once', async (t) => {
    const ports = [takePort(), takePort(), takePort()];
    const [first, second, third] = ports;
    const others = [takePort(), takePort()];
    await Promise.all([
      start(t, 'range', ['-p', `${first}-${third}:80-82`], ['80', '81', '82']),
      ...others.map((port, index) => start(t, `other${index}`, ['-p', `${port}:80`])),
    ]);
    await on.listens(...[...ports, ...others].map((port) => `tcp *:${port}`));
    for (const port of [...ports, ...others]) t.equal(await on.fetch(port), PAGE);
    await remove('range');
    await on.lacks(`tcp *:${first}`, `tcp *:${second}`, `tcp *:${third}`);
    t.equal(await on.fetch(others[0] ?? 0), PAGE, 'the others stay');
  });

  await t.test('udp', async (t) => {
    const port = takePort();
    const socat = requireProgram(t, 'socat');
    if (socat === undefined) return;
    t.teardown(() => remove('echo'));
    await vm.start(['--name', 'echo', '-p', `${port}:53/udp`], BUSYBOX, 'sleep', '1000');
    // This busybox has no server of datagrams: one from outside serves in the container's network.
    const pid = await vm.docker('inspect', '-f', '{{.State.Pid}}', 'echo');
    const server = ['-t', pid, '-n', socat, '-d', '-d', 'UDP4-RECVFROM:53,fork', 'EXEC:cat'];
    await Program.start(t, 'nsenter', server, { endSignal: 'SIGTERM' }).line(/receiving on/);
    await on.listens(`udp *:${port}`);
    const client = createSocket('udp4');
    t.teardown(() => client.close());
    client.send('hello', port, '127.0.0.1');
    const [answer] = (await once(client, 'message')) as [Buffer];
    t.equal(answer.toString(), 'hello');
  });

  await t.test('a container that is restarted, paused, renamed, disconnected', async (t) => {
    const port = takePort();
    const id = `tcp *:${port}`;
    await start(t, 'changing', ['-p', `${port}:80`]);
    await on.listens(id);

    await vm.docker('restart', 'changing');
    await on.listens(id);
    t.equal(await on.fetch(port), PAGE, 'restarted');

    await vm.docker('pause', 'changing');
    t.ok(await on.isListening(id), 'a paused container has its port');
    await vm.docker('unpause', 'changing');
    t.equal(await on.fetch(port), PAGE, 'unpaused');

    await vm.docker('rename', 'changing', 'changed');
    t.teardown(() => vm.docker('rm', '-f', 'changed'));
    await on.listed(id, ({ annotation }) => annotation?.startsWith('container changed (') === true);

    await vm.docker('network', 'disconnect', 'bridge', 'changed');
    await on.lacks(id);
    await vm.docker('network', 'connect', 'bridge', 'changed');
    await on.listens(id);
    t.equal(await on.fetch(port), PAGE, 'connected again');

    await vm.docker('stop', 'changed');
    await on.lacks(id);
    await vm.docker('start', 'changed');
    await on.listens(id);
    t.equal(await on.fetch(port), PAGE, 'started again');
  });

  await t.test('a port that is taken on the host is failed, with its holder, until it is free', async (t) => {
    const port = takePort();
    const holder = net.createServer().listen(port);
    await once(holder, 'listening');
    await start(t, 'late', ['-p', `${port}:80`]);
    await on.pair.host.line(new RegExp(`not listening for docker: cannot listen on .*:${port}`));
    const report = (await on.list()).find(({ out_port: listed }) => listed === port);
    t.match(report, { state: 'failed', error: new RegExp(`in use.* \\(pid ${process.pid}\\)`) });
    holder.close();
    await on.listens(`tcp *:${port}`);
    t.equal(await on.fetch(port), PAGE);
  });

  await t.test('a container that is gone at once leaves nothing behind', async (t) => {
    const [port, marker] = [takePort(), takePort()];
    await vm.docker('run', '--rm', '-p', `${port}:80`, IMAGE, BUSYBOX, 'true');
    await start(t, 'marker', ['-p', `${marker}:80`]);
    await on.listens(`tcp *:${marker}`);
    t.notOk(await on.isListening(`tcp *:${port}`));
    t.equal(await on.fetch(port), REFUSED);
  });

  await t.test('the same port twice', async (t) => {
    const port = takePort();
    await start(t, 'twice', ['-p', `127.0.0.1:${port}:80`, '-p', `127.0.0.2:${port}:80`]);
    await on.listens(`tcp 127.0.0.1:${port}`, `tcp 127.0.0.2:${port}`);
    t.equal(await on.fetch(port, '127.0.0.2'), PAGE);
    await t.rejects(start(t, 'second', ['-p', `127.0.0.1:${port}:80`]), /already allocated/);
    t.equal(await on.fetch(port), PAGE, 'whoever came second has changed nothing');
  });

  await t.test('events that are lost are made up for', async (t) => {
    const [port, other] = [takePort(), takePort()];
    await start(t, 'before', ['-p', `${port}:80`]);
    await on.listens(`tcp *:${port}`);
    await on.relay.close();
    await remove('before');
    await start(t, 'meanwhile', ['-p', `${other}:80`]);
    await on.relay.open();
    await on.listens(`tcp *:${other}`);
    await on.lacks(`tcp *:${port}`);
  });

  await t.test('dockerd is stopped, and started again', async (t) => {
    const [port, other] = [takePort(), takePort()];
    await start(t, 'always', ['--restart', 'always', '-p', `${port}:80`]);
    await start(t, 'once', ['-p', `${other}:80`]);
    await on.listens(`tcp *:${port}`, `tcp *:${other}`);
    await vm.stopDaemon();
    await on.lacks(`tcp *:${port}`, `tcp *:${other}`);
    await vm.startDaemon();
    await on.listens(`tcp *:${port}`);
    t.equal(await on.fetch(port), PAGE);
    t.notOk(await on.isListening(`tcp *:${other}`));
  });

  await t.test('host and agent are killed, and come back', async (t) => {
    const port = takePort();
    const id = `tcp *:${port}`;
    await start(t, 'stays', ['-p', `${port}:80`]);
    await on.listens(id);
    await on.pair.host.stop('SIGKILL');
    on.startHost();
    await on.listens(id);
    t.equal(await on.fetch(port), PAGE, 'after the host');
    await on.agent.stop('SIGKILL');
    await on.lacks(id);
    await on.startAgent();
    await on.listens(id);
    t.equal(await on.fetch(port), PAGE, 'after the agent');
    await on.agent.stop('SIGTERM');
    await on.lacks(id);
    await on.startAgent();
  });

  await t.test("the host's policy comes before what containers publish", async (t) => {
    const [allowed, forbidden] = [takePort(), takePort()];
    await on.pair.host.stop('SIGTERM');
    on.startHost('--allow-expose', `127.0.0.1:${allowed}`);
    await start(t, 'local', ['-p', `127.0.0.1:${allowed}:80`]);
    await start(t, 'everywhere', ['-p', `${forbidden}:80`]);
    await on.listens(`tcp 127.0.0.1:${allowed}`);
    const report = await on.listed(`tcp *:${forbidden}`, ({ state }) => state === 'refused');
    t.match(
      report.error,
      `the host's policy does not allow tcp 0.0.0.0:${forbidden}: --allow-expose has only 127.0.0.1:${allowed}`,
    );
    t.equal(await on.fetch(forbidden), REFUSED);
    await on.pair.host.stop('SIGTERM');
    on.startHost();
    await on.listens(`tcp *:${forbidden}`);
  });

  await t.test('rules and labels', async (t) => {
    const [moved, target, denied, labelled, unlabelled] = [
      takePort(),
      takePort(),
      takePort(),
      takePort(),
      takePort(),
    ];
    const rules = [
      { ports: moved, remap: target, bind: 'localhost' },
      { name: 'no databases', container: 'db-*', deny: true },
    ];
    const path = join(vm.folder, 'rules.json');
    writeFileSync(path, JSON.stringify(rules));
    await on.agent.stop('SIGTERM');
    await on.startAgent('--publish-rules', path);
    await start(t, 'db-1', ['-p', `${denied}:80`]);
    await start(t, 'wishes', ['--label', 'portferry.host-address=127.0.0.1', '-p', `${labelled}:80`]);
    await start(t, 'quiet', ['--label', 'portferry.publish=false', '-p', `${unlabelled}:80`]);
    await start(t, 'moved', ['-p', `${moved}:80`]);
    await on.listens(`tcp 127.0.0.1:${target}`, `tcp [::1]:${target}`, `tcp 127.0.0.1:${labelled}`);
    t.equal(await on.fetch(target), PAGE);
    t.equal(await on.fetch(target, '[::1]'), PAGE);
    t.equal(await on.fetch(labelled), PAGE);
    for (const port of [moved, denied, unlabelled]) t.equal(await on.fetch(port), REFUSED);
    await on.agent.line(
      new RegExp(`container db-1 .*tcp \\*:${denied} is not published: no databases denies it`),
    );
  });
});

await withEachEngine(t, `${MANY} ports of one container come and go together`, async (t, engine) => {
  const curl = requireProgram(t, 'curl');
  if (curl === undefined) return;
  // With a rule of iptables for each, dockerd alone would take a minute.
  const vm = await DockerVm.start(t, { engine, daemonArgs: ['--iptables=false'] });
  if (!vm) return;
  const on = await PublishingPair.start(t, vm, curl);
  const first = await freePorts(MANY);
  const last = first + MANY - 1;
  const ids = Array.from({ length: MANY }, (_, index) => `tcp *:${first + index}`);
  await vm.start(['--name', 'many', '-p', `${first}-${last}:${first}-${last}`], ...HTTPD, String(last));
  const started = performance.now();
  await on.listens(...ids);
  t.comment(`${MANY} ports were there ${Math.round(performance.now() - started)} ms after docker run`);
  t.equal(await on.fetch(last), PAGE);
  const killed = performance.now();
  const removed = vm.docker('rm', '-f', 'many');
  await on.lacks(...ids);
  t.comment(`they were gone ${Math.round(performance.now() - killed)} ms after docker rm was begun`);
  await removed;
  t.same(await on.list(), []);
});
