import { decodeDestination, formatDestination } from '../../protocol/wire/destination.js';
import { Command, FRAME_HEADER_BYTES } from '../../protocol/wire/frame.js';
import type { PieceKind } from './frame-cutter.js';

/** Frames that are about no stream. */
const OF_THE_CHANNEL: readonly number[] = [Command.ping, Command.pong, Command.goAway];

/** Of an Open, before its destination: header and kind. */
const OPEN_HEAD_BYTES = FRAME_HEADER_BYTES + 1;

/**
 * Picks the frames of the streams to some destinations, and those of no stream, out of all frames of a channel. A
 * Source comes before the Open that shows where its stream goes: it is kept until then.
 */
export class FrameFilter {
  readonly #leadsTo: (destination: string) => boolean;
  readonly #streams: Set<number>;
  #source: Buffer | undefined;

  /**
   * @param leadsTo whether a destination is meant, as formatDestination writes it
   * @param streams ids of streams that are open already
   */
  constructor(leadsTo: (destination: string) => boolean, streams: Iterable<number>) {
    this.#leadsTo = leadsTo;
    this.#streams = new Set(streams);
  }

  /** A new channel: there are no streams. */
  begin(): void {
    this.#streams.clear();
    this.#source = undefined;
  }

  /** @returns what is to be shown: nothing, this piece, or one that was kept and this one */
  pick(kind: PieceKind, bytes: Buffer, fromGuest: boolean): readonly Buffer[] {
    if (kind === 'handshake') return [bytes];
    // Cut off with its channel.
    if (bytes.length < FRAME_HEADER_BYTES) return [];
    const command = bytes.readUInt8(2);
    if (OF_THE_CHANNEL.includes(command)) return [bytes];
    const id = bytes.readUInt32LE(3);
    if (fromGuest || (command !== Command.source && command !== Command.open))
      return this.#streams.has(id) ? [bytes] : [];
    if (command === Command.source) {
      this.#source = Buffer.from(bytes);
      return [];
    }
    const source = this.#source;
    this.#source = undefined;
    if (!this.#isMeant(bytes)) {
      this.#streams.delete(id);
      return [];
    }
    this.#streams.add(id);
    return source ? [source, bytes] : [bytes];
  }

  #isMeant(open: Buffer): boolean {
    return this.#leadsTo(formatDestination(decodeDestination(open.subarray(OPEN_HEAD_BYTES))));
  }
}
