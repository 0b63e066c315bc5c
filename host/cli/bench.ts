import { writeFile } from 'node:fs/promises';
import type net from 'node:net';
import type { Writable } from 'node:stream';
import { messageOf, OperationError, UsageError } from '../../protocol/errors.js';
import type { OptionDeclarations, OptionValues } from '../../protocol/program/declared-options.js';
import { type CommandDeclaration, defineCommand } from '../../protocol/program/run-program.js';
import { stopOnSignals } from '../../protocol/program/stop-signals.js';
import { drawChart } from '../bench/chart.js';
import { choose, WORKLOADS } from '../bench/choice.js';
import { formatEndpoint, parseEndpoint } from '../bench/endpoint.js';
import { serveFarEnd } from '../bench/far-end.js';
import { Progress, type ProgressOutput } from '../bench/progress.js';
import { type BenchReport, formatReport, makeReport, OURS } from '../bench/report.js';
import { RIVALS } from '../bench/rivals/rivals.js';
import { runBench } from '../bench/run.js';
import { writeJson } from './output.js';

const DEFAULT_RUNS = 5;
/** A day's worth of them, and more than any median needs. */
const MAX_RUNS = 1_000;
const SECONDS_PER_RUN = 2;
/** A quick benchmark fills this time, as far as its workloads go by time. */
const QUICK_SECONDS = 25;
const QUICK_SCALE = 0.1;
/** Far more than any run takes that does not hang. */
const RUN_DEADLINE_MS = 60_000;
const DEFAULT_LISTEN = '127.0.0.1:5201';

const OPTIONS = {
  quick: { type: 'boolean', describe: 'One short run of each, within a minute; the ratios are rough' },
  runs: {
    type: 'number',
    describe: 'Measured runs of each',
    min: 1,
    max: MAX_RUNS,
    whole: true,
    defaultDescription: `${DEFAULT_RUNS}, or 1 with --quick`,
  },
  only: { type: 'list', describe: 'Only these workloads and rivals; can be given more than once' },
  rival: {
    type: 'list',
    describe: 'Also measure a forwarder that runs already, NAME=HOST:PORT, and leads to a `bench serve`',
  },
  json: { type: 'boolean', describe: 'Print one JSON document' },
  svg: { type: 'string', describe: 'Write a chart to this file' },
  listen: { type: 'string', describe: 'Where `bench serve` listens', defaultDescription: DEFAULT_LISTEN },
} as const satisfies OptionDeclarations;

/** `portferry bench` and `portferry bench serve` */
export function makeBenchCommand(run = runBench): CommandDeclaration {
  return defineCommand({
    name: 'bench',
    describe: 'Measure portferry against the forwarders that are on this machine',
    operands: {
      name: 'serve',
      describe: 'The word serve: be the far end, for --rival on another machine',
      required: false,
    },
    options: OPTIONS,
    examples: [
      ['$0 bench', 'everything, some twenty minutes'],
      ['$0 bench --quick', 'a first impression'],
      ['$0 bench --only bulk-up,latency --only portferry,vpnkit-forwarder', 'some of it'],
      ['$0 bench serve --listen 0.0.0.0:5201', 'the far end, in the VM or in a container'],
      ['$0 bench --rival desktop=127.0.0.1:5201', 'what reaches that far end through Docker Desktop'],
    ],
    epilogue: `Workloads: ${WORKLOADS.map(({ name }) => name).join(', ')}. Rivals: ${RIVALS.map(({ name }) => name).join(', ')}; those that are not on PATH are named as absent.`,
    async run(values, operands, { stdout, stderr, environment }) {
      const [operand, ...rest] = operands;
      if (operand !== undefined && (operand !== 'serve' || rest.length > 0))
        throw new UsageError(`bench takes no argument but serve, not '${operands.join(' ')}'`);
      const { stop, release } = stopOnSignals({ environment });
      try {
        if (operand === 'serve') await serve(values, stop, stdout, stderr);
        else await measure(run, values, stop, stdout, stderr);
      } finally {
        release();
      }
    },
  });
}

export const benchCommand = makeBenchCommand();

/** @throws OperationError when portferry itself failed; the report is written all the same */
async function measure(
  run: typeof runBench,
  { quick, runs = quick ? 1 : DEFAULT_RUNS, only, rival, json, svg }: OptionValues<typeof OPTIONS>,
  stop: AbortSignal,
  stdout: Writable,
  stderr: ProgressOutput,
): Promise<void> {
  const chosen = choose(only, rival);
  // The run that warms up takes half the time.
  const quickRuns = chosen.workloads.length * chosen.rivals.length * (runs + 0.5);
  const seconds = quick ? Math.round(Math.min(1, QUICK_SECONDS / quickRuns) * 100) / 100 : SECONDS_PER_RUN;
  const progress = new Progress(stderr);
  const onProgress = (done: number, total: number, what: string): void =>
    progress.show(`${Math.round((100 * done) / total)} %  ${what}`);
  const scale = quick ? QUICK_SCALE : 1;
  const plan = { ...chosen, runs, seconds, scale, deadlineMs: RUN_DEADLINE_MS, stop, onProgress };
  const result = await run(plan).finally(() => progress.clear());
  const report = makeReport(result, plan);
  if (json) writeJson(stdout, report);
  else stdout.write(formatReport(report));
  if (svg !== undefined) await writeChart(svg, drawChart(report));
  const failure = ownFailure(report);
  if (failure !== undefined) throw new OperationError(`portferry itself failed: ${failure}`);
}

/** What went wrong with portferry first, if anything did. */
function ownFailure({ rivals, metrics }: BenchReport): string | undefined {
  const absent = rivals.find(({ name }) => name === OURS)?.absent;
  if (absent !== undefined) return absent;
  const failures = metrics.flatMap(({ workload, figures }) =>
    figures.flatMap(({ rival, failed }) =>
      rival === OURS && failed !== undefined ? `${workload}: ${failed}` : [],
    ),
  );
  return failures[0];
}

async function writeChart(path: string, chart: string): Promise<void> {
  try {
    await writeFile(path, chart);
  } catch (thrown) {
    throw new OperationError(`cannot write the chart to ${path}: ${messageOf(thrown)}`);
  }
}

async function serve(
  { listen = DEFAULT_LISTEN }: OptionValues<typeof OPTIONS>,
  stop: AbortSignal,
  stdout: Writable,
  stderr: Writable,
): Promise<void> {
  const { host, port } = parseEndpoint(listen);
  const onError = (error: Error): void => void stderr.write(`bench serve: ${error.message}\n`);
  const server = await serveFarEnd(host, port, onError).catch((thrown) => {
    throw new OperationError(`cannot listen on ${listen}: ${messageOf(thrown)}`);
  });
  const bound = server.address() as net.AddressInfo;
  const endpoint = formatEndpoint({ host: bound.address, port: bound.port });
  stdout.write(`the far end listens on ${endpoint} until Ctrl-C\n`);
  if (!stop.aborted) await new Promise((resolve) => stop.addEventListener('abort', resolve));
  server.close();
}
