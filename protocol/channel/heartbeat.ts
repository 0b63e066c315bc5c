/** How often (ms) a peer that can answer is pinged while nothing else arrives from it. */
export const PING_INTERVAL_MS = 2_000;

/** A peer that has been silent this long (ms) after a ping is taken for dead. */
export const PING_TIMEOUT_MS = 6_000;

/**
 * Finds out that a peer is dead though its connection still stands, and measures the round trip. It asks at a
 * steady pace; anything that is heard counts as an answer. When the process itself has been asleep (a laptop's
 * lid, SIGSTOP), the time does not count against the peer: it is asked again first.
 */
export class Heartbeat {
  readonly #ping: (token: number) => void;
  readonly #onSilence: (silentMs: number) => void;
  readonly #now: () => number;
  readonly #timer: NodeJS.Timeout;
  #token = 0;
  #sentAt = 0;
  #heardAt: number;
  #tickAt: number;
  #heard = false;
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
    this.#heardAt = this.#tickAt = now();
    this.#timer = setInterval(() => this.#tick(), PING_INTERVAL_MS);
    this.#timer.unref();
    this.#ask(this.#heardAt);
  }

  /** The last measured round trip in ms. */
  get roundTripMs(): number | undefined {
    return this.#roundTripMs;
  }

  /** Something arrived from the peer. */
  heard(): void {
    this.#heard = true;
  }

  /** The answer to a ping. */
  pong(token: number): void {
    if (token === this.#token) this.#roundTripMs = this.#now() - this.#sentAt;
  }

  stop(): void {
    clearInterval(this.#timer);
  }

  #tick(): void {
    const now = this.#now();
    const overslept = now - this.#tickAt > 2 * PING_INTERVAL_MS;
    this.#tickAt = now;
    if (this.#heard || overslept) this.#heardAt = now;
    this.#heard = false;
    const silentMs = now - this.#heardAt;
    if (silentMs >= PING_TIMEOUT_MS) this.#onSilence(silentMs);
    else this.#ask(now);
  }

  #ask(now: number): void {
    this.#sentAt = now;
    this.#ping(++this.#token);
  }
}
