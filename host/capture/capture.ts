import { arch, release, type } from 'node:os';
import type { Readable } from 'node:stream';
import { BlockQueue } from './block-queue.js';
import type { Packet } from './packet.js';
import type { PacketSink } from './packet-sink.js';
import { enhancedPacket, interfaceDescription, interfaceStatistics, sectionHeader } from './pcapng.js';

/** Bytes of a capture that wait for its reader; what comes then is dropped and counted. */
export const MAX_QUEUED_BYTES = 8 * 1024 * 1024;

/** Payload of clients whose server is not connected yet, of all connections of a capture. */
export const MAX_HELD_BYTES = 4 * 1024 * 1024;

/** Remarks that wait for a packet; more of them are counted. */
const MAX_REMARKS = 50;

/** What the end of the file, with its statistics and the reason, needs at most. */
const END_BYTES = 1024;

/** How much is captured at most. */
export interface CaptureLimits {
  /** Of the whole file. */
  maxBytes: number;
  seconds: number;
  packets: number;
  /** Bytes that are kept of each packet. */
  snapLength: number;
}

export interface CaptureSubject {
  version: string;
  linkType: number;
  /** Of the interface that the file shows. */
  name: string;
  description: string;
  comments: readonly string[];
}

export interface CaptureOwner {
  /** It is about to end: what has been kept back may be added now. Not called where a limit is reached. */
  onEnding(): void;
  /** Called once: nothing is added any more. */
  onOver(capture: Capture): void;
}

/**
 * A capture under way, as the bytes of a pcapng file. Whoever adds packets never waits: what its reader does not
 * take in time is dropped. It ends when a limit is reached, or by finish(), and is whole then.
 */
export class Capture implements PacketSink {
  readonly id: number;
  readonly #limits: CaptureLimits;
  readonly #queue = new BlockQueue();
  readonly #owner: CaptureOwner;
  readonly #timer: NodeJS.Timeout;
  /** From performance.now() to ms since 1970: it goes forward also when somebody sets the clock back. */
  readonly #epoch = Date.now() - performance.now();
  readonly #startMicros: number;
  #bytes = 0;
  #captured = 0;
  #dropped = 0;
  /** Since the last packet that is in the capture. */
  #lost = 0;
  #held = 0;
  #remarks: string[] = [];
  #over = false;

  constructor(id: number, subject: CaptureSubject, limits: CaptureLimits, owner: CaptureOwner) {
    this.id = id;
    this.#limits = limits;
    this.#owner = owner;
    this.#startMicros = this.#now();
    const { version, comments, ...of } = subject;
    const application = `portferry ${version}`;
    this.#put(sectionHeader({ application, hardware: arch(), os: `${type()} ${release()}`, comments }));
    this.#put(interfaceDescription({ ...of, snapLength: limits.snapLength }));
    this.#timer = setTimeout(
      () => this.finish(`the time is over (--duration ${limits.seconds})`),
      limits.seconds * 1000,
    );
    this.#queue.once('close', () => this.#end());
  }

  /** The file. Destroying it ends the capture. */
  get stream(): Readable {
    return this.#queue;
  }

  get over(): boolean {
    return this.#over;
  }

  add(packet: Packet, facts: { outbound: boolean; comments?: readonly string[] }): boolean {
    if (this.#over) return false;
    if (this.#queue.bytes + packet.length > MAX_QUEUED_BYTES) {
      this.#dropped++;
      this.#lost++;
      return false;
    }
    const { outbound, comments = [] } = facts;
    const all = this.#remarks.length === 0 ? comments : [...this.#remarks, ...comments];
    const { snapLength, maxBytes, packets } = this.#limits;
    const block = enhancedPacket(
      { ...packet, micros: this.#now(), outbound, comments: all },
      snapLength,
      this.#lost,
    );
    if (this.#bytes + block.length + END_BYTES > maxBytes) {
      this.#close(`it has as many bytes as it may have (--max-bytes ${maxBytes})`);
      return false;
    }
    this.#remarks = [];
    this.#lost = 0;
    this.#put(block);
    this.#captured++;
    if (this.#captured >= packets)
      this.#close(`it has as many packets as were asked for (--count ${packets})`);
    return true;
  }

  remark(comment: string): void {
    if (this.#remarks.length < MAX_REMARKS) this.#remarks.push(comment);
  }

  hold(bytes: number): boolean {
    if (this.#held + bytes > MAX_HELD_BYTES) return false;
    this.#held += bytes;
    return true;
  }

  letGo(bytes: number): void {
    this.#held -= bytes;
  }

  /** Ends the file in order. @param why for people */
  finish(why: string): void {
    if (!this.#over) this.#owner.onEnding();
    this.#close(why);
  }

  #close(why: string): void {
    if (this.#over) return;
    this.#end();
    const whole = this.#statistics([why, ...this.#remarks]);
    const fits = this.#bytes + whole.length <= this.#limits.maxBytes;
    this.#put(fits ? whole : this.#statistics([why]));
    this.#queue.finish();
  }

  #statistics(comments: readonly string[]): Buffer {
    return interfaceStatistics({
      startMicros: this.#startMicros,
      endMicros: this.#now(),
      received: this.#captured + this.#dropped,
      dropped: this.#dropped,
      comments,
    });
  }

  /** In microseconds since 1970. */
  #now(): number {
    return Math.round((this.#epoch + performance.now()) * 1000);
  }

  #put(block: Buffer): void {
    this.#bytes += block.length;
    this.#queue.add(block);
  }

  #end(): void {
    if (this.#over) return;
    this.#over = true;
    clearTimeout(this.#timer);
    this.#owner.onOver(this);
  }
}
