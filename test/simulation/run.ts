import { setImmediate as nextTurn } from 'node:timers/promises';
import { KINDS, type Kind } from './kinds.js';

/** Schedules between two turns of the event loop. */
const SCHEDULES_A_TURN = 20;

/** How often (in schedules) it is told how far it is. */
const SCHEDULES_A_REPORT = 2_000;

/** Of a trace, so much is printed at once. */
const LAST_LINES = 60;

/** How far a run is. */
export interface Progress {
  /** Schedules that have been played, and steps that these had together. */
  done: number;
  steps: number;
}

/**
 * Plays schedules, one after the other, until one fails.
 * @param first the seed of the first one; the others have those after it
 * @param onProgress told now and then how many have been played
 * @returns what went wrong, and how to play it again; undefined when nothing did
 */
export async function run(
  kind: Kind,
  first: number,
  schedules: number,
  onProgress: (progress: Progress) => void = () => {},
): Promise<string | undefined> {
  let steps = 0;
  for (let done = 1; done <= schedules; done++) {
    if (done % SCHEDULES_A_TURN === 0) await nextTurn();
    const outcome = await outside(() => outcomeOf(kind, first + done - 1));
    if (typeof outcome === 'string') return outcome;
    steps += outcome;
    if (done % SCHEDULES_A_REPORT === 0 || done === schedules) onProgress({ done, steps });
  }
  return undefined;
}

/** Tells all that happens in the schedule of one seed. @returns what went wrong */
export function trace(kind: Kind, seed: number, onLine: (line: string) => void): Promise<string | undefined> {
  return outside(() => {
    try {
      KINDS[kind](seed, onLine);
      return undefined;
    } catch (thrown) {
      return describe(thrown);
    }
  });
}

/** Promises can only be waited for, as the world does, where none is being settled. */
function outside<T>(action: () => T): Promise<T> {
  return new Promise((resolve) => setImmediate(() => resolve(action())));
}

/** @returns how many steps there were, or what went wrong */
function outcomeOf(kind: Kind, seed: number): number | string {
  try {
    return KINDS[kind](seed).steps;
  } catch (thrown) {
    return report(kind, seed, thrown);
  }
}

function report(kind: Kind, seed: number, failure: unknown): string {
  const lines: string[] = [];
  try {
    KINDS[kind](seed, (line) => lines.push(line));
  } catch {
    // It is the same again.
  }
  return [
    `${kind} schedule ${seed}: ${describe(failure)}`,
    `the last ${LAST_LINES} of ${lines.length} events:`,
    ...lines.slice(-LAST_LINES),
    `all of them: npm run simulate -- --kind ${kind} --seed ${seed} --trace`,
  ].join('\n');
}

function describe(failure: unknown): string {
  if (!(failure instanceof Error)) return String(failure);
  return failure.name === 'Violation' ? failure.message : (failure.stack ?? failure.message);
}
