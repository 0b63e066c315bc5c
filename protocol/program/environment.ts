import { UsageError } from '../errors.js';
import { IGNORED_SIGNALS_VARIABLE } from './ignored-signals.js';
import { LEASH_VARIABLE } from './stop-signals.js';

/** Every variable of portferry's begins so. */
const PREFIX = 'PORTFERRY_';

/**
 * The options of both programs: one environment may be there for both, and neither knows the other's declarations.
 */
export const ALL_OPTIONS: readonly string[] = [
  ...['config', 'connect', 'listen', 'log-level'],
  ...['forward', 'control', 'state', 'allow-expose', 'hold', 'keep-alive', 'json', 'demo'],
  ...['name', 'platform', 'dashboard', 'no-open'],
  ...['engine', 'publish', 'image', 'engine-socket'],
  ...['open', 'failures'],
  ...['quick', 'runs', 'only', 'rival', 'svg'],
  ...['write', 'frames', 'snaplen', 'max-bytes', 'duration', 'count'],
  ...['extcap', 'install-extcap', 'uninstall-extcap'],
  ...['allow-dial', 'proxy-socket', 'docker', 'publish-rules'],
  ...['data-connect', 'data-listen', 'control-listen', 'debug'],
];

/** Variables that are no options. PORTFERRY_REQUIRE, PORTFERRY_TEST_… and PORTFERRY_VM_CACHE are for portferry's own tests. */
const OTHER_VARIABLES = [
  ...['PORTFERRY_RUNTIME_DIR', 'PORTFERRY_REQUIRE', 'PORTFERRY_TEST_ENGINE', 'PORTFERRY_VM_CACHE'],
  IGNORED_SIGNALS_VARIABLE,
  LEASH_VARIABLE,
];

/** Of the characters of an option's name so many may be wrong for it to be meant. */
const SLIPS = 1 / 3;

/** `PORTFERRY_LOG_LEVEL` for `log-level`. */
export function environmentName(option: string): string {
  return `${PREFIX}${option.toUpperCase().replaceAll('-', '_')}`;
}

/**
 * Refuses variables that look like options and are none: a misspelt one would have no effect, and nobody would
 * know. An empty one counts as not set.
 * @param options what the program itself declares
 * @throws UsageError
 */
export function refuseUnknownVariables(environment: NodeJS.ProcessEnv, options: Iterable<string>): void {
  const known = new Set([...[...options, ...ALL_OPTIONS].map(environmentName), ...OTHER_VARIABLES]);
  for (const [name, value] of Object.entries(environment)) {
    if (!name.startsWith(PREFIX) || known.has(name) || !value) continue;
    const nearest = nearestName(name, known);
    const advice = nearest === undefined ? '--help lists the options' : `did you mean ${nearest}?`;
    throw new UsageError(`there is no option for the environment variable ${name}: ${advice}`);
  }
}

function nearestName(name: string, known: ReadonlySet<string>): string | undefined {
  let nearest: string | undefined;
  let least = Number.POSITIVE_INFINITY;
  for (const candidate of known) {
    const distance = differences(name, candidate);
    const slips = Math.ceil((candidate.length - PREFIX.length) * SLIPS);
    if (distance > slips || distance >= least) continue;
    nearest = candidate;
    least = distance;
  }
  return nearest;
}

/** How many characters must be added, removed, changed, or swapped with their neighbour (optimal string alignment). */
function differences(a: string, b: string): number {
  let before: number[] = [];
  let last = Array.from({ length: b.length + 1 }, (_, column) => column);
  for (let row = 1; row <= a.length; row++) {
    const line = [row];
    for (let column = 1; column <= b.length; column++) {
      const same = a[row - 1] === b[column - 1];
      const swapped = a[row - 1] === b[column - 2] && a[row - 2] === b[column - 1];
      line.push(
        Math.min(
          at(last, column) + 1,
          at(line, column - 1) + 1,
          at(last, column - 1) + (same ? 0 : 1),
          at(before, column - 2) + (swapped ? 1 : Number.POSITIVE_INFINITY),
        ),
      );
    }
    before = last;
    last = line;
  }
  return at(last, b.length);
}

function at(line: readonly number[], index: number): number {
  return line[index] ?? Number.POSITIVE_INFINITY;
}
