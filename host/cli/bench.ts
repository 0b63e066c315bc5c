import { writeFile } from 'node:fs/promises';
import { messageOf, OperationError, UsageError } from '../../protocol/errors.js';
import type { OptionDeclarations } from '../../protocol/program/options.js';
import { defineCommand } from '../../protocol/program/run-program.js';
import { stopOnSignals } from '../../protocol/program/stop-signals.js';
import { bulkWorkloads } from '../bench/bulk.js';
import { drawChart } from '../bench/chart.js';
import type { Endpoint } from '../bench/endpoint.js';
import { serveFarEnd } from '../bench/far-end.js';
import { latencyWorkloads } from '../bench/latency.js';
import { manyWorkloads } from '../bench/many.js';
import { rateWorkloads } from '../bench/rate.js';
import { formatReport, makeReport } from '../bench/report.js';
import { externalRival, RIVALS } from '../bench/rivals/rivals.js';
import { runBench } from '../bench/run.js';

const WORKLOADS = [...bulkWorkloads, ...latencyWorkloads, ...rateWorkloads, ...manyWorkloads];

const DEFAULT_RUNS = 5;
const SECONDS_PER_RUN = 2;
/** A quick benchmark fills this time, as far as its workloads go by time. */
const QUICK_SECONDS = 25;
const QUICK_SCALE = 0.1;
const DEFAULT_LISTEN = '127.0.0.1:5201';

const OPTIONS = {
  quick: { type: 'boolean', describe: 'One short run of each, within a minute; the ratios are rough' },
  runs: {
    type: 'number',
    describe: 'Measured runs of each',
    min: 1,
    defaultDescription: String(DEFAULT_RUNS),
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
export const benchCommand = defineCommand({
  name: 'bench',
  describe: 'Measure portferry against the forwarders that are on this machine',
  operands: {
    name: 'serve',
    describe: 'The word serve: be the far end, for --rival on another machine',
    required: false,
  },
  options: OPTIONS,
  examples: [
    ['$0 bench', 'everything, some minutes'],
    ['$0 bench --quick', 'a first impression'],
    ['$0 bench --only bulk-up,latency --only portferry,vpnkit-forwarder', 'some of it'],
    ['$0 bench serve --listen 0.0.0.0:5201', 'the far end, in the VM or in a container'],
    ['$0 bench --rival desktop=127.0.0.1:5201', 'what reaches that far end through Docker Desktop'],
  ],
  epilogue: `Workloads: ${WORKLOADS.map(({ name }) => name).join(', ')}. Rivals: ${RIVALS.map(({ name }) => name).join(', ')}; those that are not on PATH are named as absent.`,
  async run(values, operands, { stdout, stderr }) {
    const [operand, ...rest] = operands;
    if (operand !== undefined && (operand !== 'serve' || rest.length > 0))
      throw new UsageError(`bench takes no argument but serve, not '${operands.join(' ')}'`);
    const { stop, release } = stopOnSignals();
    try {
      if (operand === 'serve') await serve(parseEndpoint(values.listen ?? DEFAULT_LISTEN), stop, stdout);
      else await measure(values, stop, stdout, stderr);
    } finally {
      release();
    }
  },
});

interface Output {
  write(text: string): unknown;
}

async function measure(
  values: {
    quick: boolean;
    runs: number | undefined;
    only: string[];
    rival: string[];
    json: boolean;
    svg: string | undefined;
  },
  stop: AbortSignal,
  stdout: Output,
  stderr: Output & { isTTY?: boolean },
): Promise<void> {
  const chosen = choose(values.only, values.rival.map(parseRival));
  const runs = values.quick ? 1 : (values.runs ?? DEFAULT_RUNS);
  const perQuickRun = QUICK_SECONDS / (chosen.workloads.length * chosen.rivals.length * 1.5);
  const seconds = values.quick ? Math.round(Math.min(1, perQuickRun) * 100) / 100 : SECONDS_PER_RUN;
  const progress = new Progress(stderr);
  const result = await runBench({
    ...chosen,
    runs,
    seconds,
    scale: values.quick ? QUICK_SCALE : 1,
    deadlineMs: 60_000,
    stop,
    onProgress: (done, total, what) => progress.show(`${Math.round((100 * done) / total)} %  ${what}`),
  });
  progress.clear();
  const report = makeReport(result, runs, seconds);
  if (values.svg !== undefined) await writeChart(values.svg, drawChart(report));
  stdout.write(values.json ? `${JSON.stringify(report, undefined, 2)}\n` : formatReport(report));
  const failed = report.metrics.flatMap(({ workload, figures }) =>
    figures
      .filter((figure) => figure.rival === 'portferry' && figure.failed !== undefined)
      .map(({ failed }) => `${workload}: ${failed}`),
  );
  if (failed[0] !== undefined) throw new OperationError(`portferry itself failed in ${failed[0]}`);
}

async function writeChart(path: string, chart: string): Promise<void> {
  try {
    await writeFile(path, chart);
  } catch (thrown) {
    throw new OperationError(`cannot write the chart to ${path}: ${messageOf(thrown)}`);
  }
}

/** Names of workloads restrict the workloads, names of rivals the rivals. */
function choose(
  only: readonly string[],
  externals: readonly (typeof RIVALS)[number][],
): Pick<Parameters<typeof runBench>[0], 'rivals' | 'workloads'> {
  const rivals = [...RIVALS, ...externals];
  const names = only.flatMap((text) => text.split(','));
  const known = [...WORKLOADS, ...rivals].map(({ name }) => name);
  const unknown = names.find((name) => !known.includes(name));
  if (unknown !== undefined)
    throw new UsageError(
      `--only ${unknown}: there is no such workload or rival; there are ${known.join(', ')}`,
    );
  const pick = <T extends { name: string }>(all: readonly T[]): readonly T[] => {
    const picked = all.filter(({ name }) => names.includes(name));
    return picked.length > 0 ? picked : all;
  };
  return { rivals: pick(rivals), workloads: pick(WORKLOADS) };
}

function parseRival(text: string): (typeof RIVALS)[number] {
  const [, name, endpoint] = /^([\w.-]+)=(.+)$/.exec(text) ?? [];
  if (name === undefined || endpoint === undefined)
    throw new UsageError(`--rival ${text}: it must be NAME=HOST:PORT, such as desktop=127.0.0.1:5201`);
  if (RIVALS.some((rival) => rival.name === name))
    throw new UsageError(`--rival ${text}: ${name} is the name of a built-in rival`);
  return externalRival(name, parseEndpoint(endpoint));
}

function parseEndpoint(text: string): Endpoint {
  const [, bracketed, plain, port] =
    /^(?:\[([\da-fA-F:.]+)\]|(\d+(?:\.\d+){3}|localhost)):(\d{1,5})$/.exec(text) ?? [];
  const host = bracketed ?? (plain === 'localhost' ? '127.0.0.1' : plain);
  if (host === undefined || Number(port) > 65535)
    throw new UsageError(`'${text}' is no HOST:PORT, such as 127.0.0.1:5201 or [::1]:5201`);
  return { host, port: Number(port) };
}

async function serve(endpoint: Endpoint, stop: AbortSignal, stdout: Output): Promise<void> {
  const server = await serveFarEnd(endpoint.host, endpoint.port, () => {}).catch((thrown) => {
    throw new OperationError(`cannot listen on ${endpoint.host}:${endpoint.port}: ${messageOf(thrown)}`);
  });
  const bound = server.address() as { address: string; port: number };
  stdout.write(`the far end listens on ${bound.address}:${bound.port} until Ctrl-C\n`);
  if (!stop.aborted) await new Promise((resolve) => stop.addEventListener('abort', resolve));
  server.close();
}

/** One line that changes, on a terminal; elsewhere a line now and then. */
class Progress {
  readonly #out: Output & { isTTY?: boolean };
  #shownAt = 0;

  constructor(out: Output & { isTTY?: boolean }) {
    this.#out = out;
  }

  show(text: string): void {
    const now = performance.now();
    if (this.#out.isTTY) this.#out.write(`\r\x1b[K${text}`);
    else if (now - this.#shownAt > 10_000) {
      this.#out.write(`${text}\n`);
      this.#shownAt = now;
    }
  }

  clear(): void {
    if (this.#out.isTTY) this.#out.write('\r\x1b[K');
  }
}
