/** How often (ms) it is looked whether this process gets to run. */
const STEP_MS = 20;

/** Measures how late this machine is, so that nobody else is blamed for it. */
export class Lag {
  #expected = performance.now() + STEP_MS;
  #longest = 0;
  readonly #timer = setInterval(() => {
    const now = performance.now();
    this.#longest = Math.max(this.#longest, now - this.#expected);
    this.#expected = now + STEP_MS;
  }, STEP_MS);

  /** Begins anew. */
  reset(): void {
    this.#longest = 0;
  }

  /** By how much (ms) a timer came too late at most. */
  get longestMs(): number {
    return this.#longest;
  }

  stop(): void {
    clearInterval(this.#timer);
  }
}
