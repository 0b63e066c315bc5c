#!/usr/bin/env node
// Shows that cost grows with the work and not faster: twice the connections, twice the bytes, and time and
// memory of both halves beside them. For developers; run `npm run build` first.
import { mkdir, mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { serveFarEnd } from '../build/host/bench/far-end.js';
import { Exchange, Upload } from '../build/host/bench/near-end.js';
import { makePortferry } from '../build/host/bench/rivals/portferry.js';
import { usageOf } from '../build/host/bench/usage.js';

const CONNECTIONS = [1_000, 2_000, 4_000, 8_000];
const GIBIBYTES = [1, 2, 4, 8];
const OPENING_AT_ONCE = 100;
const MIB = 1024 ** 2;
const built = (path) => fileURLToPath(new URL(`../dist/${path}`, import.meta.url));
const PROGRAMS = {
  host: [process.execPath, built('host/main.js')],
  guest: [process.execPath, built('guest/main.js')],
};

async function openAll(endpoint, count) {
  const open = [];
  await Promise.all(
    Array.from({ length: OPENING_AT_ONCE }, async () => {
      while (open.length < count) {
        const exchange = new Exchange(endpoint);
        open.push(exchange);
        await exchange.ask();
      }
    }),
  );
  return open;
}

function row(...cells) {
  console.log(cells.map((cell) => String(cell).padStart(16)).join(''));
}

async function measure(pids, work) {
  const before = await usageOf(pids);
  const startedAt = performance.now();
  const result = await work();
  const seconds = (performance.now() - startedAt) / 1000;
  const after = await usageOf(pids);
  return {
    result,
    seconds: seconds.toFixed(2),
    cpu: (after.cpuSeconds - before.cpuSeconds).toFixed(2),
    grown: ((after.residentBytes - before.residentBytes) / MIB).toFixed(0),
    resident: (after.residentBytes / MIB).toFixed(0),
  };
}

const folder = await mkdtemp(join(tmpdir(), 'pfs-'));
const server = await serveFarEnd('127.0.0.1', 0, (error) => console.error(error.message));
const { address: host, port } = server.address();
try {
  row('connections', 's to open', 'CPU s', 'MiB more', 'MiB in all');
  for (const count of CONNECTIONS) {
    const target = join(folder, String(count));
    await mkdir(target);
    const { endpoint, pids, stop } = await makePortferry(PROGRAMS).start({ host, port }, target);
    await Promise.all((await openAll(endpoint, 100)).map((exchange) => exchange.finish()));
    const { result, seconds, cpu, grown, resident } = await measure(pids, () => openAll(endpoint, count));
    row(count, seconds, cpu, grown, resident);
    await Promise.all(result.map((exchange) => exchange.finish()));
    await stop();
  }
  row('GiB up', 's', 'CPU s', 'MiB more', 'MiB in all');
  const { endpoint, pids, stop } = await makePortferry(PROGRAMS).start({ host, port }, folder);
  await new Upload(endpoint).transfer(1024 ** 3);
  for (const size of GIBIBYTES) {
    const { seconds, cpu, grown, resident } = await measure(pids, () =>
      new Upload(endpoint).transfer(size * 1024 ** 3),
    );
    row(size, seconds, cpu, grown, resident);
  }
  await stop();
} finally {
  server.close();
  await rm(folder, { recursive: true, force: true });
}
