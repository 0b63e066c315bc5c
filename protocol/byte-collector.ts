/**
 * Joins pieces of any size into one run of bytes. A piece costs its bytes, at most twice, however small it is:
 * kept one by one, a byte would cost a hundred.
 */
export class ByteCollector {
  #memory = Buffer.alloc(0);
  #length = 0;

  get length(): number {
    return this.#length;
  }

  /** Copies the bytes of `piece`. */
  append(piece: Uint8Array): void {
    const length = this.#length + piece.length;
    if (length > this.#memory.length) this.#grow(length);
    this.#memory.set(piece, this.#length);
    this.#length = length;
  }

  /** What has been collected first, at most so many bytes: all of it unless less is wanted. They are gone from here then. */
  take(most = this.#length): Buffer {
    const taken = this.#memory.subarray(0, Math.min(most, this.#length));
    this.#length -= taken.length;
    this.#memory = this.#length === 0 ? Buffer.alloc(0) : this.#memory.subarray(taken.length);
    return taken;
  }

  #grow(needed: number): void {
    const memory = Buffer.allocUnsafe(Math.max(needed, 2 * this.#memory.length));
    this.#memory.copy(memory, 0, 0, this.#length);
    this.#memory = memory;
  }
}
