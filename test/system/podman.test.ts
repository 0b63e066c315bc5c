import t from 'tap';
import { connect } from '../e2e/fixtures/pair.js';
import { freePorts } from '../fixtures/free-ports.js';
import { requireProgram } from '../fixtures/programs.js';
import { BUSYBOX } from './fixtures/docker.js';
import { PodmanVm } from './fixtures/podman.js';
import { PublishingPair } from './fixtures/publishing-pair.js';

const PAGE = 'from the container';
const REFUSED = 'curl: 7';

/** Ports of the host and the VM that are left to these tests, one after the other. */
const RESERVED = 20;

t.test('what podman publishes in the VM is there on the host', async (t) => {
  const curl = requireProgram(t, 'curl');
  if (curl === undefined) return;
  let next = await freePorts(RESERVED);
  const takePort = (): number => next++;
  const vm = await PodmanVm.start(t);
  if (!vm) return;
  const on = await PublishingPair.start(t, vm, curl);

  /** A container with a web server on these ports of its own. */
  const start = (name: string, options: string[], ...ports: number[]): Promise<void> => {
    const servers = ports.map((port) => `${BUSYBOX} httpd -f -h /www -p ${port}`);
    return vm.start(['--name', name, ...options], BUSYBOX, 'sh', '-c', `${servers.join(' & ')} & wait`);
  };

  await t.test('all ports of a range, while the container runs', async (t) => {
    const ports = [takePort(), takePort(), takePort()];
    const [first, second, third] = ports;
    const local = takePort();
    await start('range', ['-p', `${first}-${third}:80-82`, '-p', `127.0.0.1:${local}:80`], 80, 81);
    const ids = [...ports.map((port) => `tcp *:${port}`), `tcp 127.0.0.1:${local}`];
    await on.listens(...ids);
    for (const port of [first, second, local]) t.equal(await on.fetch(Number(port)), PAGE);
    t.equal(await connect(t, Number(third)).outcome(), 'ECONNRESET', 'nobody listens there in the container');
    const report = await on.listed(`tcp *:${second}`, ({ state }) => state === 'listening');
    t.match(report, { annotation: /^container range \(/, destination: /^tcp 10\.\d+\.\d+\.\d+:81$/ });
    await vm.podman('rm', '-f', '-t', '0', 'range');
    await on.lacks(...ids);
    t.equal(await on.fetch(Number(first)), REFUSED);
  });

  await t.test('a container that is paused, renamed, killed, and started again', async (t) => {
    const port = takePort();
    const id = `tcp *:${port}`;
    await start('web', ['-p', `${port}:80`], 80);
    await on.listens(id);
    await vm.podman('pause', 'web');
    await vm.podman('rename', 'web', 'paused');
    await on.listed(id, ({ annotation }) => annotation?.startsWith('container paused (') === true);
    t.ok(on.isListening(id), 'a paused container has its port');
    await vm.podman('unpause', 'paused');
    t.equal(await on.fetch(port), PAGE, 'unpaused');
    await vm.podman('kill', 'paused');
    await on.lacks(id);
    await vm.podman('start', 'paused');
    await on.listens(id);
    t.equal(await on.fetch(port), PAGE, 'started again');
  });
});
