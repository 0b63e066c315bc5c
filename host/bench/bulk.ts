import { Download, Upload } from './near-end.js';
import { usageOf } from './usage.js';
import type { Figures, RunContext, Workload } from './workload.js';

const GIB = 1024 ** 3;
/** Enough to find out how fast a forwarder is, and for it to warm up. */
const PROBE_BYTES = 64 * 1024 * 1024;
const MIN_BYTES = 16 * 1024 * 1024;

const METRICS = [
  { name: 'throughput', unit: 'Gbit/s', better: 'more' },
  { name: 'cpu', unit: 'CPU s/GiB', better: 'less' },
] as const;

/** Bulk transfers of the pattern, of which every byte is checked at the other end. */
export const bulkWorkloads: readonly Workload[] = [
  { ...bulk('up', 1), name: 'bulk-up', describe: 'bulk, one connection, client to server' },
  { ...bulk('down', 1), name: 'bulk-down', describe: 'bulk, one connection, server to client' },
  { ...bulk('up', 8), name: 'bulk-up-8', describe: 'bulk, eight connections together, client to server' },
];

function bulk(
  direction: 'up' | 'down',
  connections: number,
): Pick<Workload, 'metrics' | 'connections' | 'run'> {
  const End = direction === 'up' ? Upload : Download;
  const transfer = async (context: RunContext, bytes: number): Promise<void> => {
    const ends = Array.from({ length: connections }, () => new End(context.endpoint));
    try {
      await Promise.all(ends.map((end) => end.transfer(Math.ceil(bytes / connections))));
    } catch (thrown) {
      for (const end of ends) end.close();
      throw thrown;
    }
  };
  const run = async (context: RunContext): Promise<Figures> => {
    const bytes = await bytesToFill(context, transfer);
    const before = await usageOf(context.pids);
    const startedAt = performance.now();
    await transfer(context, bytes);
    const seconds = (performance.now() - startedAt) / 1000;
    const after = await usageOf(context.pids);
    context.memo.set('bytes', rounded((bytes / seconds) * context.seconds));
    const throughput = (bytes * 8) / seconds / 1e9;
    if (context.pids.length === 0) return { throughput };
    return { throughput, cpu: ((after.cpuSeconds - before.cpuSeconds) * GIB) / bytes };
  };
  return { metrics: METRICS, connections, run };
}

/** How much fills the time: known from the last run, or found out by transferring a little. */
async function bytesToFill(
  context: RunContext,
  transfer: (context: RunContext, bytes: number) => Promise<void>,
): Promise<number> {
  const known = context.memo.get('bytes');
  if (known !== undefined) return known;
  const startedAt = performance.now();
  await transfer(context, PROBE_BYTES);
  return rounded((PROBE_BYTES / (performance.now() - startedAt)) * 1000 * context.seconds);
}

function rounded(bytes: number): number {
  return Math.max(MIN_BYTES, Math.round(bytes / MIN_BYTES) * MIN_BYTES);
}
