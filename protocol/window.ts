import { EARLY_DATA_BYTES } from './wire/extension.js';

/** What a stream may send before its reader has shown that it reads: the same as vpnkit's whole window. */
export const INITIAL_WINDOW_BYTES = 64 * 1024;

/**
 * The least that a stream is granted, also when the channel's budget is spent: no less than early data promises
 * to every stream without a look at the budget.
 */
export const MIN_WINDOW_BYTES = EARLY_DATA_BYTES;

/**
 * A busy stream's window stops growing here. A sender stands still when it has used its window up before the next
 * Window has come back, so a window must hold what goes out in one round trip. This one holds 40 ms at 100 MB/s, and
 * 2.6 ms at 1.6 GB/s, the fastest that was measured, where 99 of 100 round trips took less than 0.4 ms (see
 * docs/performance.md). A larger one would only let a reader that stops keep more memory from use.
 */
export const MAX_WINDOW_BYTES = 4 * 1024 * 1024;

/** What all receive windows of one channel may add up to beyond their minimum: sixteen of the largest. */
export const WINDOW_BUDGET_BYTES = 64 * 1024 * 1024;

/**
 * A window of which half is used up within this time (ms) is too small for its stream, and is doubled.
 *
 * The rule is that of quic-go's internal/flowcontrol/base_flow_controller.go: a window is doubled when half of it is
 * used up within two round trips. There the round trip is measured; here it is taken for 20 ms, since a plain
 * peer answers no Ping, and a Ping every 2 s says little of a channel whose load changes within milliseconds. The
 * slowest of a thousand round trips beside a saturating upload took 7 to 12 ms (docs/performance.md). To take them
 * for too long costs memory, and that is bounded; to take them for too short would cost throughput.
 */
export const WINDOW_GROWTH_MS = 40;

/**
 * One window gets at most this part of what is free: a sixteenth. The more is promised, the less a window still gets,
 * and there is always something left for a stream that comes later.
 */
const SHARES_LEFT = 16;

/** What all receive windows of a channel may hold together, so that many slow streams cannot add up. */
export class WindowBudget {
  #free: number;
  /** What a window is opened to at most for the time being, whatever its size. */
  cap = MAX_WINDOW_BYTES;

  constructor(bytes: number = WINDOW_BUDGET_BYTES) {
    this.#free = bytes;
  }

  /** Bytes that are not promised to any stream. */
  get free(): number {
    return this.#free;
  }

  /** Gives `wanted` bytes, or as many as one window may have of what is free. */
  take(wanted: number): number {
    const given = Math.min(wanted, Math.floor(this.#free / SHARES_LEFT));
    this.#free -= given;
    return given;
  }

  give(bytes: number): void {
    this.#free += bytes;
  }
}

/** How much may be sent on a stream. All counts are bytes since the stream was opened. */
export class SendWindow {
  #allowed: number;
  #sent = 0;

  /** @param early what may be sent before the first Window */
  constructor(early: number) {
    this.#allowed = early;
  }

  get allowed(): number {
    return this.#allowed;
  }

  get sent(): number {
    return this.#sent;
  }

  get available(): number {
    return this.#allowed - this.#sent;
  }

  /** Accounts for bytes that go out; never more than `available`. */
  spend(bytes: number): void {
    this.#sent += bytes;
  }

  /**
   * Takes the peer's new absolute allowance.
   * @returns false when it is smaller than an earlier one, which changes nothing
   */
  allow(allowed: number): boolean {
    if (allowed < this.#allowed) return false;
    this.#allowed = allowed;
    return true;
  }
}

/**
 * How much a peer may send on a stream: what has been consumed plus the window's size. The size starts small
 * and doubles whenever half of it is consumed within WINDOW_GROWTH_MS.
 */
export class ReceiveWindow {
  readonly #budget: WindowBudget;
  #size: number;
  #allowed: number;
  #received = 0;
  #consumed = 0;
  /** When (ms) the last grant was; the first one is never a fast one, however young the clock is. */
  #grantedAt = Number.NEGATIVE_INFINITY;

  /** @param early what the peer may send without being told; the window starts with that size then */
  constructor(budget: WindowBudget, early: number) {
    this.#budget = budget;
    this.#allowed = early;
    this.#size = early > 0 ? early : MIN_WINDOW_BYTES + budget.take(INITIAL_WINDOW_BYTES - MIN_WINDOW_BYTES);
  }

  get allowed(): number {
    return this.#allowed;
  }

  get received(): number {
    return this.#received;
  }

  /** Bytes that were received and wait for their reader. */
  get waiting(): number {
    return this.#received - this.#consumed;
  }

  get size(): number {
    return this.#size;
  }

  /** Whether the peer may send nothing more. */
  get spent(): boolean {
    return this.#received === this.#allowed;
  }

  /**
   * Accounts for bytes that come in.
   * @returns false when they exceed what was allowed; they are not accounted for then
   */
  receive(bytes: number): boolean {
    if (this.#received + bytes > this.#allowed) return false;
    this.#received += bytes;
    return true;
  }

  /** Accounts for bytes whose reader has taken them. */
  consume(bytes: number): void {
    this.#consumed += bytes;
  }

  /** Whether less than half of the window is left, so that a grant is worth a frame. */
  get due(): boolean {
    return this.#allowed - this.#consumed < Math.min(this.#size, this.#budget.cap) / 2;
  }

  /**
   * Opens the window again to its full size, which may grow.
   * @param now in ms, of any clock that goes forward
   * @returns the absolute allowance to tell the peer
   */
  grant(now: number): number {
    const { cap } = this.#budget;
    const fast = now - this.#grantedAt < WINDOW_GROWTH_MS && this.#size < cap;
    if (fast) this.#size += this.#budget.take(Math.min(this.#size, MAX_WINDOW_BYTES - this.#size));
    this.#grantedAt = now;
    this.#allowed = Math.max(this.#allowed, this.#consumed + Math.min(this.#size, cap));
    return this.#allowed;
  }

  /** Returns the window's share to the budget; the stream is over. */
  release(): void {
    this.#budget.give(this.#size - MIN_WINDOW_BYTES);
    this.#size = MIN_WINDOW_BYTES;
  }
}
