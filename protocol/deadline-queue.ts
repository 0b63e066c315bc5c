import { OVERSLEPT_MS } from './deadline.js';

/**
 * Things that each may wait equally long, with one timer for all of them. When this process has been asleep (a
 * laptop's lid, SIGSTOP), what they wait for has been, too, most likely: all of them wait anew.
 */
export class DeadlineQueue<T> {
  readonly #waitMs: number;
  readonly #onLate: (item: T) => void;
  readonly #now: () => number;
  /** Each with its deadline; in the order in which they came, which is that of their deadlines. */
  readonly #deadlines = new Map<T, number>();
  #timer: NodeJS.Timeout | undefined;
  /** When it is to fire. */
  #dueAt = 0;

  /**
   * @param onLate is told each item whose time is over; the item has left the queue by then
   * @param now a clock in ms that only goes forward
   */
  constructor(waitMs: number, onLate: (item: T) => void, now: () => number = () => performance.now()) {
    this.#waitMs = waitMs;
    this.#onLate = onLate;
    this.#now = now;
  }

  get size(): number {
    return this.#deadlines.size;
  }

  /** The one whose time is over first. */
  get first(): T | undefined {
    const [first] = this.#deadlines.keys();
    return first;
  }

  add(item: T): void {
    this.#deadlines.set(item, this.#now() + this.#waitMs);
    if (!this.#timer) this.#checkIn(this.#waitMs);
  }

  /** Lets an item wait anew, from now on. Costs no timer, so it may be done as often as one likes. */
  renew(item: T): void {
    if (this.#deadlines.delete(item)) this.#deadlines.set(item, this.#now() + this.#waitMs);
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

  #checkIn(ms: number): void {
    this.#dueAt = this.#now() + ms;
    this.#timer = setTimeout(() => this.#check(), ms);
  }

  #check(): void {
    this.#timer = undefined;
    if (this.#now() - this.#dueAt > OVERSLEPT_MS)
      for (const item of [...this.#deadlines.keys()]) this.renew(item);
    // A timer may fire up to a millisecond early by this clock.
    const now = this.#now() + 1;
    for (const [item, deadline] of this.#deadlines) {
      if (deadline > now) {
        if (!this.#timer) this.#checkIn(deadline - now);
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
