import { existsSync } from 'node:fs';
import { dirname } from 'node:path';
import t, { type Test } from 'tap';
import { type Program, requireProgram, run, startPortferry, startServer } from '../fixtures/programs.js';
import { connect } from './fixtures/pair.js';

interface Up {
  up: Program;
  port: number;
  /** Of its sockets. */
  folder: string;
  /** The process ids of host and guest. */
  halves: number[];
}

/** `portferry up`, which forwards to a server that says hello and then says nothing more. */
async function startUp(t: Test): Promise<Up> {
  const guestPort = await startServer(t, (socket) => socket.write('hello'));
  const up = startPortferry(t, 'up', `127.0.0.1:0:${guestPort}`);
  const [, port] = await up.line(/^tcp 127\.0\.0\.1:(\d+) /);
  const [, control = ''] = await up.line(/--control (\S+)'/);
  const { output } = await run(t, 'ps', '-A', '-o', 'pid=,ppid=');
  const halves = output
    .split('\n')
    .map((line) => line.trim().split(/\s+/).map(Number))
    .flatMap(([pid = 0, parent]) => (parent === up.child.pid ? pid : []));
  t.equal(halves.length, 2);
  return { up, port: Number(port), folder: dirname(control), halves };
}

/** Resolves when none of the processes is there any more. */
async function gone(t: Test, pids: readonly number[]): Promise<void> {
  for (const pid of pids) while ((await run(t, 'kill', '-0', String(pid))).outcome === 0);
}

t.test('a second signal ends up at once: clients are reset, and nothing is left behind', async (t) => {
  if (requireProgram(t, 'ps') === undefined) return;
  const { up, port, folder, halves } = await startUp(t);
  const client = connect(t, port);
  await client.until(() => client.bytes > 0);
  // A request: it is waited for.
  client.socket.write('and now?');
  up.child.kill('SIGINT');
  await up.line(/waiting until connections have finished/);
  up.child.kill('SIGINT');
  t.equal(await up.exit(), 128 + 2);
  t.notOk(existsSync(folder));
  t.equal(await client.outcome(), 'ECONNRESET');
  await gone(t, halves);
});

t.test(
  'when up is killed its halves end, clients are reset, and the next one clears its folder',
  async (t) => {
    if (requireProgram(t, 'ps') === undefined) return;
    const { up, port, folder, halves } = await startUp(t);
    const client = connect(t, port);
    await client.until(() => client.bytes > 0);
    t.equal(await up.stop('SIGKILL'), 'SIGKILL');
    t.equal(await client.outcome(), 'ECONNRESET');
    await gone(t, halves);
    t.ok(existsSync(folder));
    const next = await startUp(t);
    t.notOk(existsSync(folder));
    t.ok(existsSync(next.folder));
    t.equal(await next.up.stop('SIGTERM'), 0);
    t.notOk(existsSync(next.folder));
  },
);
