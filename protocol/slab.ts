import { DATA_HEADER_BYTES } from './wire/frame.js';

/**
 * Payload bytes that a slab holds: more than a unix socket's default buffer (208 KiB), so that one read can
 * empty it, and one write fill it again while the other end is still busy with the first half.
 */
const SLAB_PAYLOAD_BYTES = 512 * 1024;

/**
 * Free slabs that are kept beyond as many as are lent; further ones are left to the garbage collector. Eight bulk
 * connections take and return more than eight between two turns: if those came and went as garbage, collecting it
 * would take a twentieth of the time.
 */
const SPARE_SLABS = 8;

/** Slabs in use at once before readers fall back to small reads and to copying (16 MiB). */
const MAX_SLABS_OUT = 32;

/**
 * A piece of memory that is read into, written from and used again, so that bulk data costs no allocation.
 * The first DATA_HEADER_BYTES are left free, so that a Data header can be written right before the payload
 * and both go out in one write.
 */
export class Slab {
  readonly bytes: Buffer;
  /** Where reads go: all but the header's place. */
  readonly room: Buffer;
  /** How many still need the bytes; see SlabPool.release. */
  holds = 1;
  /** Whether the slab goes back to its pool; one made for a single payload does not. */
  readonly pooled: boolean;

  constructor(payloadBytes: number, pooled: boolean) {
    this.pooled = pooled;
    this.bytes = Buffer.allocUnsafeSlow(DATA_HEADER_BYTES + payloadBytes);
    this.room = this.bytes.subarray(DATA_HEADER_BYTES);
  }
}

/** Lends slabs, and takes them back when their last holder has let go. */
export class SlabPool {
  readonly #free: Slab[] = [];
  #out = 0;

  /** Slabs lent at this moment. */
  get out(): number {
    return this.#out;
  }

  /** True when so much is lent that a holder should copy what is small instead of keeping a slab for it. */
  get tight(): boolean {
    return this.#out >= MAX_SLABS_OUT;
  }

  /** A slab with one hold on it. */
  acquire(): Slab {
    this.#out++;
    const slab = this.#free.pop() ?? new Slab(SLAB_PAYLOAD_BYTES, true);
    slab.holds = 1;
    return slab;
  }

  /** A slab just large enough for a copy of `from` between `start` and `end`, with one hold on it. */
  copyOf(from: Slab, start: number, end: number): Slab {
    const slab = new Slab(end - start, false);
    from.bytes.copy(slab.room, 0, start, end);
    return slab;
  }

  /** Lets go of one hold; with the last one the slab's memory may be lent again at once. */
  release(slab: Slab): void {
    slab.holds--;
    if (slab.holds > 0 || !slab.pooled) return;
    this.#out--;
    this.#free.push(slab);
    this.#free.splice(SPARE_SLABS + this.#out);
  }
}
