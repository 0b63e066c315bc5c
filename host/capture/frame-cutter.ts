import type { MidFrame } from '../../protocol/tap.js';
import { Command, DATA_HEADER_BYTES, FRAME_HEADER_BYTES } from '../../protocol/wire/frame.js';
import { MAGIC } from '../../protocol/wire/handshake.js';

/** What a piece of a channel's bytes is. */
export type PieceKind = 'handshake' | 'frame';

/** @param bytes what is kept of it, valid during the call. @param length how long it was */
export type OnPiece = (kind: PieceKind, bytes: Buffer, length: number) => void;

/** Of a handshake, before its payload. */
const HANDSHAKE_HEAD_BYTES = MAGIC.length + 2;

/**
 * Cuts one direction of a channel into its handshake and its frames, however the bytes come. Of a long one only the
 * beginning is kept.
 */
export class FrameCutter {
  readonly #onPiece: OnPiece;
  readonly #kept: Buffer;
  #kind: PieceKind = 'handshake';
  /** How much of the piece is here, and kept. */
  #length = 0;
  #keptLength = 0;
  #skip = 0;

  /** @param maxKept the most bytes of a piece that are kept; not less than a handshake's head */
  constructor(onPiece: OnPiece, maxKept: number) {
    this.#onPiece = onPiece;
    this.#kept = Buffer.allocUnsafe(maxKept);
  }

  /** A channel begins, or is joined between two frames. What was there of a piece is handed on as it is. */
  begin(joined?: MidFrame): void {
    if (this.#length > 0) this.#handOn(this.#length);
    this.#kind = joined ? 'frame' : 'handshake';
    this.#skip = joined?.left ?? 0;
    if (joined) this.push(joined.begun);
  }

  push(bytes: Uint8Array): void {
    let at = Math.min(this.#skip, bytes.length);
    this.#skip -= at;
    while (at < bytes.length) {
      const wanted = this.#wanted;
      // The channel ends by this, and the next one begins anew.
      if (wanted <= this.#length) this.#skip = Number.POSITIVE_INFINITY;
      if (this.#skip > 0) return;
      const end = Math.min(bytes.length, at + wanted - this.#length);
      this.#keep(bytes.subarray(at, end));
      at = end;
      if (this.#length === this.#whole) this.#handOn(this.#length);
    }
  }

  #keep(bytes: Uint8Array): void {
    const room = this.#kept.length - this.#keptLength;
    this.#kept.set(bytes.subarray(0, room), this.#keptLength);
    this.#keptLength += Math.min(room, bytes.length);
    this.#length += bytes.length;
  }

  #handOn(length: number): void {
    const kept = this.#kept.subarray(0, this.#keptLength);
    this.#length = this.#keptLength = 0;
    this.#onPiece(this.#kind, kept, length);
    this.#kind = 'frame';
  }

  /** How long the piece must be until more is known of it. */
  get #wanted(): number {
    if (this.#kind === 'handshake')
      return this.#length < HANDSHAKE_HEAD_BYTES ? HANDSHAKE_HEAD_BYTES : (this.#whole as number);
    if (this.#length < FRAME_HEADER_BYTES) return FRAME_HEADER_BYTES;
    if (this.#isData && this.#length < DATA_HEADER_BYTES) return DATA_HEADER_BYTES;
    return this.#whole as number;
  }

  /** How long the piece is; undefined as long as that is not known. */
  get #whole(): number | undefined {
    if (this.#kind === 'handshake')
      return this.#length < HANDSHAKE_HEAD_BYTES
        ? undefined
        : HANDSHAKE_HEAD_BYTES + this.#kept.readUInt16LE(MAGIC.length);
    if (this.#length < FRAME_HEADER_BYTES) return undefined;
    if (!this.#isData) return this.#kept.readUInt16LE(0);
    return this.#length < DATA_HEADER_BYTES
      ? undefined
      : DATA_HEADER_BYTES + this.#kept.readUInt32LE(FRAME_HEADER_BYTES);
  }

  get #isData(): boolean {
    return this.#kept[2] === Command.data;
  }
}
