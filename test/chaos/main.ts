import { mkdirSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { parseArgs } from 'node:util';
import { runDestination } from './destination.js';
import { Engine } from './engine.js';
import { type Outcome, Run } from './run.js';
import { Scope } from './scope.js';
import { System } from './system.js';

const HELP = `npm run chaos -- [--minutes N] [--seed S] [--docker] [--json]

Host and guest, as npm run build has made them, under constant load, while what
they depend on is killed, stopped, cut, frozen and delayed, and the clock is
moved. Every byte is checked, how every connection ends, how soon everything
works again, and that nothing stays behind.

Options:
  --minutes N  How long; 1 if not said
  --seed S     What is done in which order; a random number if not said.
               The same seed makes the same load and the same faults
  --docker     With a real dockerd beside the guest, in a network namespace:
               containers' ports come and go, and dockerd is hurt, too
  --json       Print one JSON document at the end, and nothing else
  -h, --help   Show this

Exit code: 0 when all was right, 1 when something was not, 2 for wrong usage.
`;

const MINUTE_MS = 60_000;

/** How often (ms) a terminal is told how far it is. */
const PROGRESS_MS = 500;

/** What the command line says. */
interface Options {
  readonly minutes: number;
  readonly seed: number;
  readonly docker: boolean;
  readonly json: boolean;
}

function readOptions(): Options | 'help' {
  const { values } = parseArgs({
    options: {
      minutes: { type: 'string', default: '1' },
      seed: { type: 'string', default: `${1 + Math.floor(Math.random() * 1e6)}` },
      docker: { type: 'boolean', default: false },
      json: { type: 'boolean', default: false },
      help: { type: 'boolean', short: 'h', default: false },
    },
  });
  if (values.help) return 'help';
  const [minutes, seed] = [Number(values.minutes), Number(values.seed)];
  if (!(minutes > 0)) throw new Error(`--minutes ${values.minutes} is no number above 0`);
  if (!Number.isInteger(seed)) throw new Error(`--seed ${values.seed} is no whole number`);
  return { minutes, seed, docker: values.docker, json: values.json };
}

async function runChaos({ minutes, seed, docker, json }: Options): Promise<number> {
  const say = (line: string): void => {
    if (!json) process.stdout.write(`${line}\n`);
  };
  say(`seed ${seed}, ${minutes} min`);
  const scope = new Scope();
  for (const signal of ['SIGINT', 'SIGTERM'] as const)
    process.once(signal, () => void scope.end().then(() => process.exit(1)));
  try {
    const system = await System.start(scope, docker ? await startEngine(scope, say) : undefined);
    if (!system.clock.movable) say('left out: moving the wall clock, for there is no libfaketime');
    const run = new Run(seed, system);
    const progress = json || !process.stdout.isTTY ? undefined : setInterval(() => show(run), PROGRESS_MS);
    const outcome = await run.go(minutes * MINUTE_MS);
    clearInterval(progress);
    if (json) process.stdout.write(`${JSON.stringify(outcome)}\n`);
    else await report(outcome, system);
    return outcome.violations.length === 0 ? 0 : 1;
  } finally {
    await scope.end();
  }
}

async function startEngine(scope: Scope, say: (line: string) => void): Promise<Engine | undefined> {
  try {
    return await Engine.start(scope);
  } catch (thrown) {
    say(`left out: dockerd, for ${thrown instanceof Error ? thrown.message : thrown}`);
    return undefined;
  }
}

/** Over the line before. */
function show(run: Run): void {
  process.stdout.write(`\r\x1b[K${run.progress.slice(0, process.stdout.columns - 1)}`);
}

async function report(outcome: Outcome, { control }: System): Promise<void> {
  const { violations, ...figures } = outcome;
  const [first] = violations;
  if (process.stdout.isTTY) process.stdout.write('\r\x1b[K');
  process.stdout.write(`${JSON.stringify(figures, undefined, 1)}\n`);
  if (!first) {
    process.stdout.write(`nothing was wrong: seed ${outcome.seed}\n`);
    return;
  }
  for (const { what } of violations) process.stdout.write(`WRONG: ${what}\n`);
  process.stdout.write(`Of the first one:\n${first.evidence.join('\n')}\n`);
  const dump = await control.dump().catch((thrown: unknown) => ({ message: String(thrown) }));
  const folder = join(tmpdir(), 'portferry-chaos');
  mkdirSync(folder, { recursive: true });
  const file = join(folder, `dump-${outcome.seed}.json`);
  writeFileSync(file, JSON.stringify(dump, undefined, 1));
  process.stdout.write(`The host's dump is in ${file}\n`);
  process.stdout.write(
    `Again, with the same options: --minutes ${Math.ceil(outcome.seconds / 60)} --seed ${outcome.seed}\n`,
  );
}

async function main(): Promise<void> {
  const [role, port, echo] = process.argv.slice(2);
  if (role === '--destination') return runDestination(Number(port), Number(echo));
  let options: ReturnType<typeof readOptions>;
  try {
    options = readOptions();
  } catch (thrown) {
    process.stderr.write(`${thrown instanceof Error ? thrown.message : thrown}\n${HELP}`);
    process.exit(2);
  }
  if (options === 'help') process.stdout.write(HELP);
  else process.exit(await runChaos(options));
}

void main();
