import type { ForwardTraffic } from '../../records/event.js';

/** What is kept of each forward: a sample a second, for a minute. */
export const SAMPLES = 60;

const MS_PER_SECOND = 1000;

/** Bytes that a forward has carried since it was exposed. */
type Totals = Pick<ForwardTraffic, 'id' | 'bytesToGuest' | 'bytesToHost'>;

/** Bytes a second, each way. */
export interface Rate {
  readonly toGuest: number;
  readonly toHost: number;
}

const NOTHING: Rate = { toGuest: 0, toHost: 0 };

/** How fast each forward has carried bytes in the last minute. It costs only what forwards that carry something do. */
export class Rates {
  readonly #totals = new Map<string, Totals>();
  /** Of forwards that have carried something within the samples: the last one, and those before it. */
  readonly #moving = new Map<string, Rate[]>();
  #lastAt: number | undefined;

  /** Begins to count from here, as after a while in which nobody has told anything. @param atMs since 1970 */
  begin(atMs: number, all: Iterable<Totals>): void {
    this.#totals.clear();
    for (const totals of all) this.#totals.set(totals.id, totals);
    this.#lastAt = atMs;
  }

  /** Takes one sample of every forward. @param changed those that have carried something since the last one */
  sample(atMs: number, changed: readonly Totals[]): void {
    const seconds = (atMs - (this.#lastAt ?? atMs)) / MS_PER_SECOND;
    this.#lastAt = atMs;
    const now = new Map(changed.map((totals) => [totals.id, this.#rateOf(totals, seconds)]));
    for (const [id, rates] of this.#moving) {
      rates.push(now.get(id) ?? NOTHING);
      now.delete(id);
      if (rates.length > SAMPLES) rates.shift();
      if (rates.every(isNothing)) this.#moving.delete(id);
    }
    for (const [id, rate] of now) if (!isNothing(rate)) this.#moving.set(id, [rate]);
  }

  forget(id: string): void {
    this.#totals.delete(id);
    this.#moving.delete(id);
  }

  /** In the last second. */
  of(id: string): Rate {
    return this.#moving.get(id)?.at(-1) ?? NOTHING;
  }

  /** SAMPLES of them, the oldest one first. */
  history(id: string): { toGuest: number[]; toHost: number[] } {
    const rates = this.#moving.get(id) ?? [];
    const before = new Array<number>(SAMPLES - rates.length).fill(0);
    return {
      toGuest: [...before, ...rates.map(({ toGuest }) => toGuest)],
      toHost: [...before, ...rates.map(({ toHost }) => toHost)],
    };
  }

  /** Of all forwards together, in the last second. */
  get total(): Rate {
    let [toGuest, toHost] = [0, 0];
    for (const id of this.#moving.keys()) {
      const last = this.of(id);
      toGuest += last.toGuest;
      toHost += last.toHost;
    }
    return { toGuest, toHost };
  }

  /** One that is not known yet has begun at nothing. Counters go back when the host was restarted. */
  #rateOf(totals: Totals, seconds: number): Rate {
    const before = this.#totals.get(totals.id);
    this.#totals.set(totals.id, totals);
    if (seconds <= 0) return NOTHING;
    return {
      toGuest: Math.max(0, totals.bytesToGuest - (before?.bytesToGuest ?? 0)) / seconds,
      toHost: Math.max(0, totals.bytesToHost - (before?.bytesToHost ?? 0)) / seconds,
    };
  }
}

function isNothing({ toGuest, toHost }: Rate): boolean {
  return toGuest === 0 && toHost === 0;
}
