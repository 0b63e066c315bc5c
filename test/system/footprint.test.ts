import { once } from 'node:events';
import { mkdirSync } from 'node:fs';
import net from 'node:net';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import t, { type Test } from 'tap';
import { Program, temporaryFolder } from '../fixtures/programs.js';
import { DockerVm } from './fixtures/docker.js';

const SCRIPT = fileURLToPath(new URL('../../scripts/footprint.mjs', import.meta.url));

/**
 * How much more than bare Node each may take; of the time to the first byte it is 4 on a quiet
 * machine, and a busy one, where both programs and whoever waits share two cores, adds to it.
 */
const MOST = { host: 1.5, guest: 1.4, grownMib: 20, start: 7 };

// They wait for nothing to happen: at the same time they take no longer than one.
t.jobs = 3;

interface Ends {
  host: number;
  guest: number;
}

interface Footprint {
  wakeups: Ends & { node: number };
  residentMib: Ends & { node: number };
  grownMib: Ends;
  startMs: { node: number; portferry: number };
}

async function measure(t: Test, ...args: string[]): Promise<Footprint> {
  const script = Program.start(t, 'env', ['-u', 'NODE_OPTIONS', process.execPath, SCRIPT, '--json', ...args]);
  t.equal(await script.exit(), 0, script.describe());
  return JSON.parse(script.lines.at(-1) ?? '') as Footprint;
}

const platform = process.platform === 'linux' ? {} : { skip: 'wake-ups are counted in /proc' };

t.test('beside bare Node, with an engine that is not there', platform, async (t) => {
  const { wakeups, residentMib, grownMib, startMs } = await measure(t);
  t.same(wakeups, { node: 0, host: 0, guest: 0 }, 'nothing wakes them');
  t.ok(residentMib.host < MOST.host * residentMib.node, `host: ${residentMib.host} MiB at the start`);
  t.ok(residentMib.guest < MOST.guest * residentMib.node, `guest: ${residentMib.guest} MiB at the start`);
  t.ok(grownMib.host < MOST.grownMib, `host: ${grownMib.host} MiB more after a GiB each way`);
  t.ok(grownMib.guest < MOST.grownMib, `guest: ${grownMib.guest} MiB more after a GiB each way`);
  t.ok(startMs.portferry < MOST.start * startMs.node, `${startMs.portferry} ms to the first byte`);
  t.comment(JSON.stringify({ residentMib, grownMib, startMs }));
});

t.test('nothing wakes them while the engine stalls', platform, async (t) => {
  const folder = join(temporaryFolder(t), 'engine');
  mkdirSync(folder);
  const sockets: net.Socket[] = [];
  const engine = net.createServer((socket) => void sockets.push(socket.on('error', () => {}).resume()));
  engine.listen(join(folder, 'docker.sock'));
  await once(engine, 'listening');
  t.teardown(() => {
    engine.close();
    for (const socket of sockets) socket.destroy();
  });
  const { wakeups } = await measure(t, '--wakeups', '--docker', join(folder, 'docker.sock'));
  t.same(wakeups, { node: 0, host: 0, guest: 0 });
  t.ok(sockets.length > 0, 'it was asked');
});

t.test('nor while a dockerd has nothing to tell', platform, async (t) => {
  const vm = await DockerVm.start(t);
  if (!vm) return;
  const { wakeups } = await measure(t, '--wakeups', '--docker', vm.socket);
  t.same(wakeups, { node: 0, host: 0, guest: 0 });
});
