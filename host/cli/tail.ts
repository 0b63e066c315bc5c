import type { Writable } from 'node:stream';
import { setTimeout as delay } from 'node:timers/promises';
import { OperationError, UsageError } from '../../protocol/errors.js';
import type { OptionDeclarations } from '../../protocol/program/declared-options.js';
import { defineCommand } from '../../protocol/program/run-program.js';
import { stopOnSignals } from '../../protocol/program/stop-signals.js';
import { MAX_NAMED_FORWARDS } from '../control/event-filter.js';
import { forwardId } from '../forwards/forward.js';
import type { HelloEvent, HostEvent } from '../records/event.js';
import { parseSpec } from '../rule/forward-spec.js';
import { CONTROL_OPTION, makeClient } from './control-option.js';
import { TailTable } from './tail-table.js';

/** How long (ms) it is waited before a host that has gone is tried again. */
const RETRY_MS = 500;

const OPTIONS = {
  control: CONTROL_OPTION,
  json: { type: 'boolean', describe: 'Print one JSON object a line, as /v1/events has them' },
  forward: {
    type: 'list',
    describe:
      'Only connections of this forward, by its SPEC or its name in list; can be given more than once',
  },
  failures: {
    type: 'boolean',
    describe: 'Only connections that failed, were refused, or got an empty reply',
  },
  open: { type: 'boolean', describe: 'Show connections when they begin, too' },
} as const satisfies OptionDeclarations;

export const tailCommand = defineCommand({
  name: 'tail',
  describe: 'Show connections as they end, until SIGINT',
  options: OPTIONS,
  examples: [
    ['$0 tail', 'a line for each connection, with how it ended'],
    ['$0 tail --failures', 'only what failed, and why'],
    ['$0 tail --forward 8080 --open', 'one forward, and clients as they come'],
    ['$0 tail --json | jq .connection.ending', 'for programs'],
  ],
  epilogue:
    'It goes on when the host restarts. docs/records.md says what the two letters in the column END mean.',
  async run(values, _operands, { stdout, stderr, environment }) {
    const query = queryOf(values);
    const { path } = makeClient(values.control, environment);
    const { readEvents } = await import('../control/event-client.js');
    const { stop, release } = stopOnSignals({ environment });
    const ended = AbortSignal.any([stop, abortedWhenGone(stdout)]);
    const show = values.json ? showJson(stdout) : showForPeople(stdout, stderr);
    try {
      await follow((onEvent) => readEvents(path, query, ended, onEvent), {
        path,
        ended,
        onEvent: show,
        say: (line) => stderr.write(`portferry: ${line}\n`),
      });
    } finally {
      release();
    }
  },
});

interface Follow {
  /** Of the control socket, for messages. */
  path: string;
  /** Aborted: nobody wants to hear any more. */
  ended: AbortSignal;
  onEvent(event: HostEvent): void;
  /** What people are to know beside events. */
  say(line: string): void;
}

/** Reads again and again; only at first must there be a host. */
async function follow(
  read: (onEvent: (event: HostEvent) => void) => Promise<string | undefined>,
  { path, ended, onEvent, say }: Follow,
): Promise<void> {
  let hello: HelloEvent | undefined;
  let lost = false;
  const onNext = (event: HostEvent): void => {
    if (event.type === 'hello') {
      if (lost) say(`connected again: portferry ${event.version}, pid ${event.pid}`);
      lost = false;
      hello = event;
    }
    onEvent(event);
  };
  while (!ended.aborted) {
    let why: string | undefined;
    try {
      why = await read(onNext);
    } catch (thrown) {
      if (!hello || !(thrown instanceof OperationError)) throw thrown;
      why = thrown.message;
    }
    if (ended.aborted) return;
    if (!lost) say(`the host on ${path} has gone (${why}); connecting again until it works`);
    lost = true;
    await delay(RETRY_MS, undefined, { signal: ended }).catch(() => {});
  }
}

/** @throws UsageError */
function queryOf(values: { forward: string[]; failures: boolean; open: boolean }): URLSearchParams {
  const ids = new Set(values.forward.flatMap(idsOf));
  if (ids.size > MAX_NAMED_FORWARDS)
    throw new UsageError(
      `--forward names ${ids.size} forwards, and can name ${MAX_NAMED_FORWARDS}: without it all are shown`,
    );
  const query = new URLSearchParams({ types: values.open ? 'opened,ended' : 'ended' });
  if (values.failures) query.set('failures', '1');
  for (const id of ids) query.append('forward', id);
  return query;
}

/** `tcp localhost:8080` is a name, as list shows it; all else is a SPEC, of which the host's side counts. */
function idsOf(text: string): string[] {
  return /^(tcp|udp|unix) /.test(text) ? [text] : parseSpec(text).map(forwardId);
}

function showJson(stdout: Writable): (event: HostEvent) => void {
  return (event) => {
    if (event.type !== 'hello') stdout.write(`${JSON.stringify(event)}\n`);
  };
}

function showForPeople(stdout: Writable, stderr: Writable): (event: HostEvent) => void {
  const table = new TailTable();
  stdout.write(table.header);
  return (event) => {
    if (event.type === 'opened' || event.type === 'ended') stdout.write(table.line(event));
    if (event.type === 'lost')
      stderr.write(
        `portferry: ${event.events} connections are missing here: they came too fast to be shown\n`,
      );
  };
}

/** A reader that goes away, as `head` does, has seen enough. */
function abortedWhenGone(stdout: Writable): AbortSignal {
  const gone = new AbortController();
  stdout.on('error', () => gone.abort());
  return gone.signal;
}
