import { Slab } from './slab.js';
import { DATA_HEADER_BYTES } from './wire/frame.js';

/**
 * Payload that came before its stream was accepted. It is kept in one piece of memory that has room for all the
 * early data there can be: kept as it comes, a payload of many small frames would cost many times its bytes.
 */
export class EarlyPayload {
  readonly slab: Slab;
  /** Where it begins in the slab, and where it ends. */
  readonly start = DATA_HEADER_BYTES;
  end = DATA_HEADER_BYTES;

  /** @param mostBytes what the peer may send before the stream is accepted */
  constructor(mostBytes: number) {
    this.slab = new Slab(mostBytes, false);
  }

  /** Adds a copy of the bytes that lie in `from` between `start` and `end`. */
  add(from: Slab, start: number, end: number): void {
    this.end += from.bytes.copy(this.slab.bytes, this.end, start, end);
  }
}
