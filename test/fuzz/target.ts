import { inspect, isDeepStrictEqual } from 'node:util';

const SHOWN = { depth: 6, maxStringLength: 2000 };

/** Something that takes what others say, and must stand whatever they say. */
export interface Target {
  /** What is right, or nearly so: where fuzzing begins. */
  readonly seeds: readonly (string | Uint8Array)[];
  /** Does with an input what the product does. @throws what is a fault of ours */
  run(input: Buffer): void | Promise<void>;
  /** How many runs of a target that parses some text take as long as one of this. Default: 1. */
  readonly cost?: number;
  /** Ends what it has begun for all inputs together. */
  close?(): Promise<void>;
}

/** Calls what may refuse its input. @throws whatever is thrown but errors of these classes */
export function allow<T>(
  refusals: readonly (abstract new (...args: never[]) => Error)[],
  call: () => T,
): T | undefined {
  try {
    return call();
  } catch (thrown) {
    if (refusals.some((refusal) => thrown instanceof refusal)) return undefined;
    throw thrown;
  }
}

/** @throws Error that shows both, when they are not the same */
export function equal(actual: unknown, expected: unknown, what: string): void {
  if (isDeepStrictEqual(actual, expected)) return;
  throw new Error(`${what}:\n${inspect(actual, SHOWN)}\nnot\n${inspect(expected, SHOWN)}`);
}

/** A target of several parsers of text: an input's first line names one of them. */
export function byName(
  parsers: Readonly<Record<string, (text: string) => void | Promise<void>>>,
  seeds: Readonly<Record<string, readonly string[]>>,
): Target {
  return {
    seeds: Object.entries(seeds).flatMap(([name, texts]) => texts.map((text) => `${name}\n${text}`)),
    run(input) {
      const end = input.indexOf('\n');
      const name = input.toString('latin1', 0, Math.max(0, end));
      return Object.hasOwn(parsers, name) ? parsers[name]?.(input.toString('utf8', end + 1)) : undefined;
    },
  };
}
