import type { Writable } from 'node:stream';
import { fileURLToPath } from 'node:url';
import { formatCount } from '../../protocol/count.js';
import { OperationError, UsageError } from '../../protocol/errors.js';
import type { OptionValues } from '../../protocol/program/declared-options.js';
import { defineCommand, type ProgramContext } from '../../protocol/program/run-program.js';
import { defaultControlPath } from '../../protocol/program/runtime-folder.js';
import { stopOnSignals } from '../../protocol/program/stop-signals.js';
import type { CaptureSink } from '../capture/capture-file.js';
import type { ExtcapQuestion } from '../capture/extcap.js';
import { LIMITS } from '../capture/limits.js';
import type { CaptureSummary } from '../capture/run-capture.js';
import type { ControlClient, RunningCapture } from '../control/client.js';
import { CONTROL_OPTION, JSON_OPTION, makeClient } from './control-option.js';
import { formatBytes, writeJson } from './output.js';

const { snapLength, maxBytes, seconds, packets } = LIMITS;

const OPTIONS = {
  control: CONTROL_OPTION,
  write: {
    type: 'string',
    short: 'w',
    describe: 'The file, which is made new; - is standard output',
  },
  frames: {
    type: 'boolean',
    describe: "Capture the multiplexer's own frames, all of the channel or those of the forward",
  },
  snaplen: {
    type: 'number',
    short: 's',
    describe: 'Bytes that are kept of each packet',
    defaultDescription: String(snapLength.default),
    min: snapLength.min,
    max: snapLength.max,
    whole: true,
  },
  'max-bytes': {
    type: 'number',
    describe: 'End when the file has so many bytes',
    defaultDescription: String(maxBytes.default),
    min: maxBytes.min,
    max: maxBytes.max,
    whole: true,
  },
  duration: {
    type: 'number',
    describe: 'End after so many seconds',
    defaultDescription: String(seconds.default),
    min: seconds.min,
    max: seconds.max,
  },
  count: {
    type: 'number',
    short: 'c',
    describe: 'End after so many packets',
    defaultDescription: 'any number',
    min: packets.min,
    max: packets.max,
    whole: true,
  },
  json: { ...JSON_OPTION, describe: 'Say at the end what was captured as one JSON document' },
  'install-extcap': {
    type: 'boolean',
    describe: 'Have Wireshark list each forward as an interface, for this user',
  },
  'uninstall-extcap': { type: 'boolean', describe: 'Undo that' },
  extcap: { type: 'boolean', describe: 'For Wireshark, which says behind -- what it wants' },
} as const;

type Options = OptionValues<typeof OPTIONS>;

export const captureCommand = defineCommand({
  name: 'capture',
  describe: 'Capture what a forward carries, for Wireshark and tshark',
  operands: {
    name: 'port',
    describe:
      'A port of this host, such as 8080 or 53/udp, a SPEC such as unix:/tmp/db.sock, or the name of a container',
    required: false,
  },
  options: OPTIONS,
  examples: [
    ['$0 capture 8080 -w web.pcapng', 'until Ctrl-C'],
    ['$0 capture 5432 -w - --duration 60 | tshark -r - -d tcp.port==5432,pgsql', 'read as it comes'],
    [
      '$0 capture --frames --snaplen 128 -w frames.pcapng',
      "the multiplexer's frames, without most of the payload",
    ],
    ['$0 capture --install-extcap', 'have Wireshark list the forwards'],
  ],
  epilogue:
    'The file holds all that was carried, passwords included. It ends at the first of its limits, and is whole then. ' +
    'What cannot be read as fast as it comes is dropped and counted; forwarding never waits for it.',
  async run(options, operands, context) {
    if (options['install-extcap'] || options['uninstall-extcap']) await install(options, context);
    else if (options.extcap) await answerWireshark(options, operands, context);
    else await capture(options, operands, context);
  },
});

// ---- into a file -------------------------------------------------------------------------------------

async function capture(
  options: Options,
  operands: readonly string[],
  context: ProgramContext,
): Promise<void> {
  const { write, json, frames, control } = options;
  const [of, ...more] = operands;
  if (more.length > 0) throw new UsageError(`one forward at a time: what is ${more[0]}?`);
  if (of === undefined && !frames)
    throw new UsageError('which forward is to be captured? Name its port, such as 8080');
  if (write === undefined)
    throw new UsageError('where is the capture to go? Give -w FILE, or -w - for standard output');
  if (write === '-') refuseOutput(json, context.stdout);
  const { createCaptureFile, streamSink } = await import('../capture/capture-file.js');
  const source = await makeClient(control, context.environment).capture(queryOf(options, of));
  const sink = await orDestroy(source, async () =>
    write === '-' ? streamSink(context.stdout) : createCaptureFile(write),
  );
  const where = write === '-' ? 'standard output' : write;
  const progress = progressOn(context.stderr);
  const summary = await move(source, sink, context, {
    onBegin: () =>
      void context.stderr.write(`capturing ${frames ? 'frames' : of} to ${where}; Ctrl-C ends it\n`),
    onProgress: progress.show,
  });
  progress.clear();
  context.stderr.write(`${describeSummary(summary, where)}\n`);
  if (json) writeJson(context.stdout, { file: write, ...summary });
}

function refuseOutput(json: boolean, stdout: Writable): void {
  if (json) throw new UsageError('-w - and --json cannot both have standard output');
  if (isTerminal(stdout))
    throw new UsageError('a capture is nothing for a terminal: give -w FILE, or pipe it into tshark -r -');
}

/** The limits that were given, as the control API has them. */
function queryOf(options: Options, of: string | undefined): Record<string, string | number> {
  const limits = ['snaplen', 'max-bytes', 'duration', 'count'] as const;
  const given = limits.flatMap((name) => {
    const value = options[name];
    return value === undefined ? [] : [[name, value] as const];
  });
  return {
    ...(of !== undefined && { of }),
    ...(options.frames && { frames: 1 }),
    ...Object.fromEntries(given),
  };
}

/** Who is told how a capture goes. */
interface Watcher {
  /** From now on a signal ends it in good order. */
  onBegin(): void;
  onProgress(packets: number, bytes: number): void;
}

const NOBODY: Watcher = { onBegin: () => {}, onProgress: () => {} };

async function move(
  source: RunningCapture,
  sink: CaptureSink,
  { environment }: ProgramContext,
  watcher = NOBODY,
): Promise<CaptureSummary> {
  const { runCapture } = await import('../capture/run-capture.js');
  const signals = stopOnSignals({ environment });
  try {
    watcher.onBegin();
    return await runCapture({ source, sink, stop: signals.stop, onProgress: watcher.onProgress });
  } finally {
    signals.release();
  }
}

/** A capture that nobody takes ends at once. */
async function orDestroy<T>({ stream }: RunningCapture, make: () => Promise<T>): Promise<T> {
  try {
    return await make();
  } catch (thrown) {
    stream.destroy();
    throw thrown;
  }
}

/** How often (ms) a terminal is told how far the capture is. */
const PROGRESS_MS = 200;

/** On a terminal: one line that is written over. */
function progressOn(stderr: Writable): { show(packets: number, bytes: number): void; clear(): void } {
  if (!isTerminal(stderr)) return { show: () => {}, clear: () => {} };
  let shownAt = Number.NEGATIVE_INFINITY;
  return {
    show: (packets, bytes) => {
      if (performance.now() - shownAt < PROGRESS_MS) return;
      shownAt = performance.now();
      stderr.write(`\r${formatCount(packets, 'packet')}, ${formatBytes(bytes)}\x1b[K`);
    },
    clear: () => void stderr.write('\r\x1b[K'),
  };
}

function isTerminal(output: Writable): boolean {
  return (output as Writable & { isTTY?: boolean }).isTTY === true;
}

/** `12 packets, 3.4 KiB in web.pcapng; none dropped: it was told to stop` */
export function describeSummary({ packets, dropped, bytes, ending }: CaptureSummary, where: string): string {
  const lost = dropped === null ? 'how many were dropped is not known' : `${dropped || 'none'} dropped`;
  return `${formatCount(packets, 'packet')}, ${formatBytes(bytes)} in ${where}; ${lost}: ${ending}`;
}

// ---- for Wireshark -----------------------------------------------------------------------------------

async function install(options: Options, { environment, stdout }: ProgramContext): Promise<void> {
  const extcap = await import('../capture/install-extcap.js');
  const places = extcap.extcapPlaces(environment);
  if (options['uninstall-extcap']) {
    const removed = extcap.uninstallExtcap(places);
    stdout.write(
      removed.length === 0 ? 'nothing was installed\n' : removed.map((path) => `removed ${path}\n`).join(''),
    );
    return;
  }
  const { lastingNodePath } = await import('../service/node-path.js');
  const main = fileURLToPath(new URL('../main.js', import.meta.url));
  const control = options.control ?? defaultControlPath(environment);
  const starter = extcap.extcapStarter([lastingNodePath().path, main], control);
  for (const path of extcap.installExtcap(places, starter)) stdout.write(`installed ${path}\n`);
  stdout.write(
    'Wireshark lists the forwards when it is started again, or by Capture, Refresh Interfaces (F5)\n',
  );
}

async function answerWireshark(
  { control }: Options,
  args: readonly string[],
  context: ProgramContext,
): Promise<void> {
  const { answerExtcap, extcapInterfaces, readExtcapQuestion } = await import('../capture/extcap.js');
  const { VERSION } = await import('../../protocol/program/version.js');
  const question = readExtcapQuestion(args);
  const client = makeClient(control, context.environment);
  if (question.kind !== 'capture') {
    const asked = question.kind === 'interfaces';
    const interfaces = asked ? extcapInterfaces(await client.forwards().catch(() => undefined)) : [];
    context.stdout.write(answerExtcap(question, interfaces, VERSION));
    return;
  }
  const { openFifo } = await import('../capture/capture-file.js');
  // First of all: Wireshark waits until somebody has opened it, also for somebody who fails then.
  const sink = await openFifo(question.fifo);
  const source = await captureFor(client, question).catch(async (thrown: unknown) => {
    await sink.close();
    throw thrown;
  });
  await move(source, sink, context);
}

/** @throws OperationError also when the forward has gone since it was listed */
async function captureFor(
  client: ControlClient,
  { interface: wanted, limits }: Extract<ExtcapQuestion, { kind: 'capture' }>,
): Promise<RunningCapture> {
  const { extcapInterfaces } = await import('../capture/extcap.js');
  const meant = extcapInterfaces(await client.forwards()).find(({ name }) => name === wanted);
  if (!meant) throw new OperationError(`there is no forward ${wanted} any more: refresh the interfaces (F5)`);
  const which = meant.of === undefined ? { frames: 1 } : { of: meant.of };
  return client.capture({ ...which, ...limits });
}
