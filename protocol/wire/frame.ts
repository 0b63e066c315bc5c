import { type Destination, encodeDestination } from './destination.js';

/** Wire: bytes before a Data frame's payload: u16 total, u8 command, u32 id, u32 length. */
export const DATA_HEADER_BYTES = 11;

/** Wire: stream ids are u32. */
export const MAX_STREAM_ID = 0xffff_ffff;

/** The commands of the plain protocol (1 to 5) and of the extensions (from 16). */
export const Command = {
  open: 1,
  close: 2,
  shutdown: 3,
  data: 4,
  window: 5,
  openResult: 16,
  reset: 17,
  ping: 18,
  pong: 19,
  source: 20,
  goAway: 21,
} as const;

/** Extensions start here; a frame from here up can be skipped by its `total`, whatever it is. */
export const FIRST_EXTENSION_COMMAND = 16;

/** u16 total, u8 command, u32 stream id: what every frame begins with. */
export const FRAME_HEADER_BYTES = 7;
export const WINDOW_FRAME_BYTES = 15;

/** Kind of an Open: one that shares the channel. The other kind, dedicated, is used by nobody. */
export const MULTIPLEXED = 2;

/** An Open: the common header, u8 kind, destination. */
export function encodeOpen(id: number, destination: Destination): Buffer {
  const encoded = encodeDestination(destination);
  const frame = Buffer.allocUnsafe(FRAME_HEADER_BYTES + 1 + encoded.length);
  putHeader(frame, 0, frame.length, Command.open, id);
  frame.writeUInt8(MULTIPLEXED, FRAME_HEADER_BYTES);
  encoded.copy(frame, FRAME_HEADER_BYTES + 1);
  return frame;
}

/** Writes the common header at `at`. */
export function putHeader(into: Buffer, at: number, total: number, command: number, id: number): void {
  into[at] = total & 0xff;
  into[at + 1] = total >>> 8;
  into[at + 2] = command;
  putUint32(into, at + 3, id);
}

/** Writes a Data frame's header, for `length` payload bytes that follow it, at `at`. */
export function putDataHeader(into: Buffer, at: number, id: number, length: number): void {
  putHeader(into, at, DATA_HEADER_BYTES, Command.data, id);
  putUint32(into, at + FRAME_HEADER_BYTES, length);
}

/** Writes a Window frame at `at`; `allowed` is below 2^53. */
export function putWindow(into: Buffer, at: number, id: number, allowed: number): void {
  putHeader(into, at, WINDOW_FRAME_BYTES, Command.window, id);
  putUint64(into, at + FRAME_HEADER_BYTES, allowed);
}

/** Writes a u32. Byte by byte: this is on the path of every frame, and Buffer's own method checks more. */
export function putUint32(into: Buffer, at: number, value: number): void {
  into[at] = value & 0xff;
  into[at + 1] = (value >>> 8) & 0xff;
  into[at + 2] = (value >>> 16) & 0xff;
  into[at + 3] = value >>> 24;
}

/** Writes a u64 whose value is below 2^53. */
export function putUint64(into: Buffer, at: number, value: number): void {
  putUint32(into, at, value >>> 0);
  putUint32(into, at + 4, Math.floor(value / 0x1_0000_0000));
}

/** Reads a u64 as a number; one above 2^53 - 1 comes out as Infinity, for the caller to refuse. */
export function readUint64(from: Buffer, at: number): number {
  const value = from.readUInt32LE(at) + from.readUInt32LE(at + 4) * 0x1_0000_0000;
  return Number.isSafeInteger(value) ? value : Number.POSITIVE_INFINITY;
}
