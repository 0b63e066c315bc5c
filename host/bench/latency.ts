import { Worker } from 'node:worker_threads';
import type { Histogram } from 'hdr-histogram-js';
import { OperationError } from '../../protocol/errors.js';
import { Exchange } from './near-end.js';
import type { Figures, RunContext, Workload } from './workload.js';

/** Between two requests of the paced client: long enough that it does not load the machine itself. */
const PACE_MS = 2;

const METRICS = [
  { name: 'p50', unit: 'µs', better: 'less' },
  { name: 'p99', unit: 'µs', better: 'less' },
  { name: 'p99.9', unit: 'µs', better: 'less' },
] as const;

export const latencyWorkloads: readonly Workload[] = [
  {
    name: 'latency',
    describe: 'request and answer, one client',
    metrics: METRICS,
    connections: 1,
    run: runAlone,
  },
  {
    name: 'latency-beside-bulk',
    describe: 'request and answer beside a saturating upload',
    metrics: METRICS,
    connections: 2,
    run: runBeside,
  },
];

async function runAlone({ endpoint, seconds }: RunContext): Promise<Figures> {
  const exchange = new Exchange(endpoint);
  try {
    return await measure(exchange, seconds, 0);
  } finally {
    exchange.close();
  }
}

/**
 * The load has a thread of its own, so that the client that is measured waits for the forwarder only, and not
 * for the other client's work.
 */
async function runBeside({ endpoint, seconds }: RunContext): Promise<Figures> {
  const worker = new Worker(new URL('./saturate.js', import.meta.url), { workerData: endpoint });
  const saturating = new Promise((resolve) => worker.once('message', resolve));
  const failed = new Promise<never>((_resolve, reject) => {
    worker.once('error', ({ message }) => reject(new OperationError(`the upload failed: ${message}`)));
  });
  const exchange = new Exchange(endpoint);
  try {
    await Promise.race([saturating, failed]);
    return await Promise.race([measure(exchange, seconds, PACE_MS), failed]);
  } finally {
    exchange.close();
    await worker.terminate();
  }
}

async function measure(exchange: Exchange, seconds: number, paceMs: number): Promise<Figures> {
  // Loaded late: every portferry command loads this file, and only this one needs a histogram.
  // Bundled, a CommonJS module that is imported late has its default export alone.
  const { build } = (await import('hdr-histogram-js')).default;
  const histogram = build({
    lowestDiscernibleValue: 1,
    highestTrackableValue: 60_000_000,
    numberOfSignificantValueDigits: 3,
  });
  await exchange.ask();
  const endsAt = performance.now() + seconds * 1000;
  while (performance.now() < endsAt) {
    const startedAt = performance.now();
    await exchange.ask();
    histogram.recordValue(Math.max(1, Math.round((performance.now() - startedAt) * 1000)));
    if (paceMs > 0) await new Promise((resolve) => setTimeout(resolve, paceMs));
  }
  return figures(histogram, paceMs);
}

/**
 * A client that waits for its answer sends nothing meanwhile: what a stall would have done to the requests that
 * were due is added (coordinated omission), one for each interval of the stall.
 */
function figures(recorded: Histogram, paceMs: number): Figures {
  const interval = paceMs > 0 ? paceMs * 1000 : Math.max(1, recorded.getValueAtPercentile(50));
  const corrected = recorded.copyCorrectedForCoordinatedOmission(interval);
  return {
    p50: recorded.getValueAtPercentile(50),
    p99: corrected.getValueAtPercentile(99),
    'p99.9': corrected.getValueAtPercentile(99.9),
  };
}
