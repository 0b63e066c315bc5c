import { messageOf } from '../../../protocol/errors.js';
import { type Random, randomFrom } from '../../protocol/fixtures/memory-link.js';
import type { Target } from '../target.js';
import { Coverage } from './coverage.js';
import { MAX_INPUT_BYTES, mutate, pick } from './mutate.js';
import type { Compared, Probe } from './probe.js';

/** What one input may take (ms) of the processor: what takes longer is a finding. */
const MAX_INPUT_MS = 1_000;

/** Inputs that are tried to make one that was found shorter. */
const MAX_SHORTENING_RUNS = 400;

/** How often one that was worth something is changed before another one is. */
const MUTATIONS_EACH = 40;

/** An input on which the target has failed. */
export interface Finding {
  input: Buffer;
  message: string;
}

/** An input that has reached something that none before it had. */
interface Entry {
  input: Buffer;
  compared: readonly Compared[] | undefined;
}

export interface FuzzerOptions {
  target: Target;
  probe: Probe;
  seed: number;
  /** Whether an input is worth something that takes the same branches more often. Default: it is. */
  counts?: boolean;
  /** What one input may take (ms) of the processor. Default: MAX_INPUT_MS. */
  maxMs?: number;
  /** Told of each input before it is run: it may be the last that this process hears of. */
  onInput?: (input: Buffer) => void;
}

/** Looks for inputs on which a target fails, led by what they reach in its code. */
export class Fuzzer {
  readonly coverage: Coverage;
  runs = 0;
  readonly #target: Target;
  readonly #probe: Probe;
  readonly #random: Random;
  readonly #maxMs: number;
  readonly #onInput: (input: Buffer) => void;
  readonly #entries: Entry[] = [];

  constructor({
    target,
    probe,
    seed,
    onInput = () => {},
    counts = true,
    maxMs = MAX_INPUT_MS,
  }: FuzzerOptions) {
    this.#target = target;
    this.#probe = probe;
    this.#random = randomFrom(seed);
    this.#onInput = onInput;
    this.#maxMs = maxMs;
    this.coverage = new Coverage(probe.counters.length, counts);
  }

  /** The inputs that were worth something, the shortest first: each reaches what those before it do not. */
  get inputs(): readonly Buffer[] {
    return this.#entries.map(({ input }) => input);
  }

  /** Runs an input as it is. @returns what was found */
  async add(input: Buffer): Promise<Finding | undefined> {
    const message = await this.#run(input);
    if (message !== undefined) return { input, message };
    if (this.coverage.add(this.#probe.counters)) this.#entries.push({ input, compared: undefined });
    return undefined;
  }

  /** Goes on until something is found, or `done` says so. */
  async search(done: () => boolean): Promise<Finding | undefined> {
    while (!done()) {
      const entry = this.#choose();
      entry.compared ??= await this.#trace(entry.input);
      const { compared } = entry;
      for (let count = 0; count < MUTATIONS_EACH && !done(); count++) {
        const other = pick(this.#random, this.#entries).input;
        const material = { random: this.#random, words: this.#probe.words, compared, other };
        const found = await this.add(mutate(entry.input, material));
        if (found) return this.#shorten(found);
      }
    }
    return undefined;
  }

  /** What is new is looked at first, and small rather than large. */
  #choose(): Entry {
    if (this.#entries.length === 0) this.#entries.push({ input: Buffer.alloc(0), compared: undefined });
    const { length } = this.#entries;
    const recent = Math.max(0, length - 8);
    const from = this.#random() < 0.4 ? this.#entries.slice(recent) : this.#entries;
    const [one, two] = [pick(this.#random, from), pick(this.#random, from)];
    return one.input.length <= two.input.length ? one : two;
  }

  async #trace(input: Buffer): Promise<readonly Compared[]> {
    this.#probe.tracing = true;
    this.#probe.compared = [];
    await this.#run(input);
    this.#probe.tracing = false;
    this.coverage.add(this.#probe.counters);
    return this.#probe.compared;
  }

  /** @returns why it failed */
  async #run(input: Buffer): Promise<string | undefined> {
    this.runs++;
    this.#onInput(input);
    const start = process.cpuUsage();
    try {
      // A target may keep what it is given, or change it.
      const pending = this.#target.run(Buffer.from(input));
      if (pending) await pending;
    } catch (thrown) {
      return thrown instanceof Error ? `${thrown.stack}` : messageOf(thrown);
    }
    const { user, system } = process.cpuUsage(start);
    const ms = (user + system) / 1000;
    return ms > this.#maxMs ? `it takes ${Math.round(ms)} ms` : undefined;
  }

  /** Leaves out what is not needed, in pieces that become smaller, as long as it fails. */
  async #shorten(found: Finding): Promise<Finding> {
    let best = found;
    let left = MAX_SHORTENING_RUNS;
    for (let size = Math.min(MAX_INPUT_BYTES, found.input.length) >> 1; size > 0 && left > 0; size >>= 1)
      for (let at = 0; at < best.input.length && left-- > 0; ) {
        const input = Buffer.concat([best.input.subarray(0, at), best.input.subarray(at + size)]);
        const message = await this.#run(input);
        if (message === undefined) at += size;
        else best = { input, message };
      }
    return best;
  }
}
