import { join } from 'node:path';
import t, { type Test } from 'tap';
import { freePorts } from '../fixtures/free-ports.js';
import { Program, requireProgram } from '../fixtures/programs.js';
import { BUSYBOX, IMAGE } from './fixtures/docker.js';
import { withEachEngine } from './fixtures/docker-engines.js';
import { EnterableVm } from './fixtures/engine-vm.js';

const PAGE = 'from the container';
const REFUSED = 'curl: 7';

/** Ports of the host and the VM that are left to these tests, one after the other. */
const RESERVED = 30;

const NAME = "portferry up --engine: the guest in a container, in the engine's own network";

await withEachEngine(t, NAME, async (t, engine) => {
  if (requireProgram(t, 'curl') === undefined) return;
  const on = await EnterableVm.start(t, engine);
  if (!on) return;
  const { vm } = on;
  let next = await freePorts(RESERVED);
  const takePort = (): number => next++;

  /** A container that publishes a web server's port, until the subtest ends. */
  const publish = async (t: Test, name: string, ...options: string[]): Promise<number> => {
    const port = takePort();
    t.teardown(() => vm.docker('rm', '-f', name));
    const server = [BUSYBOX, 'httpd', '-f', '-h', '/www', '-p', '80'];
    await vm.start(['--name', name, '-p', `${port}:80`, ...options], ...server);
    return port;
  };

  await t.test("containers' ports are published, until Ctrl-C", async (t) => {
    const started = performance.now();
    const up = on.up(t, '--publish');
    await up.ready();
    t.comment(`it forwarded ${Math.round(performance.now() - started)} ms after its start`);
    const port = await publish(t, 'web');
    await up.listens(`tcp *:${port}`);
    t.equal(await on.fetch(port), PAGE);
    t.equal((await on.containers()).length, 1);
    t.equal(await up.program.stop('SIGINT'), 0);
    t.same(await on.containers(), []);
    t.equal(await on.fetch(port), REFUSED);
  });

  await t.test('without --publish nothing is forwarded but what a SPEC names', async (t) => {
    const [hostPort, guestPort] = [takePort(), takePort()];
    const published = await publish(t, 'unwanted');
    const [enter = '', ...rest] = vm.enter;
    const server = [
      'busybox',
      'httpd',
      '-f',
      '-h',
      join(vm.folder, 'root/www'),
      '-p',
      `127.0.0.1:${guestPort}`,
    ];
    Program.start(t, enter, [...rest, ...server]);
    const up = on.up(t, `${hostPort}:${guestPort}`);
    await up.ready();
    t.equal(await on.fetch(hostPort), PAGE);
    t.equal(await on.fetch(published), REFUSED);
    t.equal(await up.program.stop('SIGTERM'), 0);
    t.same(await on.containers(), []);
  });

  await t.test('two of them side by side, of which one is killed', async (t) => {
    const port = await publish(t, 'shared');
    const [first, second] = [on.up(t, `${takePort()}:${port}`), on.up(t, '--publish')];
    await Promise.all([first.ready(), second.ready()]);
    t.equal((await on.containers()).length, 2);
    await second.listens(`tcp *:${port}`);
    await first.program.stop('SIGKILL');
    // Its guest has lost its standard input, and ends by itself.
    await on.counts(1);
    const third = on.up(t);
    await third.ready();
    t.equal(await on.fetch(port), PAGE, 'the one that lives has kept its container');
    t.equal(await third.program.stop('SIGINT'), 0);
    t.equal((await on.containers()).length, 1);
    t.equal(await second.program.stop('SIGINT'), 0);
    t.same(await on.containers(), []);
  });

  await t.test('what was killed before its container was started is removed by the next one', async (t) => {
    const [up, port] = [on.up(t), takePort()];
    await up.ready();
    const [living = ''] = await on.containers();
    const labels = await vm.docker('inspect', '-f', '{{json .Config.Labels}}', living);
    const machine = JSON.parse(labels)['portferry.machine'] as string;
    const label = ['portferry.folder=/nowhere/portferry-dead', `portferry.machine=${machine}`];
    const left = await vm.docker('create', ...label.flatMap((each) => ['--label', each]), IMAGE, BUSYBOX);
    t.equal((await on.containers()).length, 2);
    const other = on.up(t, `${port}:${port}`);
    await other.program.line(/leads back to itself/);
    t.equal(await other.program.exit(), 2, 'the engine of this test shares the name of this machine');
    const containers = await on.containers();
    t.same(containers, [living]);
    t.notOk(left.startsWith(living));
  });

  await t.test('the container is removed, and the engine restarted, and it goes on', async (t) => {
    const port = await publish(t, 'always', '--restart', 'always');
    const up = on.up(t, '--publish');
    await up.ready();
    await up.listens(`tcp *:${port}`);
    const [container = ''] = await on.containers();
    await vm.docker('rm', '-f', container);
    await up.reconnected(1);
    await up.listens(`tcp *:${port}`);
    t.equal(await on.fetch(port), PAGE, 'after its container was removed');
    await vm.stopDaemon();
    await vm.startDaemon();
    const started = performance.now();
    await up.reconnected(2);
    t.comment(`it was back ${Math.round(performance.now() - started)} ms after the engine`);
    await up.listens(`tcp *:${port}`);
    t.equal(await on.fetch(port), PAGE, 'after the engine was restarted');
    t.equal(await up.program.stop('SIGINT'), 0);
    t.same(await on.containers(), []);
  });
});
