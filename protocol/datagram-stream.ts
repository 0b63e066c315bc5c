import { ProtocolError } from './errors.js';
import { Slab } from './slab.js';
import type { Stream, StreamEnd, StreamHandler } from './stream.js';
import { DATAGRAM_HEADER_BYTES, DatagramDecoder, MAX_DATAGRAM_BYTES, putDatagram } from './wire/datagram.js';
import type { OpenResult, Reason } from './wire/extension.js';
import { DATA_HEADER_BYTES } from './wire/frame.js';

/** What a queued datagram costs beside its payload: the objects that hold it, about. */
export const QUEUED_DATAGRAM_OVERHEAD_BYTES = 256;

/** Datagrams that may wait for one stream: as much as a socket's buffer holds by default on Linux, about. */
export const MAX_QUEUED_DATAGRAM_BYTES = 256 * 1024;

/** Datagrams that may wait for all streams of a process together. */
export const DATAGRAM_BUDGET_BYTES = 32 * 1024 * 1024;

/** What a datagram stream tells the thing at this end of it. */
export interface DatagramOwner {
  /** A datagram has come; its memory is the owner's. */
  onDatagram(payload: Buffer): void;
  /** The first datagram has come out of the stream: told before it. */
  onFirstByte?(): void;
  /** Datagrams given to send() will not reach the other end. */
  onDropped(count: number): void;
  /** The guest has answered the Open; only where this end opened the stream and the peer can answer. */
  onOpenResult?(result: OpenResult): void;
  /** The stream is over, not by end() of this side. Called at most once, and last. */
  onClosed(end: StreamEnd): void;
}

/** How much may wait for all datagram streams of a process. */
export class DatagramBudget {
  #left = DATAGRAM_BUDGET_BYTES;

  /** @returns whether there was so much left */
  take(bytes: number): boolean {
    if (bytes > this.#left) return false;
    this.#left -= bytes;
    return true;
  }

  give(bytes: number): void {
    this.#left += bytes;
  }
}

/** What datagrams are encoded in: stream.write() copies what it cannot send at once. */
const scratch = new Slab(DATAGRAM_HEADER_BYTES + MAX_DATAGRAM_BYTES, false);

/**
 * A stream that carries datagrams, at either end. What the stream does not take waits in a queue; what does
 * not fit there is dropped, and the owner told, for datagrams that come late are worth less than none.
 */
export class DatagramStream implements StreamHandler {
  readonly #owner: DatagramOwner;
  readonly #budget: DatagramBudget;
  readonly #stream: Stream;
  readonly #decoder = new DatagramDecoder((payload) => this.#received(payload));
  /** While the stream takes nothing: what it is to get next. */
  #queue: Buffer[] = [];
  #queuedBytes = 0;
  #blocked = false;
  #over = false;
  /** Payload bytes of the datagrams that the stream has taken, and of those that came out of it. */
  bytesSent = 0;
  bytesReceived = 0;
  #firstByteTold = false;

  /** @param makeStream opens or accepts the stream, with the datagram stream as its handler */
  constructor(owner: DatagramOwner, budget: DatagramBudget, makeStream: (handler: StreamHandler) => Stream) {
    this.#owner = owner;
    this.#budget = budget;
    this.#stream = makeStream(this);
  }

  get stream(): Stream {
    return this.#stream;
  }

  /** As Stream has them. */
  get sendStalledMs(): number {
    return this.#stream.sendStalledMs;
  }

  get receiveStalledMs(): number {
    return this.#stream.receiveStalledMs;
  }

  /** Sends a datagram, or drops it. @param payload not to be changed any more */
  send(payload: Buffer): void {
    const takes = !this.#over && !this.#stream.over && payload.length <= MAX_DATAGRAM_BYTES;
    if (takes && !this.#blocked) this.#write(payload);
    else if (!takes || !this.#enqueue(payload)) this.#owner.onDropped(1);
  }

  /** Gives the flow up; what waits is dropped. */
  end(reason: Reason): void {
    if (this.#over) return;
    this.#finish();
    this.#stream.reset(reason);
  }

  // ---- StreamHandler ---------------------------------------------------------------------------------

  onData(slab: Slab, start: number, end: number): void {
    try {
      this.#decoder.push(slab.bytes, start, end);
    } catch (thrown) {
      // What the owner throws at a datagram is a bug, and none of the peer's.
      if (!(thrown instanceof ProtocolError)) throw thrown;
      // Only this stream cannot be read on: it is no reason to end the channel.
      this.#giveUp({ code: thrown.code, message: thrown.message });
      return;
    }
    this.#stream.consumed(end - start);
  }

  /** A flow has no half: the other direction ends with the first. */
  onShutdown(): void {
    this.#stream.shutdown();
  }

  onWritable(): void {
    this.#blocked = false;
    while (!this.#blocked) {
      const next = this.#queue.shift();
      if (!next) return;
      this.#release(costOf(next));
      this.#write(next);
    }
  }

  onOpenResult(result: OpenResult): void {
    this.#owner.onOpenResult?.(result);
  }

  onClosed(end: StreamEnd): void {
    if (this.#over) return;
    this.#finish();
    this.#owner.onClosed(end);
  }

  // ---- inside ----------------------------------------------------------------------------------------

  #received(payload: Buffer): void {
    // The owner may have ended the flow at a datagram before this one, of the same read.
    if (this.#over) return;
    if (!this.#firstByteTold) {
      this.#firstByteTold = true;
      this.#owner.onFirstByte?.();
    }
    this.bytesReceived += payload.length;
    this.#owner.onDatagram(payload);
  }

  #write(payload: Buffer): void {
    const length = putDatagram(scratch.bytes, DATA_HEADER_BYTES, payload);
    this.bytesSent += payload.length;
    this.#blocked = !this.#stream.write(scratch, DATA_HEADER_BYTES, DATA_HEADER_BYTES + length, true);
  }

  #enqueue(payload: Buffer): boolean {
    const cost = costOf(payload);
    if (this.#queuedBytes + cost > MAX_QUEUED_DATAGRAM_BYTES || !this.#budget.take(cost)) return false;
    this.#queuedBytes += cost;
    this.#queue.push(payload);
    return true;
  }

  #release(cost: number): void {
    this.#queuedBytes -= cost;
    this.#budget.give(cost);
  }

  #giveUp(reason: Reason): void {
    this.#finish();
    this.#stream.reset(reason);
    this.#owner.onClosed({ how: 'reset', reason });
  }

  #finish(): void {
    this.#over = true;
    const dropped = this.#queue.length;
    this.#queue = [];
    this.#release(this.#queuedBytes);
    if (dropped > 0) this.#owner.onDropped(dropped);
  }
}

function costOf(payload: Buffer): number {
  return payload.length + QUEUED_DATAGRAM_OVERHEAD_BYTES;
}
