/** How many bytes others may make this process hold at the same time. */
export class MemoryBudget {
  #left: number;

  constructor(bytes: number) {
    this.#left = bytes;
  }

  /** Begins to set some aside: none yet. */
  reserve(): Reservation {
    return new Reservation(this);
  }

  take(bytes: number): boolean {
    if (bytes > this.#left) return false;
    this.#left -= bytes;
    return true;
  }

  give(bytes: number): void {
    this.#left += bytes;
  }
}

/** A part of a budget, which goes back to it when the last that needs it has let go of it. */
export class Reservation {
  readonly #budget: MemoryBudget;
  #bytes = 0;
  #holders = 1;

  /** Whoever makes it holds it. */
  constructor(budget: MemoryBudget) {
    this.#budget = budget;
  }

  /** @returns whether there were so many more left; what nobody holds any more takes none */
  grow(bytes: number): boolean {
    if (this.#holders === 0) return true;
    if (!this.#budget.take(bytes)) return false;
    this.#bytes += bytes;
    return true;
  }

  hold(): void {
    this.#holders++;
  }

  letGo(): void {
    if (--this.#holders === 0) this.#budget.give(this.#bytes);
  }
}
