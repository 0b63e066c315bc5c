import { join } from 'node:path';
import t from 'tap';
import { Pair } from '../e2e/fixtures/pair.js';
import { chooseFreePorts } from '../fixtures/free-ports.js';
import { requireProgram } from '../fixtures/programs.js';
import { CONTAINER_SERVER, requireBuilt } from './fixtures/built.js';
import { DOCKER_MODULES } from './fixtures/drive.js';
import { Engine, echoes, fetchInTime, PAGE } from './fixtures/engine.js';
import { requireImage } from './fixtures/image.js';
import { Vm } from './fixtures/vm.js';

/** Of the port in the VM. */
const NAME = 'dev.portferry.channel';
/** Before there were certificates, tokens or files that anybody here knows. */
const CLOCK = '2001-01-01T00:00:00';

t.test('over virtio-serial, with the events publisher, and a clock that is far off', async (t) => {
  const image = await requireImage(t);
  if (!image) return;
  for (const name of ['docker', 'curl']) if (requireProgram(t, name) === undefined) return;
  const bundle = requireBuilt(t, 'portferry-guest.mjs');
  if (bundle === undefined) return;

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

  const boot = (): Promise<Vm> =>
    Vm.boot(t, image, {
      modules: DOCKER_MODULES,
      start: [
        `supervise node /portferry/portferry-guest.mjs --connect virtserial:/dev/virtio-ports/${NAME}`,
        'start_engine',
      ],
      files: { 'portferry-guest.mjs': bundle, 'server.mjs': CONTAINER_SERVER },
      devices: [
        ...['-chardev', `socket,id=channel,path=${line},server=on,wait=off`],
        ...['-device', `virtserialport,chardev=channel,name=${NAME}`],
      ],
      clock: CLOCK,
    });
  const vm = await boot();
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

  await t.test('a guest that is killed is there again, with what it had published', async (t) => {
    await back(() => vm.killGuest());
    t.equal(await fetchInTime(t, `http://127.0.0.1:${web}/`), PAGE);
  });

  await t.test('a VM killed and booted again works with the same host', async (t) => {
    await back(async () => {
      await vm.kill();
      await boot();
    });
    t.equal(await engine.ping(), 'OK');
  });
});
