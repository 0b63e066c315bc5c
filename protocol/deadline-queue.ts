/** Things that each may wait equally long, with one timer for all of them. */
export class DeadlineQueue<T> {
  readonly #waitMs: number;
  readonly #onLate: (item: T) => void;
  /** Each with its deadline; in the order in which they came, which is that of their deadlines. */
  readonly #deadlines = new Map<T, number>();
  #timer: NodeJS.Timeout | undefined;

  /** @param onLate is told each item whose time is over; the item has left the queue by then */
  constructor(waitMs: number, onLate: (item: T) => void) {
    this.#waitMs = waitMs;
    this.#onLate = onLate;
  }

  get size(): number {
    return this.#deadlines.size;
  }

  add(item: T): void {
    this.#deadlines.set(item, performance.now() + this.#waitMs);
    this.#timer ??= setTimeout(() => this.#check(), this.#waitMs);
  }

  delete(item: T): void {
    this.#deadlines.delete(item);
    if (this.#deadlines.size === 0) this.#stop();
  }

  /** Empties the queue. @returns what was in it, in the order in which it came */
  takeAll(): T[] {
    const items = [...this.#deadlines.keys()];
    this.#deadlines.clear();
    this.#stop();
    return items;
  }

  #check(): void {
    this.#timer = undefined;
    // A timer may fire up to a millisecond early by this clock.
    const now = performance.now() + 1;
    for (const [item, deadline] of this.#deadlines) {
      if (deadline > now) {
        this.#timer ??= setTimeout(() => this.#check(), deadline - now);
        return;
      }
      this.#deadlines.delete(item);
      this.#onLate(item);
    }
  }

  #stop(): void {
    clearTimeout(this.#timer);
    this.#timer = undefined;
  }
}
