// One who takes all, and too many of them.
import { setTimeout as passing } from 'node:timers/promises';
import { usageOf } from '../../../build/host/bench/usage.js';
import { Client, works } from '../client.mjs';
import { ENDLESS } from '../pattern.mjs';
import { again, time } from '../words.mjs';
import { hasHalves, SOON_MS } from './common.mjs';

const SLOW_READERS = 8;
const REQUESTS = 300;
const SETTLE_MS = 1_000;
const MIB = 1024 * 1024;

const DESCRIPTORS = 256;
const CLIENTS = 400;
const HELD_MS = 1_000;

const slowReaders = {
  id: 'slow-readers',
  text: `${SLOW_READERS} downloads whose clients do not read; another client's requests meanwhile`,
  async make(scene) {
    const halves = scene.running.halves.map(({ pid }) => pid);
    const alone = await latency(scene);
    const before = (await usageOf(halves)).residentBytes;
    const readers = Array.from({ length: SLOW_READERS }, () => {
      const client = new Client(scene.endpoint, `download - ${ENDLESS}`);
      client.socket.once('data', () => client.socket.pause());
      return client;
    });
    for (const client of readers) await client.until(() => client.bytes > 0, SOON_MS);
    await passing(SETTLE_MS);
    const grownMiB = ((await usageOf(halves)).residentBytes - before) / MIB;
    const beside = await latency(scene);
    for (const client of readers) client.close();
    const answered = beside.answered === REQUESTS ? 'answered' : `${beside.answered} of ${REQUESTS} answered`;
    return { seen: answered, p50Ms: beside.p50, p99Ms: beside.p99, aloneP50Ms: alone.p50, grownMiB };
  },
  cell: ({ p50Ms, p99Ms, aloneP50Ms, grownMiB }) =>
    `answered after ${time(p50Ms.median)} (99 of 100 within ${time(p99Ms.median)}; alone ${time(aloneP50Ms.median)}); memory grows by ${Math.round(grownMiB.median)} MiB`,
};

/** Requests one after the other on one connection. */
async function latency(scene) {
  const client = new Client(scene.endpoint, 'echo');
  await client.until(() => client.bytes > 0, SOON_MS);
  const times = [];
  for (let index = 0; index < REQUESTS; index++) {
    const at = performance.now();
    const bytes = client.bytes;
    client.socket.write('?');
    if (!(await client.until(() => client.bytes > bytes, SOON_MS))) break;
    times.push(performance.now() - at);
  }
  client.close();
  times.sort((a, b) => a - b);
  const at = (share) => times[Math.floor(share * (times.length - 1))];
  return { answered: times.length, p50: at(0.5), p99: at(0.99) };
}

const descriptors = {
  id: 'descriptors',
  text: `${CLIENTS} clients at once, with ${DESCRIPTORS} descriptors a process (ulimit -n); each is answered and then goes`,
  lacks: hasHalves,
  options: { wrap: ['sh', '-c', `ulimit -n ${DESCRIPTORS}; exec "$@"`, 'sh'] },
  async make(scene) {
    const at = performance.now();
    const clients = Array.from({ length: CLIENTS }, () => new Client(scene.endpoint, 'echo'));
    const deadline = at + SOON_MS;
    await Promise.all(
      clients.map(async (client) => {
        await client.until(() => client.bytes > 0, deadline - performance.now());
        // All who are served at first stay until nobody is any more.
        await passing(Math.max(0, HELD_MS - (performance.now() - at)));
        client.close();
      }),
    );
    const answered = clients.filter(({ bytes }) => bytes > 0).length;
    const lost = clients.filter(({ bytes, outcome }) => bytes === 0 && outcome !== undefined).length;
    const seen = answered === CLIENTS ? 'all answered' : 'not all answered';
    const says = await scene.says(at);
    const worksMs = await works(scene.endpoint, SOON_MS);
    return { seen, answered, lost, waiting: CLIENTS - answered - lost, says, worksMs };
  },
  cell: ({ answered, lost, worksMs }) =>
    `${answered.median} of ${CLIENTS} answered${lost.median > 0 ? `, ${lost.median} lost` : ''}; then ${again(worksMs)}`,
};

export const LOAD = [slowReaders, descriptors];
