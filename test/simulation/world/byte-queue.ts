/** Bytes in the order in which they came, as pieces. */
export class ByteQueue {
  readonly #pieces: Buffer[] = [];
  #length = 0;

  get length(): number {
    return this.#length;
  }

  push(bytes: Buffer): void {
    this.#pieces.push(bytes);
    this.#length += bytes.length;
  }

  /** @returns what came first, and at most so many bytes of it; none when there are none */
  take(most: number): Buffer {
    const first = this.#pieces[0]?.subarray(0, most) ?? Buffer.alloc(0);
    this.#drop(first.length);
    return first;
  }

  /** Fills a part of memory with what came first. @returns how many bytes that were */
  moveInto(memory: Buffer, most: number): number {
    let length = 0;
    while (length < most && this.#length > 0) length += this.take(most - length).copy(memory, length);
    return length;
  }

  /** Keeps so many of the bytes that came first. */
  cut(keep: number): void {
    const kept: Buffer[] = [];
    for (let left = Math.min(keep, this.#length); left > 0; left -= kept.at(-1)?.length ?? 0)
      kept.push(this.take(left));
    this.clear();
    for (const piece of kept) this.push(piece);
  }

  clear(): void {
    this.#pieces.length = 0;
    this.#length = 0;
  }

  #drop(length: number): void {
    this.#length -= length;
    const first = this.#pieces[0];
    if (first === undefined || first.length === length) this.#pieces.shift();
    else this.#pieces[0] = first.subarray(length);
  }
}
