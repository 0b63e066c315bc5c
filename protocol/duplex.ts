import { Duplex } from 'node:stream';
import { ByteCollector } from './byte-collector.js';
import { Slab } from './slab.js';
import type { Stream, StreamEnd, StreamHandler } from './stream.js';
import { DATA_HEADER_BYTES } from './wire/frame.js';

/** What a reader gets at once (bytes), however much has arrived: as requests it may be hundreds. */
const PIECE_BYTES = 16 * 1024;

/** The stream of a duplex has ended other than in good order. */
export class StreamError extends Error {
  override name = 'StreamError';
  /** What the peer, or the channel, has given as the reason. */
  readonly code: string | undefined;
  /** Whether the peer would not take the stream at all. */
  readonly refused: boolean;

  constructor(message: string, code: string | undefined, refused: boolean) {
    super(message);
    this.code = code;
    this.refused = refused;
  }
}

/**
 * A stream as a node:stream Duplex, for what speaks HTTP over it: the services inside the channel. Forwarded
 * connections do not use it.
 */
export class StreamDuplex extends Duplex implements StreamHandler {
  readonly #stream: Stream;
  /** What has arrived and nobody has asked for yet. As pieces it could take a hundred times a window's memory. */
  readonly #waiting = new ByteCollector();
  /** Whether the reader has asked for more than it was given. */
  #wanted = false;
  #shutDown = false;
  /** Given to the reader, and not known to be consumed. */
  #unread = 0;
  #writeDone: ((error?: Error | null) => void) | undefined;
  readonly #inTurn: (give: () => void) => void;

  /**
   * @param makeStream opens or accepts the stream, with the duplex as its handler
   * @param inTurn has the reader get a piece of what has arrived when it calls back. Default: at once
   */
  constructor(
    makeStream: (handler: StreamHandler) => Stream,
    inTurn: (give: () => void) => void = (give) => give(),
  ) {
    super({ allowHalfOpen: true, emitClose: true });
    this.#inTurn = inTurn;
    this.#stream = makeStream(this);
  }

  // ---- what node:http asks of a net.Socket: a stream has no such settings ---------------------------

  setKeepAlive(): this {
    return this;
  }

  setTimeout(): this {
    return this;
  }

  ref(): this {
    return this;
  }

  unref(): this {
    return this;
  }

  // ---- node:stream -----------------------------------------------------------------------------------

  override _write(chunk: Buffer, _encoding: BufferEncoding, done: (error?: Error | null) => void): void {
    const slab = new Slab(chunk.length, false);
    chunk.copy(slab.room);
    if (this.#stream.write(slab, DATA_HEADER_BYTES, DATA_HEADER_BYTES + chunk.length, false)) done();
    else this.#writeDone = done;
  }

  override _final(done: () => void): void {
    this.#stream.shutdown();
    done();
  }

  /** The reader wants more: what it was given before has been consumed. */
  override _read(): void {
    const read = this.#unread;
    this.#unread = 0;
    if (read > 0) this.#stream.consumed(read);
    this.#wanted = true;
    this.#give();
  }

  override _destroy(error: Error | null, done: (error: Error | null) => void): void {
    this.#stream.reset({ code: 'ECONNRESET', message: error?.message ?? 'the service gave the stream up' });
    const writeDone = this.#writeDone;
    this.#writeDone = undefined;
    writeDone?.(error ?? new Error('the stream was given up before this was sent'));
    done(error);
  }

  // ---- StreamHandler ---------------------------------------------------------------------------------

  onData(slab: Slab, start: number, end: number): void {
    this.#waiting.append(slab.bytes.subarray(start, end));
    this.#give();
  }

  onShutdown(): void {
    this.#shutDown = true;
    this.#give();
  }

  onWritable(): void {
    const done = this.#writeDone;
    this.#writeDone = undefined;
    done?.();
  }

  onOpenResult(): void {}

  onClosed(end: StreamEnd): void {
    if (end.how === 'closed') {
      // The peer reads no more: a write that waits for it is over, but what has arrived can still be read.
      this.onWritable();
      return;
    }
    const reason = end.how === 'refused' ? end.result?.reason : end.reason;
    const message = reason?.message ?? 'the peer refused the stream';
    this.destroy(new StreamError(message, reason?.code, end.how === 'refused'));
  }

  // ---- inside ----------------------------------------------------------------------------------------

  #give(): void {
    if (this.#waiting.length === 0) this.#giveEnd();
    else if (this.#wanted) {
      this.#wanted = false;
      this.#inTurn(() => this.#givePiece());
    }
  }

  #givePiece(): void {
    // Meanwhile the stream may have been given up.
    if (this.destroyed) return;
    const bytes = this.#waiting.take(PIECE_BYTES);
    this.#unread += bytes.length;
    this.push(bytes);
    if (this.#waiting.length === 0) this.#giveEnd();
  }

  #giveEnd(): void {
    if (this.#shutDown) this.push(null);
  }
}
