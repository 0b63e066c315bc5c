import { once } from 'node:events';
import net from 'node:net';
import { join } from 'node:path';
import t, { type Test } from 'tap';
import { ControlClient } from '../../host/control/client.js';
import {
  builtCommand,
  forwardedPort,
  Program,
  startPortferryGuest,
  startServer,
} from '../fixtures/programs.js';
import { Signal } from '../protocol/fixtures/signal.js';
import { temporaryFolder } from '../protocol/transport/fixtures/pairs.js';
import { connect, logLines } from './fixtures/pair.js';

/** What launchd gives a process. */
const LIMIT = 256;
/** What host/descriptors.ts makes of it: for listening sockets, and for these and clients together. */
const MAX_LISTENERS = 117;
const LISTENERS_AND_CLIENTS = 176;

/** A host that may have few descriptors, with a guest. */
async function startHost(t: Test, port: number) {
  const folder = temporaryFolder(t);
  const channel = `unix:${join(folder, 'c')}`;
  const control = join(folder, 'control');
  const host = Program.start(t, 'sh', [
    ...['-c', `ulimit -n ${LIMIT}; exec "$0" "$@"`],
    ...[...builtCommand('host/main.js'), 'host', '--listen', channel, '--control', control],
    ...['--forward', `127.0.0.1:0:${port}`],
  ]);
  startPortferryGuest(t, '--connect', channel);
  await host.line(/the channel is up/);
  return { host, path: control, control: new ControlClient(control), port: await forwardedPort(host, port) };
}

/** So many forwards of localhost, with two listening sockets each. */
function specs(count: number): string[] {
  return Array.from({ length: count }, (_, index) => `0:${index + 1}`);
}

t.test('with 256 descriptors each kind has its share, and keeps to it', async (t) => {
  const signal = new Signal();
  let served = 0;
  const server = await startServer(t, (socket) => {
    served++;
    signal.wake();
    socket.resume().on('end', () => socket.end());
  });
  const { host, control, path, port } = await startHost(t, server);

  await t.test('more forwards than there is room for are refused, with the numbers', async (t) => {
    await t.rejects(control.expose(specs(101)), {
      message: /that takes 2 more file descriptors, and 117 of the 117 for listening sockets .* 256 in all/,
    });
    t.equal((await control.forwards()).length, 1, 'all or none');
    await control.expose(specs((MAX_LISTENERS - 1) / 2));
    await t.rejects(control.expose(['127.0.0.1:0:4711']), { message: /raise the limit \(ulimit -n;/ });
  });

  const room = LISTENERS_AND_CLIENTS - MAX_LISTENERS;
  const clients: net.Socket[] = [];
  await t.test('clients beyond their share wait, and none is reset', async (t) => {
    for (let count = 0; count < room + 20; count++) clients.push(connect(t.parent as Test, port).socket);
    await Promise.all(clients.map((socket) => once(socket, 'connect')));
    await host.line(/clients wait: 59 are being served/);
    await signal.until(() => served === room);
    const { counters } = (await control.forwards())[0] ?? {};
    t.match(counters, { connections: room, active: room, failed: 0 });
  });

  await t.test('idle control connections keep nobody out', async (t) => {
    const idle = Array.from({ length: 400 }, () => net.connect(path).on('error', () => {}));
    t.teardown(() => {
      for (const socket of idle) socket.destroy();
    });
    await Promise.all(idle.map((socket) => once(socket, 'connect')));
    const began = performance.now();
    t.equal((await control.forwards()).length, 1 + (MAX_LISTENERS - 1) / 2);
    t.ok(performance.now() - began < 1000, 'the answer is there within a second');
    const list = Program.start(t, ...listCommand(path));
    t.equal(await list.exit(), 0);
    t.ok(list.count(/which is the limit/) === 0 && host.count(/control connections, which is the limit/) > 0);
  });

  await t.test('who waits is served when there is room', async (t) => {
    for (const socket of clients.splice(0, 20)) socket.destroy();
    await signal.until(() => served === room + 20);
    t.match((await control.forwards())[0]?.counters, { connections: room + 20, active: room, failed: 0 });
    const reset = logLines(host).filter(({ msg }) => /a client is reset/.test(msg));
    t.same(reset, []);
  });
});

function listCommand(path: string): [string, string[]] {
  const [command, ...rest] = builtCommand('host/main.js');
  return [command, [...rest, 'list', '--control', path]];
}
