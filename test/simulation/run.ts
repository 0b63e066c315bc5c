import { setImmediate as nextTurn } from 'node:timers/promises';
import { playData } from './data/script.js';

/** Schedules between two turns of the event loop. */
const SCHEDULES_A_TURN = 20;

/** How often (in schedules) it is told how far it is. */
const SCHEDULES_A_REPORT = 2_000;

/** Of a trace, so much is printed at once. */
const LAST_LINES = 60;

/**
 * Plays schedules, one after the other, until one fails.
 * @param first the seed of the first one; the others have those after it
 * @param onProgress told now and then how many have been played
 * @returns what went wrong, and how to play it again; undefined when nothing did
 */
export async function run(
  first: number,
  schedules: number,
  onProgress: (done: number) => void = () => {},
): Promise<string | undefined> {
  for (let done = 0; done < schedules; done++) {
    if (done % SCHEDULES_A_TURN === 0) await nextTurn();
    const failure = await outside(() => failureOf(first + done));
    if (failure !== undefined) return failure;
    if ((done + 1) % SCHEDULES_A_REPORT === 0 || done + 1 === schedules) onProgress(done + 1);
  }
  return undefined;
}

/** Tells all that happens in the schedule of one seed. @returns what went wrong */
export function trace(seed: number, onLine: (line: string) => void): Promise<string | undefined> {
  return outside(() => {
    const failure = attempt(seed, onLine);
    return failure === undefined ? undefined : describe(failure);
  });
}

/** Promises can only be waited for, as the world does, where none is being settled. */
function outside<T>(action: () => T): Promise<T> {
  return new Promise((resolve) => setImmediate(() => resolve(action())));
}

function failureOf(seed: number): string | undefined {
  const failure = attempt(seed);
  if (failure === undefined) return undefined;
  const lines: string[] = [];
  attempt(seed, (line) => lines.push(line));
  return [
    `seed ${seed}: ${describe(failure)}`,
    `the last ${LAST_LINES} of ${lines.length} events:`,
    ...lines.slice(-LAST_LINES),
    `all of them: npm run simulate -- --seed ${seed} --trace`,
  ].join('\n');
}

function attempt(seed: number, onLine?: (line: string) => void): unknown {
  try {
    playData(seed, onLine);
    return undefined;
  } catch (thrown) {
    return thrown;
  }
}

function describe(failure: unknown): string {
  if (!(failure instanceof Error)) return String(failure);
  return failure.name === 'Violation' ? failure.message : (failure.stack ?? failure.message);
}
