import { join } from 'node:path';
import t from 'tap';
import { Pair } from '../e2e/fixtures/pair.js';
import { chooseFreePorts } from '../fixtures/free-ports.js';
import { requireProgram, startServer } from '../fixtures/programs.js';
import { CONTAINER_SERVER, requireBuilt } from './fixtures/built.js';
import { DOCKER_MODULES, type VmContents, VSOCK_MODULES } from './fixtures/drive.js';
import { Engine, echoes, fetch, fetchInTime, PAGE } from './fixtures/engine.js';
import { requireImage, requireVsockDevice } from './fixtures/image.js';
import { Vm } from './fixtures/vm.js';
import { VsockDevice } from './fixtures/vsock-device.js';

/** Where the guest listens in the VM. */
const PORT = 1234;
/** So soon after the guest listens in a VM that was booted again, the host has its channel. */
const BACK_MS = 5000;
const OPTIONS = `--listen vsock:${PORT} --docker=off --proxy-socket /run/portferry/proxy.sock`;

t.test('over a vsock device, with the userland proxy', async (t) => {
  const image = await requireImage(t);
  if (!image) return;
  for (const name of ['docker', 'curl']) if (requireProgram(t, name) === undefined) return;
  const bundle = requireBuilt(t, 'portferry-guest.mjs');
  const executable = requireBuilt(t, 'portferry-guest');
  const proxy = requireBuilt(t, 'guest/portferry-proxy');
  if (bundle === undefined || executable === undefined || proxy === undefined) return;
  const program = await requireVsockDevice(t);
  if (program === undefined) return;

  const pair = new Pair(t);
  const socket = join(pair.folder, 'docker.sock');
  const path = join(pair.folder, 'vm.sock');
  const forward = ['--forward', `unix:${socket}:/var/run/docker.sock`];
  pair.startHost('--connect', `firecracker:${path}:${PORT}`, ...forward);
  const engine = new Engine(t, socket);
  const [web, udp] = (await chooseFreePorts(2)) as [number, number];
  /** Resolves when there is a channel that was not there before this was done. */
  const back = async (action: () => Promise<unknown>): Promise<void> => {
    const before = pair.host.count(/the channel is up/);
    await action();
    await pair.up(before + 1);
  };

  const boot = async (contents: VmContents): Promise<{ vm: Vm; device: VsockDevice }> => {
    const device = await VsockDevice.start(t, program, path);
    return { vm: await Vm.boot(t, image, { ...contents, devices: device.options }), device };
  };
  const { vm, device } = await boot({
    modules: [...DOCKER_MODULES, ...VSOCK_MODULES],
    start: [
      `supervise node /portferry/portferry-guest.mjs ${OPTIONS}`,
      'start_engine --userland-proxy-path=/portferry/portferry-proxy',
    ],
    files: { 'portferry-guest.mjs': bundle, 'portferry-proxy': proxy, 'server.mjs': CONTAINER_SERVER },
  });
  await pair.up();
  await vm.console.line(/^vm: the engine answers/);

  await t.test('docker.sock on the host serves curl and docker', async (t) => {
    t.equal(await engine.ping(), 'OK');
    await engine.load(pair.folder);
  });

  await t.test('what containers publish answers on the host, by TCP and UDP', async (t) => {
    await engine.docker(...engine.web(`127.0.0.1:${web}:80`));
    t.equal(await fetch(t, `http://127.0.0.1:${web}/`), PAGE);
    await engine.docker(...engine.echo(`127.0.0.1:${udp}:53`));
    t.ok(await echoes(t, udp));
  });

  await t.test('docker run fails where the port is taken on the host, and says so', async (t) => {
    const taken = await startServer(t, (socket) => socket.end());
    const { outcome, output } = await engine.attempt(...engine.web(`127.0.0.1:${taken}:80`));
    t.not(outcome, 0);
    t.match(output, new RegExp(`cannot listen on 127\\.0\\.0\\.1:${taken}: address already in use`));
  });

  await t.test('a guest that is killed is there again, with what it had published', async (t) => {
    await back(() => vm.killGuest());
    t.equal(await fetchInTime(t, `http://127.0.0.1:${web}/`), PAGE);
  });

  await t.test('a VM killed and booted again, now without Node, works with the same host', async (t) => {
    let again: Vm | undefined;
    let listening = 0;
    await back(async () => {
      await vm.kill();
      await device.stop();
      again = (
        await boot({
          modules: VSOCK_MODULES,
          start: ['rm /usr/bin/node', `supervise /portferry/portferry-guest ${OPTIONS}`],
          files: { 'portferry-guest': executable },
        })
      ).vm;
      await again.console.line(/waiting for the channel on vsock/);
      listening = Date.now();
    });
    const took = Date.now() - listening;
    t.comment(`the host had its channel ${took} ms after the guest listened`);
    t.ok(took < BACK_MS);
    await again?.shell.run('mkdir -p /run/www; echo again >/run/www/index.html');
    await again?.shell.run('httpd -p 127.0.0.1:80 -h /run/www');
    const [port] = (await chooseFreePorts(1)) as [number];
    await pair.run('expose', `127.0.0.1:${port}:80`);
    t.equal(await fetch(t, `http://127.0.0.1:${port}/`), 'again');
    await t.rejects(async () => again?.shell.run('command -v node'));
  });
});
