/** How often (ms) a peer that can answer is asked while something is under way. */
export const PING_INTERVAL_MS = 2_000;

/** A peer of which nothing has been heard for this long (ms), though it was asked, is taken for dead. */
export const PING_TIMEOUT_MS = 6_000;

/** The same for a channel that has rested: nothing but what has just come hangs on it, and that is told soon. */
export const PROBE_TIMEOUT_MS = 1_500;

/**
 * How often (ms) a peer is asked while connections are open in which nothing is under way: as often as the system
 * asks for a silent TCP peer.
 */
export const SLOW_PING_INTERVAL_MS = 15_000;

/** A peer of which something has been heard so short a time (ms) ago need not be asked whether it is there. */
const JUST_HEARD_MS = 250;

/** A timer that fires so much (ms) too late says that this process has been asleep. */
const OVERSLEPT_MS = 2_000;

/**
 * What hangs on a channel: no connection at all, whatever services are open; connections in which nothing is under
 * way; or some in which something is.
 */
export type Load = 'none' | 'silent' | 'busy';

/** What a heartbeat needs of its channel. */
export interface Pulse {
  ping(token: number): void;
  /** The peer is taken for dead. */
  onSilence(silentMs: number): void;
  readonly load: Load;
  /** Calls back once, when a stream is opened or payload goes either way. */
  onceUsed(used: () => void): void;
}

/**
 * Finds out that a peer is dead though its connection still stands, and measures the round trip. Anything that is
 * heard counts as an answer. How often it asks depends on what hangs on the channel:
 *
 * - at a steady pace while something is under way, and until that has been answered;
 * - now and then while connections are open and silent;
 * - never, without a timer, while there are none. Whatever is sent first then asks, and waits for no long time.
 *
 * When the process itself has been asleep (a laptop's lid, SIGSTOP), the time does not count against the peer: it
 * is asked again first. A heartbeat that rests needs no such care: it has asked nothing.
 */
export class Heartbeat {
  readonly #pulse: Pulse;
  readonly #now: () => number;
  #timer: NodeJS.Timeout | undefined;
  #judgement: NodeJS.Immediate | undefined;
  #token = 0;
  #sentAt = 0;
  /** When something was heard last, or the silence began to count. */
  #heardAt: number;
  /** Whether something has been heard since the last time that it asked. */
  #answered = false;
  /** Whether it has asked since the channel was last used. */
  #asked = false;
  /** How long (ms) the peer may be silent now. */
  #limitMs = PING_TIMEOUT_MS;
  /** When the timer is to fire. */
  #dueAt = 0;
  #roundTripMs: number | undefined;
  /** What hung on the channel when it came to rest; undefined while the heart beats. */
  #rested: 'none' | 'silent' | undefined;

  /** @param now a clock in ms that only goes forward */
  constructor(pulse: Pulse, now: () => number = () => performance.now()) {
    this.#pulse = pulse;
    this.#now = now;
    this.#heardAt = now();
    this.#askAndWait();
  }

  /** The last measured round trip in ms. */
  get roundTripMs(): number | undefined {
    return this.#roundTripMs;
  }

  /** Something arrived from the peer. */
  heard(): void {
    this.#heardAt = this.#now();
    this.#answered = true;
  }

  /** The answer to a ping. */
  pong(token: number): void {
    if (token === this.#token) this.#roundTripMs = this.#now() - this.#sentAt;
  }

  /** Pings the peer now; who asks sees to the answer. */
  ask(): void {
    this.#sentAt = this.#now();
    this.#pulse.ping(++this.#token);
  }

  /**
   * Somebody wants to know whether the peer is there. A heartbeat that rests, or will, goes on as if the channel was
   * used.
   * @returns whether that is not known yet: the peer has been asked, and whatever comes next is the answer
   */
  probe(): boolean {
    if (this.#answered && this.#now() - this.#heardAt < JUST_HEARD_MS) return false;
    const asked = !this.#answered && this.#limitMs === PROBE_TIMEOUT_MS;
    if (asked) return true;
    // Of a channel on which nothing hangs nobody else is waiting for the usual time.
    if (this.#pulse.load === 'none') this.#rested = 'none';
    if (this.#rested !== undefined) this.#wake();
    else if (this.#answered) this.ask();
    return true;
  }

  stop(): void {
    clearTimeout(this.#timer);
    clearImmediate(this.#judgement);
  }

  /** One more round at the steady pace. */
  #askAndWait(): void {
    this.#asked = true;
    this.#answered = false;
    // First of all: what is opened or sent from now on is not what this has asked about.
    this.#pulse.onceUsed(() => {
      this.#asked = false;
    });
    this.#wait(PING_INTERVAL_MS);
    this.ask();
  }

  #wait(ms: number): void {
    const leftMs = this.#heardAt + this.#limitMs - this.#now();
    this.#tickIn(Math.min(ms, leftMs), () => this.#tick());
  }

  #tickIn(ms: number, tick: () => void): void {
    this.#dueAt = this.#now() + ms;
    this.#timer = setTimeout(tick, ms).unref();
  }

  #tick(): void {
    const now = this.#now();
    if (now - this.#dueAt > OVERSLEPT_MS) this.#heardAt = now;
    if (this.#answered) this.#limitMs = PING_TIMEOUT_MS;
    if (now - this.#heardAt >= this.#limitMs) {
      // What has come while this process could not run is read before the judgement.
      this.#judgement = setImmediate(() => this.#judge());
      return;
    }
    const { load } = this.#pulse;
    if (this.#asked && this.#answered && load !== 'busy') this.#rest(load);
    else this.#askAndWait();
  }

  #judge(): void {
    if (this.#answered) this.#askAndWait();
    else this.#pulse.onSilence(this.#now() - this.#heardAt);
  }

  #rest(load: 'none' | 'silent'): void {
    this.#timer = undefined;
    this.#rested = load;
    this.#pulse.onceUsed(() => this.#wake());
    if (load === 'silent') this.#tickIn(SLOW_PING_INTERVAL_MS, () => this.#look());
  }

  /** The connections have been silent for long. */
  #look(): void {
    const { load } = this.#pulse;
    this.#rested = undefined;
    if (load === 'none') {
      this.#rest(load);
      return;
    }
    this.#heardAt = this.#now();
    this.#askAndWait();
  }

  /** The channel is used again. */
  #wake(): void {
    clearTimeout(this.#timer);
    const rested = this.#rested;
    this.#rested = undefined;
    const now = this.#now();
    if (now - this.#heardAt < JUST_HEARD_MS) {
      this.#asked = false;
      this.#wait(PING_INTERVAL_MS);
      return;
    }
    this.#heardAt = now;
    if (rested === 'none') this.#limitMs = PROBE_TIMEOUT_MS;
    this.#askAndWait();
  }
}
