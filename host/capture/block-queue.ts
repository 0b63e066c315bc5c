import { Readable } from 'node:stream';

/** Blocks are handed on together, so many bytes at a time or a little more. */
const TOGETHER_BYTES = 64 * 1024;

/** Blocks that wait for whoever reads the capture: what was added in one turn of the event loop goes out together. */
export class BlockQueue extends Readable {
  #blocks: Buffer[] = [];
  #bytes = 0;
  #wanted = false;
  #scheduled = false;
  #finished = false;

  /** Bytes that wait. */
  get bytes(): number {
    return this.#bytes;
  }

  add(block: Buffer): void {
    this.#blocks.push(block);
    this.#bytes += block.length;
    this.#schedule();
  }

  /** What has been added is the whole of it. */
  finish(): void {
    this.#finished = true;
    this.#schedule();
  }

  override _read(): void {
    this.#wanted = true;
    this.#schedule();
  }

  #schedule(): void {
    if (this.#scheduled || !this.#wanted) return;
    this.#scheduled = true;
    setImmediate(() => {
      this.#scheduled = false;
      this.#handOn();
    });
  }

  #handOn(): void {
    while (this.#wanted && this.#blocks.length > 0) {
      this.#wanted = false;
      let length = 0;
      const end = this.#blocks.findIndex((block) => (length += block.length) >= TOGETHER_BYTES) + 1;
      const together = this.#blocks.splice(0, end || this.#blocks.length);
      this.#bytes -= length;
      // It may ask for more at once, by _read().
      this.push(together.length === 1 ? together[0] : Buffer.concat(together, length));
    }
    if (this.#finished && this.#blocks.length === 0) this.push(null);
  }
}
