/** How often (ms) a deadline looks whether this process has been asleep. */
const LOOK_MS = 1_000;

/** A timer that fires so much (ms) too late says that it has. */
export const OVERSLEPT_MS = 1_000;

/**
 * Until when somebody is waited for. When this process has been asleep (a laptop's lid, SIGSTOP) most likely whoever is
 * waited for has been, too: he has the whole time again from then on. And what has come while this process could not
 * run is read before he is late.
 */
export class Deadline {
  readonly #ms: number;
  readonly #now: () => number;
  readonly #late = new AbortController();
  #endsAt: number;
  /** When the timer is to fire. */
  #dueAt = 0;
  #timer: NodeJS.Timeout | undefined;
  #judgement: NodeJS.Immediate | undefined;

  /**
   * @param ms how long is waited, if nobody sleeps
   * @param now a clock in ms that only goes forward
   */
  constructor(ms: number, now: () => number = () => performance.now()) {
    this.#ms = ms;
    this.#now = now;
    this.#endsAt = now() + ms;
    this.#wait(ms);
  }

  /**
   * Does something that has so long (ms), and ends the deadline with it.
   * @param action may wait beyond the deadline: what being late means is its own affair
   */
  static within<T>(ms: number, action: (deadline: Deadline) => Promise<T>): Promise<T> {
    const deadline = new Deadline(ms);
    return action(deadline).finally(() => deadline.end());
  }

  /** Aborted when the time is over. */
  get signal(): AbortSignal {
    return this.#late.signal;
  }

  /** Whether the time is over. */
  get over(): boolean {
    return this.signal.aborted;
  }

  /** Nobody waits any more. To be called in any case. */
  end(): void {
    clearTimeout(this.#timer);
    clearImmediate(this.#judgement);
  }

  #wait(leftMs: number): void {
    const ms = Math.min(leftMs, LOOK_MS);
    this.#dueAt = this.#now() + ms;
    this.#timer = setTimeout(() => this.#look(), ms);
  }

  #look(): void {
    const now = this.#now();
    if (now - this.#dueAt > OVERSLEPT_MS) this.#endsAt = now + this.#ms;
    // A timer may fire up to a millisecond early by this clock.
    const leftMs = this.#endsAt - now;
    if (leftMs > 1) this.#wait(leftMs);
    else this.#judgement = setImmediate(() => this.#late.abort());
  }
}
