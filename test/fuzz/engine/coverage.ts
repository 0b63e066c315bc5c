/** How often a branch was taken, roughly, as one bit: 1, 2, 3, 4 to 7, 8 to 15, 16 to 31, 32 to 127, or more. */
const BITS = Uint8Array.from({ length: 256 }, (_, count) => {
  if (count < 4) return [0, 1, 2, 4][count] as number;
  if (count < 8) return 8;
  if (count < 16) return 16;
  if (count < 32) return 32;
  return count < 128 ? 64 : 128;
});

/** What all runs together have reached. */
export class Coverage {
  readonly #seen: Uint8Array;
  readonly #counts: boolean;

  /** @param counts whether it makes a difference how often a branch is taken */
  constructor(sites: number, counts: boolean) {
    this.#counts = counts;
    this.#seen = new Uint8Array(sites);
  }

  /** Branches that were taken at least once. */
  get branches(): number {
    return this.#seen.reduce((sum, bits) => sum + (bits ? 1 : 0), 0);
  }

  /** Adds a run's counters, and sets them to zero. @returns whether it has reached something new */
  add(counters: Uint8Array): boolean {
    const seen = this.#seen;
    let isNew = false;
    for (let site = 0; site < counters.length; site++) {
      const count = counters[site] as number;
      if (count === 0) continue;
      const bit = this.#counts ? (BITS[count] as number) : 1;
      if (((seen[site] as number) & bit) === 0) {
        seen[site] = (seen[site] as number) | bit;
        isNew = true;
      }
    }
    counters.fill(0);
    return isNew;
  }
}
