import type { Forward } from '../forwards/forward.js';

/** Looks that are closer together (ms) say little: the rates of the one before are given again. */
const MIN_AGE_MS = 250;

/** A look that is older (ms) says nothing of what goes on now. */
const MAX_AGE_MS = 5_000;

/** Bytes a second, each way. */
export interface RatesReport {
  toGuest: number;
  toHost: number;
}

interface Look {
  at: number;
  bytesToGuest: number;
  bytesToHost: number;
  rates: RatesReport | undefined;
}

/**
 * How much forwards carry at present. It is made of two looks at their counters, of which somebody has asked for each:
 * nothing is done while nobody asks.
 */
export class Rates {
  readonly #looks = new WeakMap<Forward, Look>();

  /**
   * Since the last look; undefined where that was too long ago, or there was none.
   * @param forward its counters are up to date
   * @param now in ms, of a clock that goes forward
   */
  of(forward: Forward, now = performance.now()): RatesReport | undefined {
    const { connections, bytesToGuest, bytesToHost } = forward.counters;
    // Nothing is kept of those that nobody uses.
    if (connections === 0) return undefined;
    const last = this.#looks.get(forward);
    const age = now - (last?.at ?? Number.NEGATIVE_INFINITY);
    if (last && age < MIN_AGE_MS) return last.rates;
    const perSecond = (bytes: number): number => Math.round((bytes * 1000) / age);
    const rates =
      last && age <= MAX_AGE_MS
        ? {
            toGuest: perSecond(bytesToGuest - last.bytesToGuest),
            toHost: perSecond(bytesToHost - last.bytesToHost),
          }
        : undefined;
    this.#looks.set(forward, { at: now, bytesToGuest, bytesToHost, rates });
    return rates;
  }
}
