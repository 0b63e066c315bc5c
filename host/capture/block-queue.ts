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
      const together = this.#take();
      // It may ask for more at once, by _read().
      this.push(together.length === 1 ? together[0] : Buffer.concat(together));
    }
    if (this.#finished && this.#blocks.length === 0) this.push(null);
  }

  #take(): Buffer[] {
    let length = 0;
    let count = 0;
    for (const block of this.#blocks) {
      length += block.length;
      count++;
      if (length >= TOGETHER_BYTES) break;
    }
    this.#bytes -= length;
    return this.#blocks.splice(0, count);
  }
}
