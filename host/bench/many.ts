import type { Endpoint } from './endpoint.js';
import { Exchange } from './near-end.js';
import { usageOf } from './usage.js';
import type { Figures, RunContext, Workload } from './workload.js';

const IDLE_CONNECTIONS = 5_000;
const OPEN_CONNECTIONS = 10_000;
/** Connections that are being opened at the same time; more would overflow the listeners' backlogs. */
const OPENING_AT_ONCE = 200;

export const manyWorkloads: readonly Workload[] = [
  {
    name: 'idle-memory',
    describe: 'idle connections, each after one request',
    metrics: [{ name: 'memory', unit: 'KiB/connection', better: 'less' }],
    connections: IDLE_CONNECTIONS,
    counted: true,
    run: idleMemory,
  },
  {
    name: 'open-10000',
    describe: 'connections open at once, one request on each',
    metrics: [{ name: 'time', unit: 's', better: 'less' }],
    connections: OPEN_CONNECTIONS,
    counted: true,
    run: openAtOnce,
  },
];

async function idleMemory({ endpoint, pids, scale, memo }: RunContext): Promise<Figures> {
  const count = Math.round(IDLE_CONNECTIONS * scale);
  // Memory that a rival has once taken for connections it does not give back: the first run's start counts.
  const before = memo.get('resident') ?? (await usageOf(pids)).residentBytes;
  memo.set('resident', before);
  const connections = await open(endpoint, count);
  const after = await usageOf(pids);
  await closeAll(connections);
  return pids.length > 0 ? { memory: (after.residentBytes - before) / 1024 / count } : {};
}

async function openAtOnce({ endpoint, scale }: RunContext): Promise<Figures> {
  const startedAt = performance.now();
  const connections = await open(endpoint, Math.round(OPEN_CONNECTIONS * scale));
  const time = (performance.now() - startedAt) / 1000;
  await closeAll(connections);
  return { time };
}

/** @throws OperationError as soon as one of them fails */
async function open(endpoint: Endpoint, count: number): Promise<Exchange[]> {
  const connections: Exchange[] = [];
  let failed = false;
  const opener = async (): Promise<void> => {
    while (!failed && connections.length < count) {
      const exchange = new Exchange(endpoint);
      connections.push(exchange);
      await exchange.ask();
    }
  };
  try {
    await Promise.all(Array.from({ length: OPENING_AT_ONCE }, opener));
  } catch (thrown) {
    failed = true;
    for (const connection of connections) connection.close();
    throw thrown;
  }
  return connections;
}

async function closeAll(connections: readonly Exchange[]): Promise<void> {
  await Promise.all(connections.map((connection) => connection.finish()));
}
