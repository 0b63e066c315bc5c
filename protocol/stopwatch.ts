/** How long something has lasted in all. The clock is read when it begins and when it ends, and not in between. */
export class Stopwatch {
  readonly #now: () => number;
  #total = 0;
  /** Undefined while it does not run. */
  #since: number | undefined;

  /** @param now a clock in ms that only goes forward */
  constructor(now: () => number) {
    this.#now = now;
  }

  /** Does nothing while it runs already. */
  start(): void {
    this.#since ??= this.#now();
  }

  stop(): void {
    if (this.#since === undefined) return;
    this.#total += this.#now() - this.#since;
    this.#since = undefined;
  }

  /** Until now (ms). */
  get elapsed(): number {
    return this.#total + (this.#since === undefined ? 0 : this.#now() - this.#since);
  }
}
