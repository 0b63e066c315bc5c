import type { PieceKind } from './frame-cutter.js';
import type { Packet } from './packet.js';

/** Link layer of the multiplexer's own frames: one of those that are free for private use (DLT_USER7). */
export const LINKTYPE_FRAMES = 154;

/** Before each piece: version, direction, kind, and a byte that is 0. portferry.lua reads them. */
const HEAD_BYTES = 4;
const HEAD_VERSION = 1;

/** @param fromGuest whether the guest has sent it. @param bytes what is kept. @param length how long it was */
export function framePacket(fromGuest: boolean, kind: PieceKind, bytes: Buffer, length: number): Packet {
  return {
    length: HEAD_BYTES + length,
    write: (into, at) => {
      into.set([HEAD_VERSION, fromGuest ? 1 : 0, kind === 'handshake' ? 0 : 1, 0], at);
      // Of a frame that is longer than what is kept, the rest is cut off by the snapshot length.
      bytes.copy(into, at + HEAD_BYTES);
    },
  };
}
