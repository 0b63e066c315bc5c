import { cpus, type as osType, release, totalmem } from 'node:os';
import type { BenchPlan, BenchResult, RunOutcome } from './run.js';
import type { Metric, Workload } from './workload.js';

/** The one that all others are compared with. */
export const OURS = 'portferry';

/** What the figures were measured on. */
export interface Machine {
  cpu: string;
  cores: number;
  memoryGiB: number;
  os: string;
  node: string;
}

export interface RivalFigure {
  rival: string;
  median?: number;
  min?: number;
  max?: number;
  /** How many times better portferry is; below 1 it is worse. */
  advantage?: number;
  failed?: string;
  /** Why it was not tried. */
  skipped?: string;
}

export interface MetricReport {
  workload: string;
  /** What was measured, with the number of connections where a run may have fewer. */
  describe: string;
  metric: string;
  unit: string;
  better: Metric['better'];
  figures: RivalFigure[];
}

/** The whole report, as --json prints it. */
export interface BenchReport {
  machine: Machine;
  date: string;
  runs: number;
  secondsPerRun: number;
  /** How much of the connections was opened by the workloads that go by them: 1 but in a quick run. */
  scale: number;
  rivals: BenchResult['rivals'];
  metrics: MetricReport[];
}

export function describeMachine(cores = cpus(), kernel = release()): Machine {
  return {
    cpu: cores[0]?.model.trim() ?? 'unknown',
    cores: cores.length,
    memoryGiB: Math.round(totalmem() / 1024 ** 3),
    // The number alone: what comes after it tells who has built the kernel, and for which machine.
    os: `${osType()} ${/^\d+(\.\d+)?/.exec(kernel)?.[0] ?? ''}`.trim(),
    node: process.version,
  };
}

/** Medians, spreads and ratios of what was measured. */
export function makeReport(
  { rivals, workloads }: BenchResult,
  { runs, seconds: secondsPerRun, scale }: Pick<BenchPlan, 'runs' | 'seconds' | 'scale'>,
): BenchReport {
  const metrics = workloads.flatMap(({ workload, outcomes }) =>
    workload.metrics.map((metric) =>
      reportMetric(workload.name, describeWorkload(workload, scale), metric, outcomes),
    ),
  );
  const date = new Date().toISOString();
  return { machine: describeMachine(), date, runs, secondsPerRun, scale, rivals, metrics };
}

function describeWorkload({ describe, connections, counted = false }: Workload, scale: number): string {
  if (!counted) return describe;
  const whole = scale === 1 ? '' : ` (quick: of a whole run's ${formatNumber(connections)})`;
  return `${formatNumber(connections * scale)} ${describe}${whole}`;
}

function reportMetric(
  workload: string,
  describe: string,
  metric: Metric,
  outcomes: readonly RunOutcome[],
): MetricReport {
  const figures = outcomes.map((outcome) => summarise(outcome, metric.name));
  const ours = figures.find(({ rival }) => rival === OURS)?.median;
  for (const figure of figures) {
    // Memory may even have become less: there is no ratio to that.
    if (ours === undefined || figure.median === undefined || ours <= 0 || figure.median <= 0) continue;
    figure.advantage = metric.better === 'more' ? ours / figure.median : figure.median / ours;
  }
  return { workload, describe, metric: metric.name, unit: metric.unit, better: metric.better, figures };
}

function summarise({ rival, runs, failed, skipped }: RunOutcome, metric: string): RivalFigure {
  if (failed !== undefined) return { rival, failed };
  if (skipped !== undefined) return { rival, skipped };
  const values = runs.flatMap((figures) => figures[metric] ?? []).sort((a, b) => a - b);
  const [min] = values;
  const max = values.at(-1);
  const middle = values.length / 2;
  const low = values[Math.ceil(middle) - 1];
  const high = values[Math.floor(middle)];
  if (min === undefined || max === undefined || low === undefined || high === undefined) return { rival };
  return { rival, median: (low + high) / 2, min, max };
}

/** The report as text for people. */
export function formatReport(report: BenchReport): string {
  const { machine, rivals, runs, secondsPerRun } = report;
  const lines = [
    `${machine.cpu}, ${machine.cores} cores, ${machine.memoryGiB} GiB; ${machine.os}; Node ${machine.node}`,
    `${runs} ${runs === 1 ? 'run' : 'runs'} of ${secondsPerRun} s each, alternating between the rivals; median (lowest – highest)`,
    '',
  ];
  for (const { name, version, setup, absent } of rivals)
    lines.push(
      `${name.padEnd(NAME_WIDTH)} ${absent === undefined ? [setup, version].filter(Boolean).join('; ') : `absent: ${absent}`}`,
    );
  for (const metric of report.metrics) lines.push('', ...formatMetric(metric));
  return `${lines.join('\n')}\n`;
}

const NAME_WIDTH = 18;
const VALUE_WIDTH = 10;
const SPREAD_WIDTH = 22;

function formatMetric({ workload, describe, metric, unit, better, figures }: MetricReport): string[] {
  const lines = [`${workload}: ${describe}; ${metric}, ${unit} (${better} is better)`];
  for (const { rival, median, min, max, advantage, failed, skipped } of figures) {
    let value = 'not measured';
    if (failed !== undefined) value = `FAILED: ${failed}`;
    else if (skipped !== undefined) value = `not tried: ${skipped}`;
    else if (median !== undefined && min !== undefined && max !== undefined)
      value = `${formatNumber(median).padStart(VALUE_WIDTH)}  ${`(${formatNumber(min)} – ${formatNumber(max)})`.padEnd(SPREAD_WIDTH)}`;
    const ratio =
      advantage === undefined || rival === OURS ? '' : `${OURS} is ${advantage.toFixed(2)} × as good`;
    lines.push(`  ${rival.padEnd(NAME_WIDTH - 2)} ${value}${ratio}`.trimEnd());
  }
  return lines;
}

/** Three significant digits, and no more than are known. */
export function formatNumber(value: number): string {
  if (value === 0) return '0';
  // From here on three digits would be rounded to 1000, which toPrecision writes as 1.00e+3.
  if (Math.abs(value) >= 999.5) return Math.round(value).toLocaleString('en');
  return value.toPrecision(3);
}
