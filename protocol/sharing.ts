import type { Stream } from './stream.js';
import { MAX_WINDOW_BYTES } from './window.js';

/**
 * What a window is opened to at most while the channel is shared. What a bulk transfer has under way goes before
 * the next request or answer, which waits for it: 50 µs for so much at 10 Gbit/s. Windows of 16 and 32 KiB were
 * tried: the median wait fell from 520 to 360 and 440 µs, and that of the slowest hundredth stayed where it was
 * (docs/performance.md).
 */
export const SHARED_WINDOW_BYTES = 64 * 1024;

/** How long (ms) a channel counts as shared after the last request or answer beside a bulk transfer. */
export const SHARING_MS = 100;

/**
 * Finds out whether bulk transfers share their channel with somebody who waits for a short answer.
 *
 * The sign is payload for a stream of requests, right after payload for another stream. Streams of requests
 * among themselves give the sign, too, and it does them no harm: their windows are not that large.
 */
export class Sharing {
  /** Whose payload came last. */
  #last: Stream | undefined;
  /** When (ms) the sign was last seen. */
  #seenAt = Number.NEGATIVE_INFINITY;
  readonly #now: () => number;

  /** @param now a clock in ms that only goes forward */
  constructor(now: () => number) {
    this.#now = now;
  }

  /** Payload comes for a stream. */
  received(stream: Stream): void {
    if (stream === this.#last) return;
    if (this.#last && stream.interactive) this.#seenAt = this.#now();
    this.#last = stream;
  }

  /** A stream is over. */
  forget(stream: Stream): void {
    if (this.#last === stream) this.#last = undefined;
  }

  /** What a window is opened to at most at this time (ms). */
  windowCap(now: number): number {
    return now - this.#seenAt < SHARING_MS ? SHARED_WINDOW_BYTES : MAX_WINDOW_BYTES;
  }
}
