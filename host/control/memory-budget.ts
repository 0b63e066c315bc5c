/** How many bytes others may make this process hold at the same time. */
export class MemoryBudget {
  #left: number;

  constructor(bytes: number) {
    this.#left = bytes;
  }

  /** Sets so many aside; undefined when there are too few left. */
  reserve(bytes: number): Reservation | undefined {
    return this.take(bytes) ? new Reservation(this, bytes) : undefined;
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
  #bytes: number;
  #holders = 1;

  /** @param bytes taken from the budget; whoever makes it holds it */
  constructor(budget: MemoryBudget, bytes: number) {
    this.#budget = budget;
    this.#bytes = bytes;
  }

  /** @returns whether there were so many more left */
  grow(bytes: number): boolean {
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
