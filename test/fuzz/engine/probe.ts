/** Two values that the code has compared, and found unequal. */
export type Compared = readonly [a: string, b: string];

/** As many are kept of one run. */
const MAX_COMPARED = 64;

/** A longer text was not compared to something that an input could be told to have. */
const MAX_COMPARED_LENGTH = 64;

/** What instrumented code says of one run. */
export class Probe {
  /** How often each branch was taken, modulo 256. */
  readonly counters: Uint8Array;
  /** Texts and names in the code. */
  readonly words: readonly string[];
  /** While set, comparisons are noted. */
  tracing = false;
  compared: Compared[] = [];

  constructor(sites: number, words: readonly string[] = []) {
    this.counters = new Uint8Array(sites);
    this.words = words;
  }

  /** `a === b`, as instrumented code has it. */
  readonly equal = (a: unknown, b: unknown): boolean => {
    if (a === b) return true;
    if (this.tracing) this.#note(a, b);
    return false;
  };

  #note(a: unknown, b: unknown): void {
    if (this.compared.length >= MAX_COMPARED || typeof a !== typeof b) return;
    if (typeof a !== 'string' && typeof a !== 'number') return;
    const pair: Compared = [String(a), String(b)];
    if (pair.every(({ length }) => length > 0 && length <= MAX_COMPARED_LENGTH)) this.compared.push(pair);
  }
}
