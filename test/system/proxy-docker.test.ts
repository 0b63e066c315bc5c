import { once } from 'node:events';
import net from 'node:net';
import { join } from 'node:path';
import t, { type Test } from 'tap';
import { Pair } from '../e2e/fixtures/pair.js';
import { freePort, freePorts } from '../fixtures/free-ports.js';
import { WITHOUT_IPV6 } from '../fixtures/ipv6.js';
import { builtCommand, Program, requireProgram, run } from '../fixtures/programs.js';
import { DockerVm } from './fixtures/docker.js';
import { withEachEngine } from './fixtures/docker-engines.js';
import { requireProxy } from './fixtures/proxy.js';

const HTTPD = ['/bin/busybox', 'httpd', '-f', '-p', '80', '-h', '/www'];
const PAGE = 'from the container';

/** Ports of the host and the VM that dockerd chooses from. */
const DYNAMIC = 100;

/** How the agent and the proxy learn of the agent's socket. */
const SOCKET = 'PORTFERRY_PROXY_SOCKET';

await withEachEngine(t, "portferry-proxy as dockerd's userland proxy", async (t, engine) => {
  const proxy = requireProxy(t);
  const curl = proxy && requireProgram(t, 'curl');
  const socat = curl && requireProgram(t, 'socat');
  if (proxy === undefined || curl === undefined || socat === undefined) return;
  const pair = new Pair(t);
  process.env[SOCKET] = join(pair.folder, 'proxy.sock');
  t.teardown(() => delete process.env[SOCKET]);
  const first = await freePorts(DYNAMIC);
  const vm = await DockerVm.start(t, {
    engine,
    daemonArgs: [`--userland-proxy-path=${proxy}`],
    dynamicPorts: [first, first + DYNAMIC - 1],
  });
  if (!vm) return;
  pair.startHost();
  let guest = startGuest(t, vm, pair);
  await pair.up();

  const fetch = (url: string, ...enter: readonly string[]): Promise<string> => {
    const [command = '', ...args] = [...enter, curl, '-sS', '--fail', '--max-time', '20', url];
    return run(t, command, ...args).then(({ output }) => output);
  };
  /** Starts a server in a container, and waits until it serves there: docker run does not. */
  const publish = async (published: string): Promise<string> => {
    const id = await vm.start(['-p', published], ...HTTPD);
    const address = '{{(index .NetworkSettings.Networks "bridge").IPAddress}}';
    const url = `http://${await vm.docker('inspect', '-f', address, id)}/`;
    while ((await fetch(url, ...vm.enter)) !== PAGE);
    return id;
  };

  await t.test(
    'a published port answers on the host and in the VM, and goes with its container',
    async (t) => {
      const port = await freePort();
      const url = `http://127.0.0.1:${port}/`;
      // The same port again and again, as soon as it has been given back.
      for (let round = 0; round < 3; round++) {
        const id = await publish(`127.0.0.1:${port}:80`);
        // docker run has returned, so the host listens.
        t.equal(await fetch(url), PAGE);
        t.equal(await fetch(url, ...vm.enter), PAGE, 'through the proxy: DNAT does not touch loopback');
        await vm.docker('rm', '-f', id);
      }
      await until(port, false);
    },
  );

  await t.test('a port of every address, and one that dockerd chooses', async (t) => {
    const port = await freePort();
    await vm.docker('rm', '-f', await publish(`${port}:80`));
    const id = await publish(`${port}:80`);
    for (const host of WITHOUT_IPV6 ? ['127.0.0.1'] : ['127.0.0.1', '[::1]'])
      t.equal(await fetch(`http://${host}:${port}/`), PAGE, host);
    await vm.docker('rm', '-f', id);
    const chosen = await publish('127.0.0.1::80');
    t.equal(await fetch(`http://127.0.0.1:${await publishedPort(vm)}/`), PAGE);
    await vm.docker('rm', '-f', chosen);
  });

  await t.test('docker run fails where the port is taken on the host, and says by whom', async (t) => {
    const port = await freePort();
    const holder = Program.start(t, socat, ['-d', '-d', `TCP-LISTEN:${port},bind=127.0.0.1,fork`, 'PIPE']);
    await holder.line(/listening on/);
    const taken = new RegExp(
      `error starting userland proxy: cannot listen on 127\\.0\\.0\\.1:${port}: address already in use .*by socat \\(pid ${holder.child.pid}\\)`,
      'i',
    );
    await t.rejects(publish(`127.0.0.1:${port}:80`), { message: taken });
    t.equal(await vm.docker('ps', '-q'), '', 'no container runs without its port');
    await holder.stop();
    await publish(`127.0.0.1:${port}:80`);
    t.equal(await fetch(`http://127.0.0.1:${port}/`), PAGE, 'freed, it is to be had');
  });

  await t.test('an agent that is killed gets its forwards back when it is there again', async () => {
    const port = await freePort();
    await publish(`127.0.0.1:${port}:80`);
    await guest.stop('SIGKILL');
    await until(port, false);
    guest = startGuest(t, vm, pair);
    await until(port, true);
    t.equal(await fetch(`http://127.0.0.1:${port}/`), PAGE);
  });

  await t.test('without the host docker run fails, and says what is missing', async (t) => {
    const port = await freePort();
    await pair.host.stop('SIGKILL');
    await t.rejects(publish(`127.0.0.1:${port}:80`), {
      message: /error starting userland proxy: .*(no channel|host)/i,
    });
    pair.startHost();
    await pair.up();
    await until(await publishedPort(vm), true);
  });

  await t.test('the proxies end with their dockerd, and the ports with them', async () => {
    const port = await publishedPort(vm);
    await vm.stopDaemon();
    await until(port, false);
  });
});

function startGuest(t: Test, vm: DockerVm, pair: Pair): Program {
  const [command = '', ...args] = [...vm.enter, ...builtCommand('guest/main.js'), '--connect', pair.channel];
  return Program.start(t, command, args);
}

/** The host port of a container that runs. */
async function publishedPort(vm: DockerVm): Promise<number> {
  const ports = await vm.docker('ps', '--format', '{{.Ports}}');
  return Number(/127\.0\.0\.1:(\d+)->/.exec(ports)?.[1]);
}

/** Resolves when a port of 127.0.0.1 takes connections, or does not any more. */
async function until(port: number, listening: boolean): Promise<void> {
  for (;;) {
    const socket = net.connect(port, '127.0.0.1');
    const connected = await once(socket, 'connect').then(
      () => true,
      () => false,
    );
    socket.destroy();
    if (connected === listening) return;
  }
}
