/** How often (ms) a peer that can answer is pinged. */
export const PING_INTERVAL_MS = 2_000;

/** A peer of which nothing has been heard for this long (ms), though it was pinged, is taken for dead. */
export const PING_TIMEOUT_MS = 6_000;

/** A timer that fires so much (ms) too late says that this process has been asleep. */
const OVERSLEPT_MS = 2_000;

/**
 * Finds out that a peer is dead though its connection still stands, and measures the round trip. It asks at a
 * steady pace; anything that is heard counts as an answer. When the process itself has been asleep (a laptop's
 * lid, SIGSTOP), the time does not count against the peer: it is asked again first.
 */
export class Heartbeat {
  readonly #ping: (token: number) => void;
  readonly #onSilence: (silentMs: number) => void;
  readonly #now: () => number;
  #timer: NodeJS.Timeout;
  #token = 0;
  #sentAt = 0;
  #heardAt: number;
  /** When the timer is to fire. */
  #dueAt = 0;
  #roundTripMs: number | undefined;

  /** @param now a clock in ms that only goes forward */
  constructor(
    ping: (token: number) => void,
    onSilence: (silentMs: number) => void,
    now: () => number = () => performance.now(),
  ) {
    this.#ping = ping;
    this.#onSilence = onSilence;
    this.#now = now;
    this.#heardAt = now();
    this.#timer = this.#tickIn(PING_INTERVAL_MS);
    this.ask();
  }

  /** The last measured round trip in ms. */
  get roundTripMs(): number | undefined {
    return this.#roundTripMs;
  }

  /** Something arrived from the peer. */
  heard(): void {
    this.#heardAt = this.#now();
  }

  /** The answer to a ping. */
  pong(token: number): void {
    if (token === this.#token) this.#roundTripMs = this.#now() - this.#sentAt;
  }

  /** Pings the peer now. */
  ask(): void {
    this.#sentAt = this.#now();
    this.#ping(++this.#token);
  }

  stop(): void {
    clearTimeout(this.#timer);
  }

  #tickIn(ms: number): NodeJS.Timeout {
    this.#dueAt = this.#now() + ms;
    return setTimeout(() => this.#tick(), ms).unref();
  }

  #tick(): void {
    const now = this.#now();
    if (now - this.#dueAt > OVERSLEPT_MS) this.#heardAt = now;
    const leftMs = this.#heardAt + PING_TIMEOUT_MS - now;
    if (leftMs <= 0) {
      this.#onSilence(now - this.#heardAt);
      return;
    }
    this.#timer = this.#tickIn(Math.min(PING_INTERVAL_MS, leftMs));
    this.ask();
  }
}
