import { existsSync, readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import t, { type Test } from 'tap';
import { Pair } from '../e2e/fixtures/pair.js';
import {
  DIST,
  Program,
  requireProgram,
  startPortferryGuest,
  startServer,
  temporaryFolder,
} from '../fixtures/programs.js';
import { checksumOf } from '../protocol/fixtures/observer.js';
import { DockerVm, IMAGE } from './fixtures/docker.js';
import { Sshd } from './fixtures/sshd.js';

/** What a command starts at the other end. */
const GUEST = `${process.execPath} ${join(DIST, 'guest/main.js')} --docker=off --log-level warn --connect stdio:`;

/** A host whose channel is a command, with a forward to a server that echoes. */
async function startHost(t: Test, command: string): Promise<{ pair: Pair; port: number }> {
  const port = await startServer(t, (socket) => socket.pipe(socket));
  const pair = new Pair(t);
  pair.startHost('--connect', `exec:${command}`, '--forward', `127.0.0.1:0:${port}`);
  return { pair, port };
}

/** A command that hangs gets 2 s to end by itself, and 1 s more; a busy machine takes longer. */
const STOP_LIMIT_MS = 10_000;

/** How often the host's own channel has come up; what the command says of its end does not count. */
const UP = /"msg":"the channel is up/;

async function up(host: Program, count = 1): Promise<void> {
  await host.until(() => host.count(UP) >= count);
}

/** A connection goes through and back. */
async function exchange(t: Test, { pair, port }: { pair: Pair; port: number }): Promise<void> {
  const bytes = Buffer.alloc(3_000_000, 'through a command');
  const client = await pair.connect(port);
  client.socket.end(bytes);
  t.equal(await client.checksum(), checksumOf(bytes));
}

/** What `portferry status` says of the last failure. */
async function lastError(pair: Pair): Promise<string> {
  const { lines } = await pair.run('status');
  return lines.find((line) => line.startsWith('last error')) ?? lines.join('\n');
}

/** Stops the host, which has to end in order and soon. */
async function stop(t: Test, { host }: Pair): Promise<void> {
  const began = performance.now();
  t.equal(await host.stop(), 0);
  const tookMs = performance.now() - began;
  t.ok(tookMs < STOP_LIMIT_MS, `it took ${tookMs} ms`);
}

/** Whether a process is there, and no zombie. */
function runs(pid: number): boolean {
  const file = `/proc/${pid}/stat`;
  return existsSync(file) && !/\) Z /.test(readFileSync(file, 'latin1'));
}

/** socat says nothing when it listens. */
async function waitForSocket(path: string): Promise<void> {
  while (!existsSync(path)) await new Promise(setImmediate);
}

/** The process that has written its id to a file. */
async function pidIn(file: string, host: Program, count: number): Promise<number> {
  await up(host, count);
  return Number(readFileSync(file, 'utf8'));
}

t.test('ssh is the channel, and nothing of it is left at the end', async (t) => {
  const sshd = await Sshd.start(t);
  if (!sshd) return;
  const file = join(temporaryFolder(t), 'pid');
  const started = await startHost(t, `${sshd.ssh} 'echo $$ >${file}; exec ${GUEST}'`);
  const guest = await pidIn(file, started.pair.host, 1);
  await exchange(t, started);
  t.ok(runs(guest));
  await stop(t, started.pair);
  t.notOk(runs(guest), 'the far end has ended, too');
});

t.test('a guest at the far end that is suspended is replaced, and holds up no stop', async (t) => {
  const sshd = await Sshd.start(t);
  if (!sshd) return;
  const file = join(temporaryFolder(t), 'pid');
  const started = await startHost(t, `${sshd.ssh} 'echo $$ >${file}; exec ${GUEST}'`);
  const { host } = started.pair;
  const guests = [await pidIn(file, host, 1)];
  t.teardown(() => {
    for (const pid of guests) if (runs(pid)) process.kill(pid, 'SIGKILL');
  });
  process.kill(guests[0] as number, 'SIGSTOP');
  // Whoever comes asks whether it is there.
  await started.pair.connect(started.port);
  guests.push(await pidIn(file, host, 2));
  t.equal(host.count(/"level":40.*nothing was heard from the peer for [\d.]+ s/), 1);
  await exchange(t, started);
  process.kill(guests[1] as number, 'SIGSTOP');
  await stop(t, started.pair);
});

t.test('what goes wrong with ssh gets a sentence, in the log and in the status', async (t) => {
  const sshd = await Sshd.start(t);
  if (!sshd) return;
  for (const [what, command, reason] of [
    [
      'a password that nobody can be asked for',
      `${sshd.sshWithoutKey} ${GUEST}`,
      /ended with exit code 255 \(".*Permission denied \(.*password/,
    ],
    [
      'a banner',
      `${sshd.ssh} "echo Last login: Monday; exec ${GUEST}"`,
      /it began with "Last login: Monday.*ask for nothing.*print nothing else: try it by hand/,
    ],
    ['no such guest', `${sshd.ssh} no-such-guest`, /ended with exit code 127 \(".*no-such-guest.*not found/],
    ['a terminal', `${sshd.ssh} -tt ${GUEST}`, /it began with .*without a terminal \(-t\)/],
    [
      'a server that is not there',
      `${sshd.ssh.replace('-F', '-o Port=1 -F')} ${GUEST}`,
      /exit code 255 \(".*Connection refused/,
    ],
  ] as const)
    await t.test(what, async (t) => {
      const { pair } = await startHost(t, command);
      await pair.host.line(
        reason.source.includes('began')
          ? /no channel: the peer does not speak/
          : /no channel: the channel failed/,
      );
      t.match(await lastError(pair), reason);
      await stop(t, pair);
    });
});

t.test('socat is the channel to a unix socket', async (t) => {
  const socat = requireProgram(t, 'socat');
  if (socat === undefined) return;
  const path = join(temporaryFolder(t), 'c');
  const guest = startPortferryGuest(t, '--listen', `unix:${path}`);
  await guest.line(/waiting for the channel/);
  const started = await startHost(t, `${socat} - UNIX-CONNECT:${path}`);
  await up(started.pair.host);
  await exchange(t, started);
  await stop(t, started.pair);
  await guest.line(/no channel: the host was told to stop/);
});

t.test('socat starts the guest, whose channel is a socket, pipes, or the connection itself', async (t) => {
  const socat = requireProgram(t, 'socat');
  if (socat === undefined) return;
  for (const options of ['', ',pipes', ',nofork'])
    await t.test(`EXEC${options}`, async (t) => {
      const guest = join(temporaryFolder(t), 'guest');
      writeFileSync(guest, `#!/bin/sh\nexec ${GUEST}\n`, { mode: 0o755 });
      const path = join(temporaryFolder(t), 'c');
      const relay = Program.start(t, socat, [`UNIX-LISTEN:${path}`, `EXEC:${guest}${options}`]);
      await waitForSocket(path);
      const port = await startServer(t, (socket) => socket.pipe(socket));
      const pair = new Pair(t);
      pair.startHost('--connect', `unix:${path}`, '--forward', `127.0.0.1:0:${port}`);
      await up(pair.host);
      await exchange(t, { pair, port });
      await stop(t, pair);
      t.equal(await relay.exit(), 0, 'the guest has ended in good order');
    });
});

t.test('docker run -i and docker exec -i are the channel into the machine of an engine', async (t) => {
  const vm = await DockerVm.start(t);
  if (!vm) return;
  await vm.publish('8080:80', '/bin/busybox', 'httpd', '-f', '-p', '80', '-h', '/www');
  // This machine's own node and portferry, in the engine's network.
  const options = ['--network', 'host', '-v', '/:/host:ro'];
  const id = await vm.start(options, '/bin/busybox', 'sleep', '1000');
  const docker = `docker -H unix://${vm.socket}`;
  const enter = `/bin/busybox chroot /host ${GUEST}`;
  for (const [what, command] of [
    ['run', `${docker} run -i --rm --init ${options.join(' ')} ${IMAGE} ${enter}`],
    ['exec', `${docker} exec -i ${id.trim()} ${enter}`],
  ] as const)
    await t.test(what, async (t) => {
      const pair = new Pair(t);
      pair.startHost('--connect', `exec:${command}`, '--forward', '127.0.0.1:0:8080');
      await up(pair.host);
      const response = await fetch(`http://127.0.0.1:${await pair.port(8080)}/`);
      t.equal(await response.text(), 'from the container\n');
      await stop(t, pair);
    });
  await t.test('a container that is not there, and a terminal that is', async (t) => {
    for (const [command, reason] of [
      [
        `${docker} exec -i no-such-container ${enter}`,
        /exit code 1 \(".*No such container: no-such-container/,
      ],
      [`${docker} exec -it ${id.trim()} ${enter}`, /exit code 1 \(".*input device is not a TTY/],
    ] as const) {
      const { pair } = await startHost(t, command);
      await pair.host.line(/no channel: the channel failed/);
      t.match(await lastError(pair), reason);
      await stop(t, pair);
    }
  });
});
