#!/usr/bin/env node
// Short connections through host and guest at full speed, for as long as you say: each byte is checked, and both ends
// must take no more memory and no more descriptors at the end than in the middle. For developers; run `npm run build`
// first. Linux only, for it reads /proc.
import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { readdirSync, readFileSync } from 'node:fs';
import { mkdtemp, rm } from 'node:fs/promises';
import net from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { parseArgs } from 'node:util';
import { forkFarEnd } from '../build/host/bench/fork-far-end.js';
import { Download, Exchange, Upload } from '../build/host/bench/near-end.js';
import { ControlClient } from '../build/host/control/client.js';

const HELP = `Usage: node scripts/soak.mjs [--minutes N] [--clients N] [--json]

Short connections at full speed through a host and a guest: exchanges, small transfers both ways, clients that reset,
and destinations that refuse. Each byte is checked. A line a minute says how many there were, how many failed, and
what both ends hold; the exit code is 1 when one failed, or when either end grows.

  --minutes N   how long (default 1; a fraction is possible)
  --clients N   how many connections there are at any time (default 16)
  --json        one JSON object at the end, on standard output
`;

/** What both ends hold is looked at so many times at least. */
const MIN_SAMPLES = 24;
/**
 * What comes before is warming up, and most of it fails: then the host has as many records as it keeps, those of
 * failures included.
 */
const WARM_UP_CONNECTIONS = 6_000;
/** Between two looks (ms) at most. */
const MAX_INTERVAL_MS = 60_000;
/** A connection that takes longer (ms) is stuck: far longer than a busy machine lets a program wait. */
const STUCK_MS = 300_000;
const SMALL_BYTES = 4096;
/** What is told of failures. */
const KEPT_FAILURES = 10;
/**
 * How much more (MiB) an end may hold at last, however long it runs. The heap is looked at without its garbage; how much
 * of that V8 keeps resident goes up and down by some 35 MiB within minutes.
 */
const MAX_GROWTH = { heap: 1, resident: 48 };
const BYTES_PER_MIB = 1024 * 1024;
const DIST = fileURLToPath(new URL('../dist/', import.meta.url));
/** Loaded into both ends: tells their heap without what is garbage, and ends them with this program. */
const PROBE = `data:text/javascript,${encodeURIComponent(
  `process.on("message", () => { gc(); process.send(process.memoryUsage().heapUsed); });
   process.on("disconnect", () => process.exit());
   process.channel.unref();`,
)}`;

const { values: options } = parseArgs({
  options: {
    minutes: { type: 'string', default: '1' },
    clients: { type: 'string', default: '16' },
    json: { type: 'boolean', default: false },
    help: { type: 'boolean', default: false },
  },
});

const environment = Object.fromEntries(
  Object.entries(process.env).filter(([name]) => name !== 'NODE_OPTIONS' && !name.startsWith('PORTFERRY_')),
);

/** One of the two programs. */
class End {
  logLines = 0;
  #child;

  constructor(main, ...args) {
    const probe = ['--expose-gc', '--import', PROBE];
    this.#child = spawn(process.execPath, [...probe, join(DIST, main), ...args], {
      stdio: ['ignore', 'ignore', 'pipe', 'ipc'],
      env: environment,
    });
    this.#child.stderr.setEncoding('utf8').on('data', (text) => {
      this.logLines += text.split('\n').length - 1;
    });
    this.gone = new Promise((_resolve, reject) => {
      this.#child.on('exit', (code, signal) => reject(new Error(`${main} has ended: ${code ?? signal}`)));
    });
    this.gone.catch(() => {});
  }

  async look() {
    this.#child.send('heap');
    const [heapBytes] = await once(this.#child, 'message');
    const { pid } = this.#child;
    const kib = /^VmRSS:\s+(\d+)/m.exec(readFileSync(`/proc/${pid}/status`, 'utf8'))[1];
    return {
      residentMib: round(Number(kib) / 1024),
      heapMib: round(heapBytes / BYTES_PER_MIB),
      descriptors: readdirSync(`/proc/${pid}/fd`).length,
    };
  }

  async stop() {
    this.#child.kill('SIGTERM');
    await this.gone.catch(() => {});
  }
}

/** A client that resets when it has its answer. */
class Rude extends Exchange {
  reset() {
    this.socket.reset();
  }
}

async function exchange({ far }) {
  const connection = new Exchange(far);
  await connection.ask();
  await connection.finish();
}

async function reset({ far }) {
  const connection = new Rude(far);
  await connection.ask();
  connection.reset();
}

async function refused({ nobody }) {
  const outcome = await new Exchange(nobody).ask().then(
    () => 'an answer',
    (error) => error.message,
  );
  if (!/ECONNRESET/.test(outcome)) throw new Error(`from where nobody listens came: ${outcome}`);
}

/** What the connections are, in turn. */
const KINDS = [
  ...[exchange, exchange, exchange, exchange, exchange, exchange, reset, refused],
  ({ far }) => new Download(far).transfer(SMALL_BYTES),
  ({ far }) => new Upload(far).transfer(SMALL_BYTES),
];
const WARM_UP_KINDS = [...KINDS, ...Array.from({ length: KINDS.length }, () => refused)];

/** The load: so many connections at any time, one after the other in each slot. */
class Load {
  count = 0;
  failed = 0;
  failures = [];
  #running = true;
  #slots;

  constructor(clients, endpoints) {
    this.begun = new Map();
    this.#slots = Array.from({ length: clients }, (_, slot) => this.#run(slot, endpoints));
  }

  async stop() {
    this.#running = false;
    await Promise.race([Promise.all(this.#slots), pause(STUCK_MS)]);
    this.look(0);
  }

  /** Finds what stands still. */
  look(patience = STUCK_MS) {
    for (const [slot, at] of this.begun)
      if (performance.now() - at > patience) {
        this.#fail(new Error('a connection is stuck'));
        this.begun.delete(slot);
      }
  }

  async #run(slot, endpoints) {
    while (this.#running) {
      this.begun.set(slot, performance.now());
      try {
        const kinds = this.count < WARM_UP_CONNECTIONS ? WARM_UP_KINDS : KINDS;
        await kinds[this.count++ % kinds.length](endpoints);
      } catch (thrown) {
        this.#fail(thrown);
      }
    }
    this.begun.delete(slot);
  }

  #fail(error) {
    this.failed++;
    if (this.failures.length < KEPT_FAILURES) this.failures.push(error.message);
  }
}

const pause = (ms) => new Promise((resolve) => setTimeout(resolve, ms).unref());
const round = (number) => Math.round(number * 100) / 100;
const median = (numbers) => numbers.toSorted((a, b) => a - b)[Math.floor(numbers.length / 2)];

/** A port of this machine that nobody listens on. */
async function closedPort() {
  const server = net.createServer().listen(0, '127.0.0.1');
  await once(server, 'listening');
  const { port } = server.address();
  server.close();
  await once(server, 'close');
  return port;
}

/** From the first third to the last one: a median is not moved by the odd look at a bad moment. */
function growth(samples, end, what) {
  const third = Math.ceil(samples.length / 3);
  const of = (some) => median(some.map((sample) => sample[end][what]));
  return round(of(samples.slice(-third)) - of(samples.slice(0, third)));
}

function judge(samples) {
  const grown = {};
  const problems = [];
  for (const end of ['host', 'guest']) {
    grown[end] = {
      heapMib: growth(samples, end, 'heapMib'),
      residentMib: growth(samples, end, 'residentMib'),
    };
    if (grown[end].heapMib > MAX_GROWTH.heap) problems.push(`the heap of the ${end} grows`);
    if (grown[end].residentMib > MAX_GROWTH.resident) problems.push(`the ${end} grows`);
  }
  return { grown, problems };
}

function tell({ seconds, connections, perSecond, failed, host, guest }) {
  const end = (name, { residentMib, heapMib, descriptors }) =>
    `${name} ${residentMib.toFixed(1)} MiB (heap ${heapMib.toFixed(2)}), ${descriptors} descriptors`;
  process.stderr.write(
    `${String(Math.round(seconds)).padStart(6)} s: ${connections} connections (${perSecond}/s), ${failed} failed; ${end('host', host)}; ${end('guest', guest)}\n`,
  );
}

/** Looks at both ends until the time is over. */
async function watch(load, ends, seconds) {
  const interval = Math.min(MAX_INTERVAL_MS, (seconds * 1000) / MIN_SAMPLES);
  const startedAt = performance.now();
  const samples = [];
  for (let before = { at: startedAt, count: load.count }; ; ) {
    await new Promise((resolve) => setTimeout(resolve, interval));
    load.look();
    const at = performance.now();
    const { count, failed } = load;
    const [host, guest] = await Promise.all([ends.host.look(), ends.guest.look()]);
    const sample = {
      ...{ seconds: round((at - startedAt) / 1000), connections: count, failed, host, guest },
      perSecond: Math.round(((count - before.count) * 1000) / (at - before.at)),
    };
    samples.push(sample);
    tell(sample);
    before = { at, count };
    if (at - startedAt >= seconds * 1000) return samples;
  }
}

/** What must be so when nobody is connected any more. */
async function checkQuiet(client, count) {
  const [{ channel }, forwards] = [await client.status(), await client.forwards()];
  const sum = (counter) => forwards.reduce((total, { counters }) => total + counters[counter], 0);
  const problems = [];
  if (channel.reconnects > 0) problems.push(`the channel was lost: ${channel.lastError}`);
  if (sum('connections') !== count)
    problems.push(`the host has counted ${sum('connections')} of ${count} connections`);
  return problems;
}

/** Both ends are there and have their forwards. @returns where the load goes */
async function findEndpoints(client, targets) {
  let status;
  while (status?.channel.state !== 'connected') {
    await new Promise((resolve) => setTimeout(resolve, 50));
    status = await client.status().catch(() => undefined);
  }
  const listed = await client.forwards();
  const [far, nobody] = targets.map((target) => {
    const { out_port: port } = listed.find(({ in_port: inPort }) => inPort === target);
    return { host: '127.0.0.1', port };
  });
  return { far, nobody };
}

async function measure(client, ends, targets, minutes, clients) {
  const load = new Load(clients, await findEndpoints(client, targets));
  while (load.count < WARM_UP_CONNECTIONS) await new Promise((resolve) => setTimeout(resolve, 50));
  const warmedUp = load.count;
  const samples = await watch(load, ends, minutes * 60);
  await load.stop();
  const { grown, problems } = judge(samples);
  problems.push(...(await checkQuiet(client, load.count)));
  if (load.failed > 0) problems.push(`${load.failed} connections failed: ${load.failures.join('; ')}`);
  const { seconds, connections } = samples.at(-1);
  return {
    ...{ seconds, clients, connections: load.count, failed: load.failed, grown, problems },
    perSecond: Math.round((connections - warmedUp) / seconds),
    logLines: { host: ends.host.logLines, guest: ends.guest.logLines },
    samples,
  };
}

async function run(minutes, clients, folder) {
  const farEnd = await forkFarEnd();
  const channel = `unix:${join(folder, 'channel.sock')}`;
  const control = join(folder, 'control.sock');
  const targets = [farEnd.endpoint.port, await closedPort()];
  const forwards = targets.flatMap((port) => ['--forward', `127.0.0.1:0:${port}`]);
  const ends = {
    host: new End('host/main.js', 'host', '--listen', channel, '--control', control, ...forwards),
    guest: new End('guest/main.js', '--connect', channel),
  };
  try {
    const measured = measure(new ControlClient(control), ends, targets, minutes, clients);
    return await Promise.race([measured, ends.host.gone, ends.guest.gone]);
  } finally {
    farEnd.stop();
    await Promise.all([ends.guest.stop(), ends.host.stop()]);
  }
}

async function main() {
  const minutes = Number(options.minutes);
  const clients = Number(options.clients);
  if (options.help || !(minutes > 0) || !(clients > 0)) {
    process.stdout.write(HELP);
    return options.help ? 0 : 2;
  }
  const folder = await mkdtemp(join(tmpdir(), 'pfk-'));
  try {
    const result = await run(minutes, clients, folder);
    if (options.json) console.log(JSON.stringify(result));
    else {
      const { seconds, connections, perSecond, grown, logLines } = result;
      console.log(`${connections} connections in ${seconds} s (${perSecond}/s)`);
      for (const end of ['host', 'guest'])
        console.log(
          `${end}: from the first third to the last ${grown[end].residentMib} MiB more, heap ${grown[end].heapMib} MiB more; ${logLines[end]} lines of the log`,
        );
    }
    for (const problem of result.problems) console.error(problem);
    return result.problems.length > 0 ? 1 : 0;
  } finally {
    await rm(folder, { recursive: true, force: true });
  }
}

process.exit(await main());
