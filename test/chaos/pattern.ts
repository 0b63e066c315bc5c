/** A prime, larger than any transfer: what comes from another place of its stream is never the same by chance. */
const PERIOD = 8_388_593;

/** Bytes per write at most. */
export const BLOCK_BYTES = 64 * 1024;

let table: Buffer | undefined;

/** The bytes of a direction of a connection from `position` on; which one it is decides where in the table they are. */
export function patternOf(stream: number, position: number, length: number): Buffer {
  table ??= makeTable();
  const start = ((Math.imul(stream, 0x9e3779b1) >>> 0) + position) % PERIOD;
  return table.subarray(start, start + length);
}

/** @returns where (a position of the stream) the first wrong byte is, or -1 */
export function firstWrong(stream: number, position: number, bytes: Buffer): number {
  for (let at = 0; at < bytes.length; at += BLOCK_BYTES) {
    const part = bytes.subarray(at, at + BLOCK_BYTES);
    const right = patternOf(stream, position + at, part.length);
    if (!part.equals(right)) return position + at + part.findIndex((byte, index) => byte !== right[index]);
  }
  return -1;
}

/** One period, and a block more that repeats its beginning. */
function makeTable(): Buffer {
  const bytes = Buffer.allocUnsafe(PERIOD + BLOCK_BYTES);
  // Xorshift32.
  let state = 0x9e3779b9;
  for (let at = 0; at < PERIOD; at++) {
    state ^= state << 13;
    state ^= state >>> 17;
    state ^= state << 5;
    bytes[at] = state & 0xff;
  }
  bytes.copy(bytes, PERIOD, 0, BLOCK_BYTES);
  return bytes;
}
