import type { Slab, SlabPool } from './slab.js';
import { DATA_HEADER_BYTES, putDataHeader } from './wire/frame.js';

/** Payloads up to this size are copied and sent together; they are those of requests, not of bulk data. */
export const SMALL_PAYLOAD_BYTES = 16 * 1024;

/** Control bytes that may wait for a peer that does not read, before its channel is given up. */
export const MAX_QUEUED_CONTROL_BYTES = 16 * 1024 * 1024;

/** The byte stream under a multiplexer, as far as sending goes. */
export interface Link {
  /**
   * Sends bytes.
   * @returns true when they are gone and their memory may be used again; false when the memory is needed
   * until the link reports, through Multiplexer.drained(), that everything sent is gone
   */
  send(bytes: Uint8Array): boolean;
  /** Ends the link when everything sent has gone. */
  close(): void;
  /** Ends the link at once. */
  destroy(): void;
}

/** Small frames that are collected for one write. */
const BATCH_BYTES = 64 * 1024;

/**
 * What goes out over the link, in which order and in how many writes.
 *
 * Small frames are copied into a batch, which goes out in one write at the end of the event loop's turn.
 * Large payloads go out from the memory they were read into, with their header written in front of them. When
 * the link takes no more, control frames and a batch of small payloads still find room here and are the first
 * to go when it does; everything else waits with its stream.
 */
export class Outbox {
  readonly #link: Link;
  readonly #pool: SlabPool;
  #batch: Buffer = Buffer.allocUnsafeSlow(BATCH_BYTES);
  #used = 0;
  /** Full batches that wait for the link, before the current one. */
  #full: Buffer[] = [];
  /** A batch buffer that is not in use. */
  #spare: Buffer | undefined;
  /** What the link has not taken entirely yet. */
  #slabOnItsWay: Slab | undefined;
  #batchOnItsWay: Buffer | undefined;
  #blocked = false;

  constructor(link: Link, pool: SlabPool) {
    this.#link = link;
    this.#pool = pool;
  }

  /** Whether the link takes nothing at present. */
  get blocked(): boolean {
    return this.#blocked;
  }

  /** Whether so much control waits that the peer must be one that does not read: frames are dropped then. */
  get overflowed(): boolean {
    return this.#full.length * BATCH_BYTES >= MAX_QUEUED_CONTROL_BYTES;
  }

  /** Whether a payload of this size would be taken by addSmall. */
  takesSmall(length: number): boolean {
    if (length > SMALL_PAYLOAD_BYTES) return false;
    if (!this.#fits(length)) this.flush();
    return this.#fits(length);
  }

  /** While full batches wait, payload must not ride along: it would count as control that is not read. */
  #fits(length: number): boolean {
    return this.#full.length === 0 && this.#used + DATA_HEADER_BYTES + length <= BATCH_BYTES;
  }

  /** Copies a payload, as one Data frame, into the batch; only after takesSmall. */
  addSmall(id: number, from: Buffer, start: number, end: number): void {
    putDataHeader(this.#batch, this.#used, id, end - start);
    from.copy(this.#batch, this.#used + DATA_HEADER_BYTES, start, end);
    this.#used += DATA_HEADER_BYTES + end - start;
  }

  /** Adds a whole control frame. */
  addFrame(frame: Buffer): void {
    if (frame.length > BATCH_BYTES - this.#used) this.#makeRoom();
    frame.copy(this.#batch, this.#used);
    this.#used += frame.length;
  }

  /**
   * Adds a control frame of known size without an intermediate buffer.
   * @param put writes the frame at the given place
   */
  addShort(length: number, put: (into: Buffer, at: number) => void): void {
    if (length > BATCH_BYTES - this.#used) this.#makeRoom();
    put(this.#batch, this.#used);
    this.#used += length;
  }

  /**
   * Sends the slab's bytes from `start` up to `end` as one Data frame, its header written over the bytes just
   * before `start`. What has been collected goes first: it may hold earlier payload of the same stream.
   * @returns false when the link takes nothing at present; nothing was sent then
   */
  sendInPlace(id: number, slab: Slab, start: number, end: number): boolean {
    this.flush();
    if (this.#blocked) return false;
    putDataHeader(slab.bytes, start - DATA_HEADER_BYTES, id, end - start);
    if (this.#link.send(slab.bytes.subarray(start - DATA_HEADER_BYTES, end))) return true;
    this.#blocked = true;
    this.#slabOnItsWay = slab;
    slab.holds++;
    return true;
  }

  /** Sends what has been collected, unless the link takes nothing. */
  flush(): void {
    while (!this.#blocked) {
      const full = this.#full.shift();
      if (full) this.#blocked = !this.#link.send(full);
      else if (this.#used > 0) this.#sendBatch();
      else return;
    }
  }

  /** The link has sent everything it was given. */
  drained(): void {
    this.#blocked = false;
    this.releaseSent();
    this.#spare ??= this.#batchOnItsWay;
    this.#batchOnItsWay = undefined;
  }

  /** Sends all that has been collected, though the link may have to keep it: nothing comes after it. */
  sendLast(): void {
    for (const full of this.#full) this.#link.send(full);
    if (this.#used > 0) this.#link.send(this.#batch.subarray(0, this.#used));
    this.#full = [];
    this.#replaceBatch();
  }

  /** Lets go of what has been collected; nothing more is sent. */
  discard(): void {
    this.#blocked = true;
    this.#full = [];
    this.#used = 0;
  }

  /** Lets go of the slab that was being sent: the link has sent it, or will send no more at all. */
  releaseSent(): void {
    if (this.#slabOnItsWay) this.#pool.release(this.#slabOnItsWay);
    this.#slabOnItsWay = undefined;
  }

  #makeRoom(): void {
    this.flush();
    if (this.#used === 0) return;
    if (this.overflowed) this.#used = 0;
    else {
      this.#full.push(this.#batch.subarray(0, this.#used));
      this.#replaceBatch();
    }
  }

  #sendBatch(): void {
    if (this.#link.send(this.#batch.subarray(0, this.#used))) {
      this.#used = 0;
      return;
    }
    this.#blocked = true;
    this.#batchOnItsWay = this.#batch;
    this.#replaceBatch();
  }

  #replaceBatch(): void {
    this.#batch = this.#spare ?? Buffer.allocUnsafeSlow(BATCH_BYTES);
    this.#spare = undefined;
    this.#used = 0;
  }
}
