#!/usr/bin/env node
// What portferry takes while nobody uses it, beside bare Node in the same run: wake-ups, resident memory, and the
// time from start to the first byte. vpnkit-forwarder is measured, too, where it is on PATH. Linux only, for it
// reads /proc. For developers; run `npm run build` first. --json prints numbers; --docker PATH is the engine's
// socket that the guest publishes from, by default one that is not there.
import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { readdirSync, readFileSync } from 'node:fs';
import { mkdir, mkdtemp, rm } from 'node:fs/promises';
import net from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { parseArgs } from 'node:util';
import { serveFarEnd } from '../build/host/bench/far-end.js';
import { Download, Exchange, Upload } from '../build/host/bench/near-end.js';
import { freeEndpoint } from '../build/host/bench/rivals/programs.js';
import { vpnkitForwarder } from '../build/host/bench/rivals/vpnkit-forwarder.js';

const GIB = 1024 ** 3;
const KIB_PER_MIB = 1024;
/** How long (ms) is counted. */
const WINDOW_MS = 10_000;
/** After what it has loaded, V8 collects its garbage once more by itself, some seconds later: then it is idle. */
const MAX_WINDOWS = 8;
const START_ROUNDS = 7;
const DIST = fileURLToPath(new URL('../dist/', import.meta.url));
const IDLE = ['-e', 'setInterval(() => {}, 1e9)'];

const { values: options } = parseArgs({
  options: { json: { type: 'boolean' }, docker: { type: 'string' }, wakeups: { type: 'boolean' } },
});

function residentMib(pid) {
  const [, kib] = /^VmRSS:\s+(\d+)/m.exec(readFileSync(`/proc/${pid}/status`, 'utf8'));
  return Number(kib) / KIB_PER_MIB;
}

/** How often all threads of a process have gone to sleep: each time they had been woken before. */
function sleeps(pid) {
  const threads = readdirSync(`/proc/${pid}/task`);
  const count = (thread) =>
    /^voluntary_ctxt_switches:\s+(\d+)/m.exec(readFileSync(`/proc/${pid}/task/${thread}/status`, 'utf8'))[1];
  return threads.reduce((sum, thread) => sum + Number(count(thread)), 0);
}

const pause = (ms) => new Promise((resolve) => setTimeout(resolve, ms));

/** Wake-ups in a window of each process, in the first window in which there are none, or in the last one. */
async function countWakeups(pids) {
  let counts = pids;
  for (let window = 0; window < MAX_WINDOWS; window++) {
    const before = pids.map(sleeps);
    await pause(WINDOW_MS);
    counts = pids.map((pid, index) => sleeps(pid) - before[index]);
    if (counts.every((count) => count === 0)) break;
  }
  return counts;
}

function bare() {
  const child = spawn(process.execPath, IDLE, { stdio: 'ignore', env: environment });
  return { pids: [child.pid], stop: async () => child.kill('SIGKILL') };
}

/** Without what may slow programs down, and without this user's own settings. */
const environment = Object.fromEntries(
  Object.entries(process.env).filter(([name]) => name !== 'NODE_OPTIONS' && !name.startsWith('PORTFERRY_')),
);

/** Host and guest, started at the same moment. */
async function portferry(target, folder) {
  const endpoint = await freeEndpoint();
  const channel = `unix:${join(folder, 'channel.sock')}`;
  const docker = options.docker ?? join(folder, 'engine', 'docker.sock');
  const forward = `${endpoint.host}:${endpoint.port}:${target.host}:${target.port}`;
  const start = (main, ...args) =>
    spawn(process.execPath, [join(DIST, main), ...args, '--log-level', 'fatal'], {
      stdio: ['ignore', 'ignore', 'inherit'],
      env: environment,
    });
  await mkdir(join(folder, 'engine'), { recursive: true });
  const children = [
    start(
      'host/main.js',
      ...['host', '--listen', channel, '--control', join(folder, 'control.sock'), '--forward', forward],
    ),
    start('guest/main.js', '--connect', channel, `--docker=${docker}`),
  ];
  return {
    endpoint,
    pids: children.map(({ pid }) => pid),
    stop: async () => {
      for (const child of children) child.kill('SIGKILL');
      await Promise.all(children.map((child) => once(child, 'exit')));
    },
  };
}

/** Resolves when a byte has come back; connecting is tried again until it works, as a client does. */
async function firstByte({ host, port }) {
  for (;;) {
    const outcome = await new Promise((resolve) => {
      const socket = net.connect({ host, port });
      socket.on('connect', () => socket.write('hello\n'));
      socket.on('data', () => {
        socket.destroy();
        resolve(true);
      });
      socket.on('error', () => resolve(false));
      socket.on('end', () => resolve(false));
    });
    if (outcome) return;
    await pause(1);
  }
}

/** The same from the far end of the benchmark. */
async function firstAnswer(endpoint) {
  for (;;) {
    const exchange = new Exchange(endpoint);
    try {
      await exchange.ask();
      return await exchange.finish();
    } catch {
      await pause(10);
    }
  }
}

/** Medians of what is measured in turn: so what else the machine does meanwhile hits all alike. */
async function mediansMs(...measures) {
  const times = measures.map(() => []);
  for (let round = 0; round < START_ROUNDS; round++)
    for (const [index, measure] of measures.entries()) times[index].push(await measure());
  return times.map((all) => all.sort((a, b) => a - b)[Math.floor(START_ROUNDS / 2)]);
}

async function timed(work) {
  const startedAt = performance.now();
  await work();
  return performance.now() - startedAt;
}

async function memoryOf({ endpoint, pids, stop }) {
  await firstAnswer(endpoint);
  const atStart = pids.map(residentMib);
  await new Upload(endpoint).transfer(GIB);
  await new Download(endpoint).transfer(GIB);
  const afterwards = pids.map(residentMib);
  await stop();
  return { atStart, grown: afterwards.map((mib, index) => mib - atStart[index]) };
}

const folder = await mkdtemp(join(tmpdir(), 'pff-'));
const echo = net.createServer((socket) => socket.on('error', () => {}).pipe(socket));
echo.listen(0, '127.0.0.1');
await once(echo, 'listening');
const server = await serveFarEnd('127.0.0.1', 0, (error) => console.error(error.message));
const addressOf = (listening) => ({ host: '127.0.0.1', port: listening.address().port });
let folders = 0;
const newFolder = async () => {
  const made = join(folder, String(folders++));
  await mkdir(made);
  return made;
};

async function measurePortferry() {
  const run = await portferry(addressOf(echo), await newFolder());
  await firstByte(run.endpoint);
  const idle = bare();
  const [node, host, guest] = await countWakeups([...idle.pids, ...run.pids]);
  const nodeMib = residentMib(idle.pids[0]);
  await Promise.all([run.stop(), idle.stop()]);
  if (options.wakeups) return { wakeups: { node, host, guest } };
  const memory = await memoryOf(await portferry(addressOf(server), await newFolder()));
  const start = async () => {
    const target = await newFolder();
    let started;
    const ms = await timed(async () => {
      started = await portferry(addressOf(echo), target);
      await firstByte(started.endpoint);
    });
    await started.stop();
    return ms;
  };
  const [startMs, nodeMs] = await mediansMs(start, () =>
    timed(() => once(spawn(process.execPath, ['-e', '0'], { env: environment }), 'exit')),
  );
  return {
    wakeups: { node, host, guest },
    residentMib: { node: nodeMib, host: memory.atStart[0], guest: memory.atStart[1] },
    grownMib: { host: memory.grown[0], guest: memory.grown[1] },
    startMs: { node: nodeMs, portferry: startMs },
  };
}

/** Its half that stands in the host's place is the second one. */
async function measureVpnkit() {
  const run = await vpnkitForwarder.start(addressOf(echo), await newFolder());
  await firstByte(run.endpoint);
  const [guest, host] = await countWakeups(run.pids);
  await run.stop();
  const memory = await memoryOf(await vpnkitForwarder.start(addressOf(server), await newFolder()));
  const [startMs] = await mediansMs(async () => {
    const target = await newFolder();
    let started;
    const ms = await timed(async () => {
      started = await vpnkitForwarder.start(addressOf(echo), target);
      await firstByte(started.endpoint);
    });
    await started.stop();
    return ms;
  });
  return {
    wakeups: { host, guest },
    residentMib: { host: memory.atStart[1], guest: memory.atStart[0] },
    grownMib: { host: memory.grown[1], guest: memory.grown[0] },
    startMs,
  };
}

function print({ wakeups, residentMib: resident, grownMib, startMs }, vpnkit) {
  const times = (value, of) => `${value.toFixed(1)} (${(value / of).toFixed(2)} ×)`;
  const row = (what, ...cells) =>
    console.log(what.padEnd(38) + cells.map((cell) => String(cell ?? '–').padStart(16)).join(''));
  row('', 'bare Node', 'host', 'guest', 'vpnkit: host', 'guest');
  row(
    `wake-ups in ${WINDOW_MS / 1000} s, idle`,
    ...[wakeups.node, wakeups.host, wakeups.guest, vpnkit?.wakeups.host, vpnkit?.wakeups.guest],
  );
  row(
    'resident MiB at start',
    resident.node.toFixed(1),
    ...[times(resident.host, resident.node), times(resident.guest, resident.node)],
    ...[vpnkit?.residentMib.host.toFixed(1), vpnkit?.residentMib.guest.toFixed(1)],
  );
  row(
    'MiB more after a GiB each way',
    ...['–', grownMib.host.toFixed(1), grownMib.guest.toFixed(1)],
    ...[vpnkit?.grownMib.host.toFixed(1), vpnkit?.grownMib.guest.toFixed(1)],
  );
  row(
    'ms from start to the first byte back',
    ...[startMs.node.toFixed(0), times(startMs.portferry, startMs.node), '', vpnkit?.startMs.toFixed(0), ''],
  );
}

try {
  const ours = await measurePortferry();
  const vpnkit =
    !options.wakeups && 'version' in (await vpnkitForwarder.find()) ? await measureVpnkit() : undefined;
  if (options.json || options.wakeups) console.log(JSON.stringify({ ...ours, ...(vpnkit && { vpnkit }) }));
  else print(ours, vpnkit);
} finally {
  echo.close();
  server.close();
  await rm(folder, { recursive: true, force: true });
}
process.exit();
