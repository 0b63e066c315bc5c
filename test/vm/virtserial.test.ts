import { join } from 'node:path';
import t from 'tap';
import { connectLine } from '../../protocol/transport/virtserial.js';
import { Pair } from '../e2e/fixtures/pair.js';
import { chooseFreePorts } from '../fixtures/free-ports.js';
import { requireProgram, startServer } from '../fixtures/programs.js';
import { CONTAINER_SERVER, requireBuilt } from './fixtures/built.js';
import { DOCKER_MODULES } from './fixtures/drive.js';
import { Engine, echoes, fetchInTime, PAGE } from './fixtures/engine.js';
import { requireImage } from './fixtures/image.js';
import { Vm, type VmOptions } from './fixtures/vm.js';

/** Of the port in the VM. */
const NAME = 'dev.portferry.channel';
/** Before there were certificates, tokens or files that anybody here knows. */
const CLOCK = '2001-01-01T00:00:00';
const DEVICE = `/dev/virtio-ports/${NAME}`;
const AGENT = 'node /portferry/portferry-guest.mjs';
/** How long a second client of QEMU's socket waits here for a word. */
const SECOND_MS = 1000;

t.test('over virtio-serial, with the events publisher, and a clock that is far off', async (t) => {
  const image = await requireImage(t);
  if (!image) return;
  for (const name of ['docker', 'curl']) if (requireProgram(t, name) === undefined) return;
  const bundle = requireBuilt(t, 'portferry-guest.mjs');
  const proxy = requireBuilt(t, 'guest/portferry-proxy');
  if (bundle === undefined || proxy === undefined) return;

  const pair = new Pair(t);
  const socket = join(pair.folder, 'docker.sock');
  const line = join(pair.folder, 'line.sock');
  pair.startHost('--connect', `virtserial:${line}`, '--forward', `unix:${socket}:/var/run/docker.sock`);
  const engine = new Engine(t, socket);
  const [web, udp] = (await chooseFreePorts(2)) as [number, number];
  /** Resolves when there is a channel that was not there before this was done. */
  const back = async (action: () => Promise<unknown>): Promise<void> => {
    const before = pair.host.count(/the channel is up/);
    await action();
    await pair.up(before + 1);
  };

  const boot = (contents: Pick<VmOptions, 'start' | 'files'>): Promise<Vm> =>
    Vm.boot(t, image, {
      modules: DOCKER_MODULES,
      start: contents.start,
      files: { ...contents.files, 'portferry-guest.mjs': bundle, 'server.mjs': CONTAINER_SERVER },
      devices: [
        ...['-chardev', `socket,id=channel,path=${line},server=on,wait=off`],
        ...['-device', `virtserialport,chardev=channel,name=${NAME}`],
      ],
      clock: CLOCK,
    });
  const vm = await boot({
    start: [`supervise ${AGENT} --connect virtserial:${DEVICE}`, 'start_engine'],
    files: {},
  });
  await pair.up();
  await vm.console.line(/^vm: the engine answers/);
  t.equal(await vm.shell.run('date +%Y'), '2001');

  await t.test('docker.sock on the host serves curl and docker', async (t) => {
    t.equal(await engine.ping(), 'OK');
    await engine.load(pair.folder);
  });

  await t.test('what containers publish answers on the host, by TCP and UDP', async (t) => {
    await engine.docker(...engine.web(`127.0.0.1:${web}:80`));
    t.equal(await fetchInTime(t, `http://127.0.0.1:${web}/`), PAGE);
    await engine.docker(...engine.echo(`127.0.0.1:${udp}:53`));
    t.ok(await echoes(t, udp));
  });

  await t.test('a port has one opener in the VM, and one outside: a second one is told so', async (t) => {
    const busy = await complaint(vm, `virtserial:${DEVICE}`);
    t.match(
      busy,
      `cannot connect to virtserial:${DEVICE}: EBUSY (another program has this port open, and only one can;`,
    );
    await t.rejects(connectLine({ kind: 'virtserial', path: line }, { timeoutMs: SECOND_MS }), {
      name: 'OperationError',
      message: /has no other program of the host this socket\? QEMU serves one, and keeps others waiting/,
    });
    t.equal(await engine.ping(), 'OK');
  });

  await t.test('a kernel without AF_VSOCK, and one without a vsock device, are told apart', async (t) => {
    const loader = await vm.shell.run('cat /proc/sys/kernel/modprobe; echo >/proc/sys/kernel/modprobe');
    const none = await complaint(vm, 'vsock:1234');
    t.match(
      none,
      'cannot connect to vsock:1234: EAFNOSUPPORT (this kernel has no AF_VSOCK; load its module: in a VM',
    );
    await vm.shell.run(`echo ${loader} >/proc/sys/kernel/modprobe; modprobe vsock`);
    const useless = await complaint(vm, 'vsock:1234');
    t.match(useless, 'ENODEV (nothing leads to that CID: in a VM, it needs a vsock device and the module');
  });

  await t.test('a guest that is killed is there again, with what it had published', async (t) => {
    await back(() => vm.killGuest());
    t.equal(await fetchInTime(t, `http://127.0.0.1:${web}/`), PAGE);
  });

  await t.test(
    'a VM killed and booted again, now with the userland proxy, works with the same host',
    async (t) => {
      await back(async () => {
        await vm.kill();
        const again = await boot({
          start: [
            `supervise ${AGENT} --connect virtserial:${DEVICE} --docker=off --proxy-socket /run/portferry/proxy.sock`,
            'start_engine --userland-proxy-path=/portferry/portferry-proxy',
          ],
          files: { 'portferry-proxy': proxy },
        });
        await again.console.line(/^vm: the engine answers/);
      });
      t.equal(await engine.ping(), 'OK');
      await engine.load(pair.folder);
      await engine.docker(...engine.web(`127.0.0.1:${web}:80`));
      t.equal(await fetchInTime(t, `http://127.0.0.1:${web}/`), PAGE);
    },
  );

  await t.test('docker run fails where the port is taken on the host, and says so', async (t) => {
    const taken = await startServer(t, (socket) => socket.end());
    const { outcome, output } = await engine.attempt(...engine.web(`127.0.0.1:${taken}:80`));
    t.not(outcome, 0);
    t.match(output, new RegExp(`cannot listen on 127\\.0\\.0\\.1:${taken}: address already in use`));
  });
});

/** Runs an agent in the VM until it says why it has no channel. @returns what it has said by then */
function complaint(vm: Vm, channel: string): Promise<string> {
  const ran = `: >/run/log; ${AGENT} --docker=off --connect ${channel} >/run/log 2>&1 & pid=$!`;
  return vm.shell.run(
    `${ran}; until grep -q 'no channel: ' /run/log; do sleep 0.1; done; kill $pid; cat /run/log`,
  );
}
