#!/usr/bin/env node
// Shows that what a host does with forwards grows with their number and not faster: ten times the forwards, and
// the seconds beside them. For developers; run `npm run build` first. Numbers of forwards can be given as
// arguments. A guest gets a third of the files that the host may open, and no more: `got` says how many.
// It listens on ports from 20000 on of an address of its own; in a network namespace nothing is in the way:
// unshare -rn sh -c 'ip link set lo up; node scripts/forwards-scaling.mjs'
import { spawn } from 'node:child_process';
import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { HostControl } from '../build/guest/publish/host-control.js';
import { ControlClient } from '../build/host/control/client.js';
import { ChannelKeeper } from '../build/protocol/channel/channel-keeper.js';
import { createLogger } from '../build/protocol/program/logger.js';
import { SlabPool } from '../build/protocol/slab.js';

const COUNTS = [100, 1_000, 10_000];
const IP = '127.0.0.77';
const FIRST_PORT = 20_000;
/** What takes longer (ms) than this is given up. */
const PATIENCE_MS = 600_000;
const HOST = fileURLToPath(new URL('../dist/host/main.js', import.meta.url));

const logger = createLogger('silent');

/** `portferry host`, and what asks it. Resolves when its control socket answers. */
async function startHost(folder) {
  const control = join(folder, 'control.sock');
  const channel = join(folder, 'channel.sock');
  const child = spawn(
    process.execPath,
    [
      ...[HOST, 'host', '--listen', `unix:${channel}`, '--control', control],
      ...['--state', join(folder, 'state.json'), '--log-level', 'error'],
    ],
    { stdio: ['ignore', 'ignore', 'inherit'] },
  );
  const gone = new Promise((resolve) => child.once('exit', resolve));
  const client = new ControlClient(control, PATIENCE_MS);
  const startedAt = performance.now();
  while (child.exitCode === null && performance.now() - startedAt < PATIENCE_MS) {
    const answers = await client.status().then(
      () => true,
      () => false,
    );
    if (answers) break;
  }
  const stop = async () => {
    child.kill('SIGTERM');
    await gone;
  };
  return { client, channel, stop };
}

/** Runs `work` with a guest's lease on the host. */
async function withLease(path, work) {
  const control = new HostControl(logger, { publishTimeoutMs: PATIENCE_MS, answerTimeoutMs: PATIENCE_MS });
  let keeper;
  await new Promise((resolve) => {
    const owner = {
      onUp: (multiplexer) => {
        control.onUp(multiplexer);
        resolve();
      },
      onStream: (stream) => stream.refuse('service', { code: 'EACCES', message: 'nothing is here' }),
      onDown: () => control.onDown(),
    };
    const address = { kind: 'unix', path };
    const pool = new SlabPool();
    keeper = new ChannelKeeper({ mode: 'connect', address, version: 'scaling', pool, logger, owner });
    void keeper.start();
  });
  await work(control.openLease('scaling'));
  control.close();
  await keeper.stop({ code: 'STOPPED', message: 'done' }, 0);
}

async function seconds(work) {
  const startedAt = performance.now();
  await work();
  return ((performance.now() - startedAt) / 1000).toFixed(3);
}

function row(...cells) {
  console.log(cells.map((cell) => String(cell).padStart(12)).join(''));
}

async function measure(count, folder) {
  const last = FIRST_PORT + count - 1;
  const range = `${IP}:${FIRST_PORT}-${last}`;
  const first = await startHost(folder);
  const expose = await seconds(() => first.client.expose([`${range}:${FIRST_PORT}-${last}`]));
  const list = await seconds(() => first.client.forwards());
  await first.stop();
  let host;
  const restore = await seconds(async () => {
    host = await startHost(folder);
  });
  const { length } = await host.client.forwards();
  if (length !== count) throw new Error(`${length} forwards are back, not ${count}`);
  const unexpose = await seconds(() => host.client.unexpose([range]));
  const forwards = Array.from({ length: count }, (_, index) => ({
    ...{ proto: 'tcp', out_ip: IP, out_port: FIRST_PORT + index, in_ip: '127.0.0.1', in_port: 80 },
  }));
  const claims = [];
  await withLease(host.channel, async (lease) => {
    let listening = 0;
    // The list is answered after what was published before.
    const publish = async (wanted) => {
      lease.publish(wanted);
      listening = (await lease.list()).length;
    };
    await lease.list();
    claims.push(await seconds(() => publish(forwards)), listening);
    claims.push(await seconds(() => publish([])));
  });
  await host.stop();
  row(count, expose, list, restore, unexpose, ...claims);
}

const counts = process.argv.length > 2 ? process.argv.slice(2).map(Number) : COUNTS;
row('forwards', 'expose', 'list', 'restore', 'unexpose', 'claim', 'got', 'release');
for (const count of counts) {
  const folder = await mkdtemp(join(tmpdir(), 'pfs-'));
  try {
    await measure(count, folder);
  } finally {
    await rm(folder, { recursive: true, force: true });
  }
}
