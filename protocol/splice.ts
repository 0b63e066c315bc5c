import { errnoOf } from './errors.js';
import { Slab } from './slab.js';
import { type Connect, connectSocket } from './socket/connect-socket.js';
import type { RawSocket, SocketAddress, SocketHandler } from './socket/raw-socket.js';
import type { Stream, StreamEnd, StreamHandler } from './stream.js';
import type { Tap } from './tap.js';
import type { OpenResult, Reason } from './wire/extension.js';
import { DATA_HEADER_BYTES } from './wire/frame.js';

/** How a spliced connection ended: in good order, or which side broke it and why; `aborted` by this process. */
export type SpliceEnd = StreamEnd | { how: 'dial-failed' | 'socket-failed' | 'aborted'; reason: Reason };

export interface SpliceOwner {
  /** The guest has answered the Open; only where this end opened the stream and the peer can answer. */
  onOpenResult(result: OpenResult): void;
  /** The first payload has come out of the stream. */
  onFirstByte?(): void;
  /** Socket and stream are both over. Called once. */
  onFinished(end: SpliceEnd): void;
}

/**
 * What all idle connections read into. One piece of memory serves them all, for what a read brings here is
 * copied on before the next read happens.
 */
const scratch = new Slab(64 * 1024, false);

/** A read that brings this much makes its connection a bulk one, which reads into slabs of its own. */
const BULK_READ_BYTES = 32 * 1024;

/** Payload below this size is copied for a slow reader, so that it does not keep a whole slab from use. */
const KEPT_IN_PLACE_BYTES = 16 * 1024;

/** Payload that the socket could not take at once: `length` bytes, on `slab` unless they were copied. */
interface Kept {
  length: number;
  slab: Slab | undefined;
}

/**
 * Joins a socket and a stream: what comes out of one goes into the other, half-closes and resets included.
 *
 * Socket to stream: a read goes into a slab behind a place for the Data header, and leaves in one write with
 * that header; when the stream takes no more, the socket is not read from. Stream to socket: payload is
 * written from where the channel's read has put it; credit goes back to the peer when the kernel has taken
 * it. What the kernel does not take is bounded by the stream's window.
 */
export class Splice implements SocketHandler, StreamHandler {
  readonly #owner: SpliceOwner;
  readonly #socket: RawSocket;
  readonly #stream: Stream;
  /** The slab that the next read goes into; undefined: into the common scratch. */
  #slab: Slab | undefined;
  #kept: Kept[] = [];
  #keptBytes = 0;
  /** Whether the socket's other end has sent its last byte. */
  #socketEnded = false;
  #socketClosed = false;
  #streamEnd: SpliceEnd | undefined;
  #firstByteTold = false;
  #finished = false;
  /** While the socket is being connected by dial(): since when (performance.now). */
  #dialStartedAt: number | undefined;
  /** Who looks at what passes; nearly always nobody. May be changed at any time. */
  tap: Tap | undefined;
  /** Which side was the first to end its direction in good order. */
  firstToEnd: 'socket' | 'stream' | undefined;

  /**
   * Both get their events to the splice from now on; the socket must be told to resume() when it is accepted.
   * @param makeStream opens or accepts the stream, with the splice as its handler
   * @param makeSocket connects the socket with the splice as its handler, or gives it to an accepted one
   */
  constructor(
    owner: SpliceOwner,
    makeStream: (handler: StreamHandler) => Stream,
    makeSocket: (handler: SocketHandler) => RawSocket,
  ) {
    this.#owner = owner;
    this.#stream = makeStream(this);
    this.#socket = makeSocket(this);
  }

  /**
   * Takes a stream that the peer has opened and connects it to `address`; the peer is told the outcome, and
   * what it sends meanwhile waits.
   * @param connect makes the connection. Default: connectSocket
   */
  static dial(
    owner: SpliceOwner & { onConnected(): void },
    stream: Stream,
    address: SocketAddress,
    connect: Connect = connectSocket,
  ): Splice {
    const startedAt = performance.now();
    const splice = new Splice(
      owner,
      (handler) => {
        stream.accept(handler);
        return stream;
      },
      (handler) =>
        connect(address, handler, () => {
          splice.#dialStartedAt = undefined;
          stream.reportConnected((performance.now() - startedAt) * 1000);
          owner.onConnected();
        }),
    );
    splice.#dialStartedAt = startedAt;
    return splice;
  }

  get stream(): Stream {
    return this.#stream;
  }

  get socket(): RawSocket {
    return this.#socket;
  }

  /**
   * Sends bytes that go before everything the socket brings.
   * @returns whether the socket may be read from at once: when the stream has to keep them, what came next
   * would take their place, and onWritable resumes the socket
   */
  sendFirst(bytes: Uint8Array): boolean {
    const slab = new Slab(bytes.length, false);
    slab.room.set(bytes);
    return this.#stream.write(slab, DATA_HEADER_BYTES, DATA_HEADER_BYTES + bytes.length, false);
  }

  /** Gives up a dial that takes too long. The server may have the connection all the same: it gets RST. */
  dialTimedOut(): void {
    this.#socketFailed(Object.assign(new Error('no answer in time'), { code: 'ETIMEDOUT' }));
    this.#socket.reset();
  }

  /** Breaks the connection on both sides. */
  abort(reason: Reason): void {
    this.#stream.reset(reason);
    this.#streamEnd ??= { how: 'aborted', reason };
    if (this.#socketClosed) this.#finish(this.#streamEnd);
    else this.#socket.reset();
  }

  // ---- socket → stream -------------------------------------------------------------------------------

  nextMemory(): Buffer {
    return (this.#slab ?? scratch).room;
  }

  onRead(memory: Buffer, length: number): boolean {
    const slab = this.#slab ?? scratch;
    if (this.tap) this.tap.fromClient(memory.subarray(0, length));
    const more = this.#stream.write(slab, DATA_HEADER_BYTES, DATA_HEADER_BYTES + length, slab === scratch);
    this.#chooseMemory(length);
    return more;
  }

  onEnd(): void {
    this.#socketEnded = true;
    this.firstToEnd ??= 'socket';
    this.tap?.clientEnded();
    this.#releaseSlab();
    this.#stream.shutdown();
  }

  onWritable(): void {
    this.#socket.resume();
  }

  /** Bulk connections get slabs, and a fresh one while the last is still on its way. */
  #chooseMemory(lastRead: number): void {
    const { pool } = this.#stream;
    const bulk = lastRead >= BULK_READ_BYTES && !pool.tight;
    if (this.#slab && (!bulk || this.#slab.holds > 1)) this.#releaseSlab();
    if (bulk) this.#slab ??= pool.acquire();
  }

  #releaseSlab(): void {
    if (this.#slab) this.#stream.pool.release(this.#slab);
    this.#slab = undefined;
  }

  // ---- stream → socket -------------------------------------------------------------------------------

  onData(slab: Slab, start: number, end: number): void {
    if (!this.#firstByteTold) {
      this.#firstByteTold = true;
      this.#owner.onFirstByte?.();
    }
    const length = end - start;
    const payload = slab.bytes.subarray(start, end);
    if (this.tap) this.tap.fromServer(payload);
    const copy = this.#copies(length);
    if (this.#socket.send(copy ? Buffer.from(payload) : payload)) {
      this.#stream.consumed(length);
      return;
    }
    if (!copy) slab.holds++;
    this.#kept.push({ length, slab: copy ? undefined : slab });
    this.#keptBytes += length;
  }

  /** A reader that is slow already keeps no whole slab for little, and none at all when slabs are scarce. */
  #copies(length: number): boolean {
    const { tight } = this.#stream.pool;
    return length < KEPT_IN_PLACE_BYTES ? this.#keptBytes > 0 || tight : this.#keptBytes > 0 && tight;
  }

  onSent(): void {
    const gone = this.#keptBytes - this.#socket.unsent;
    if (gone <= 0) return;
    this.#keptBytes -= gone;
    this.#releaseKept(gone);
    this.#stream.consumed(gone);
  }

  onShutdown(): void {
    this.firstToEnd ??= 'stream';
    this.tap?.serverEnded();
    this.#socket.end();
  }

  /** Lets go of kept payload whose last byte is among the `gone` ones. */
  #releaseKept(gone: number): void {
    let left = gone;
    let count = 0;
    for (const kept of this.#kept) {
      if (kept.length > left) {
        kept.length -= left;
        break;
      }
      left -= kept.length;
      count++;
      if (kept.slab) this.#stream.pool.release(kept.slab);
    }
    this.#kept.splice(0, count);
  }

  // ---- the end ---------------------------------------------------------------------------------------

  onOpenResult(result: OpenResult): void {
    this.#owner.onOpenResult(result);
  }

  onClosed(end: StreamEnd): void {
    this.#streamEnd = end;
    if (this.#socketClosed) this.#finish(end);
    else if (end.how === 'closed') this.#socket.closeWhenSent();
    else this.#socket.reset();
  }

  onClose(error: NodeJS.ErrnoException | undefined): void {
    this.#socketClosed = true;
    this.#releaseSlab();
    this.#releaseKept(Number.POSITIVE_INFINITY);
    const end = this.#streamEnd;
    if (end && (end.how !== 'closed' || !error)) this.#finish(end);
    else if (error) this.#socketFailed(error);
    // Both directions are done here: how the stream ends, its Close will tell.
    else if (this.#socketEnded && this.#stream.shutdownReceived) return;
    else this.#socketFailed(new Error('the socket was closed before its end'));
  }

  #socketFailed(error: Error): void {
    const reason = { code: errnoOf(error) ?? 'ECONNABORTED', message: error.message };
    if (this.#dialStartedAt === undefined) {
      this.#stream.reset(reason);
      this.#finish({ how: 'socket-failed', reason });
    } else {
      this.#stream.refuse('dial', reason, (performance.now() - this.#dialStartedAt) * 1000);
      this.#finish({ how: 'dial-failed', reason });
    }
  }

  #finish(end: SpliceEnd): void {
    if (this.#finished) return;
    this.#finished = true;
    this.#owner.onFinished(end);
  }
}
