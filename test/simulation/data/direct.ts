import { Slab, type SlabPool } from '../../../protocol/slab.js';
import type { Stream, StreamEnd, StreamHandler } from '../../../protocol/stream.js';
import type { OpenResult } from '../../../protocol/wire/extension.js';
import { DATA_HEADER_BYTES } from '../../../protocol/wire/frame.js';
import { Violation } from '../world/world.js';
import { Side } from './side.js';

const GAVE_UP = { code: 'GAVE_UP', message: 'given up' };

/** What is written from at once, and may be overwritten at once. */
const lent = new Slab(700_000, false);

/** One end of a stream that is used as it is, without a socket. */
export class DirectSide extends Side<DirectSide> implements StreamHandler {
  stream: Stream | undefined;
  /** Received and not consumed. */
  kept = 0;
  paused = false;
  shut = false;
  writable = true;
  shutdownSeen = false;

  protected override get opened(): boolean {
    return this.stream !== undefined;
  }

  /** Writes from memory that is its own, or from such as will be overwritten at once. */
  write(length: number, pool: SlabPool | undefined): void {
    if (this.over || this.shut || !this.writable || !this.stream) return;
    const slab = pool ? pool.acquire() : lent;
    const from = DATA_HEADER_BYTES;
    const to = from + Math.min(length, slab.room.length);
    this.pattern.write(slab.bytes.subarray(from, to), this.sent);
    this.sent += to - from;
    this.world.note(`${this.name} writes ${to - from} bytes`);
    this.writable = this.stream.write(slab, from, to, !pool);
    if (pool) pool.release(slab);
    else slab.bytes.fill(0xdb, from, to);
  }

  shutdown(): void {
    if (this.over || this.shut) return;
    this.shut = true;
    this.world.note(`${this.name} shuts down`);
    this.stream?.shutdown();
  }

  reset(): void {
    if (this.over) return;
    this.gaveUp = true;
    this.world.note(`${this.name} resets`);
    this.stream?.reset(GAVE_UP);
  }

  refuse(): void {
    this.gaveUp = true;
    this.stream?.refuse('policy', GAVE_UP);
  }

  consume(): void {
    const { kept } = this;
    this.kept = 0;
    if (kept > 0 && !this.dead) this.stream?.consumed(kept);
  }

  // ---- StreamHandler ---------------------------------------------------------------------------------

  onData(slab: Slab, start: number, end: number): void {
    this.checkAlive('payload');
    const other = this.other as DirectSide;
    if (this.received + end - start > other.sent)
      throw new Violation(`${this.name} gets more than ${other.name} has sent`);
    other.pattern.check(slab.bytes.subarray(start, end), this.received, this.name);
    this.received += end - start;
    if (this.paused) this.kept += end - start;
    else this.stream?.consumed(end - start);
  }

  onShutdown(): void {
    this.checkAlive('a half-close');
    this.shutdownSeen = true;
    const other = this.other as DirectSide;
    if (!other.shut || this.received !== other.sent)
      throw new Violation(`${this.name} got a half-close after ${this.received} of ${other.sent} bytes`);
  }

  onWritable(): void {
    this.checkAlive('that it may write');
    this.writable = true;
  }

  onOpenResult(_result: OpenResult): void {
    this.checkAlive('an answer');
  }

  onClosed(end: StreamEnd): void {
    this.checkAlive('an end');
    this.world.note(`${this.name} ${end.how}`);
    this.end = end;
    if (end.how === 'closed' && !this.shutdownSeen)
      throw new Violation(`${this.name} was closed in order, without a half-close`);
  }
}
