import { mkdir } from 'node:fs/promises';
import { join } from 'node:path';
import { messageOf, OperationError } from '../../protocol/errors.js';
import { makeTemporaryFolder } from '../../protocol/program/temporary-folder.js';
import type { Endpoint } from './endpoint.js';
import { forkFarEnd } from './fork-far-end.js';
import type { Rival, RunningRival } from './rivals/rival.js';
import type { Figures, RunContext, Workload } from './workload.js';

export interface BenchPlan {
  rivals: readonly Rival[];
  workloads: readonly Workload[];
  /** Measured runs of each workload on each rival, besides one to warm up. */
  runs: number;
  /** Of one run, where a workload goes by time. */
  seconds: number;
  /** For workloads that are counted in connections: 1 for a whole run, less for a quick one. */
  scale: number;
  /** A run that takes longer has failed. Every run ends long before, unless something has been lost. */
  deadlineMs: number;
  /** Told what is being done, and how much of all has been. */
  onProgress(done: number, total: number, what: string): void;
  /** Aborted: end as soon as the present run is over. */
  stop: AbortSignal;
}

export interface RivalReport {
  name: string;
  setup: string;
  version: string;
  /** Why it took no part. */
  absent?: string;
}

/** What came out for one workload on one rival. */
export interface RunOutcome {
  rival: string;
  /** One entry per run. */
  runs: Figures[];
  /** The first thing that went wrong; the workload was not tried again on this rival. */
  failed?: string;
  /** Why it was not tried at all. */
  skipped?: string;
}

export interface BenchResult {
  rivals: RivalReport[];
  workloads: { workload: Workload; outcomes: RunOutcome[] }[];
}

interface Contestant {
  rival: Rival;
  running: RunningRival;
  memos: Map<Workload, Map<string, number>>;
}

/**
 * Runs the plan. Each workload goes through all rivals again and again, one run each, so that whatever
 * changes on the machine meanwhile hits all alike.
 * @throws OperationError when the far end cannot be started, or when the benchmark is interrupted; a rival
 * that fails is reported instead
 */
export async function runBench(plan: BenchPlan, startFarEnd = forkFarEnd): Promise<BenchResult> {
  const farEnd = await startFarEnd();
  const folder = makeTemporaryFolder();
  const reports: RivalReport[] = [];
  const contestants: Contestant[] = [];
  try {
    for (const rival of plan.rivals) {
      const { report, running } = await bringUp(rival, farEnd.endpoint, join(folder.path, rival.name));
      reports.push(report);
      if (running) contestants.push({ rival, running, memos: new Map() });
    }
    return { rivals: reports, workloads: await runWorkloads(plan, contestants) };
  } finally {
    await Promise.all(contestants.map(({ running }) => running.stop()));
    farEnd.stop();
    folder.remove();
  }
}

async function bringUp(
  rival: Rival,
  target: Endpoint,
  folder: string,
): Promise<{ report: RivalReport; running?: RunningRival }> {
  const found = await rival.find();
  const report = { name: rival.name, setup: rival.setup, version: '' };
  if ('absent' in found) return { report: { ...report, absent: found.absent } };
  try {
    await mkdir(folder, { mode: 0o700 });
    const running = await rival.start(target, folder);
    return { report: { ...report, version: found.version }, running };
  } catch (thrown) {
    return { report: { ...report, absent: `it did not start: ${messageOf(thrown)}` } };
  }
}

async function runWorkloads(
  plan: BenchPlan,
  contestants: readonly Contestant[],
): Promise<BenchResult['workloads']> {
  const results: BenchResult['workloads'] = [];
  const total = plan.workloads.length * (plan.runs + 1) * contestants.length;
  let done = 0;
  for (const workload of plan.workloads) {
    const outcomes = contestants.map(({ rival }) => newOutcome(rival, workload.connections * plan.scale));
    // The first round warms up: caches, compilers, windows and pools.
    for (let round = 0; round <= plan.runs; round++) {
      for (const [index, contestant] of contestants.entries()) {
        if (plan.stop.aborted) throw new OperationError('the benchmark was interrupted; nothing is reported');
        plan.onProgress(done++, total, `${workload.name}, ${contestant.rival.name}`);
        const outcome = outcomes[index];
        if (outcome) await runOnce(plan, workload, contestant, outcome, round > 0);
      }
    }
    results.push({ workload, outcomes });
  }
  return results;
}

function newOutcome({ name, maxConnections }: Rival, connections: number): RunOutcome {
  if (maxConnections === undefined || connections <= maxConnections) return { rival: name, runs: [] };
  return { rival: name, runs: [], skipped: `at most ${maxConnections} connections are asked of it` };
}

async function runOnce(
  plan: BenchPlan,
  workload: Workload,
  { running, memos }: Contestant,
  outcome: RunOutcome,
  counts: boolean,
): Promise<void> {
  if (outcome.failed !== undefined || outcome.skipped !== undefined) return;
  const memo = memos.get(workload) ?? new Map<string, number>();
  memos.set(workload, memo);
  const { endpoint, pids } = running;
  const context: RunContext = {
    endpoint,
    pids,
    memo,
    scale: plan.scale,
    seconds: counts ? plan.seconds : plan.seconds / 2,
  };
  try {
    const figures = await within(plan.deadlineMs, workload.run(context));
    if (counts) outcome.runs.push(figures);
  } catch (thrown) {
    outcome.failed = messageOf(thrown);
  }
}

/** @throws OperationError when it takes longer; what hangs is left behind, and ends with the process */
async function within<T>(ms: number, work: Promise<T>): Promise<T> {
  let timer: NodeJS.Timeout | undefined;
  const late = new Promise<never>((_resolve, reject) => {
    timer = setTimeout(() => reject(new OperationError(`it hangs: not done after ${ms / 1000} s`)), ms);
  });
  try {
    return await Promise.race([work, late]);
  } finally {
    clearTimeout(timer);
  }
}
