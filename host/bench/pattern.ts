/**
 * What bulk transfers carry: pseudo-random bytes, so that a byte out of place shows, repeated every PERIOD
 * bytes. Comparing with it costs a fraction of a copy, so every byte of every measured transfer is checked.
 *
 * PERIOD is the largest prime below 64 KiB, so that no forwarder's buffer is a multiple of it, and small on purpose,
 * as BLOCK_BYTES is: what sends, receives and compares is to stay in a processor core's own cache. A load that
 * drives everything else out of it measures the machine's memory, and makes all forwarders alike.
 */
const PERIOD = 65_521;

/** Bytes per write, and per read at most. */
export const BLOCK_BYTES = 128 * 1024;

/** One period and a block more, so that a block can start anywhere within the period; made when it is needed. */
let pattern: Buffer | undefined;

/** The pattern's bytes from `offset` on, at most a block of them. */
export function patternAt(offset: number, length: number): Buffer {
  pattern ??= makePattern(PERIOD + BLOCK_BYTES);
  const start = offset % PERIOD;
  return pattern.subarray(start, start + length);
}

/** Whether the first `length` bytes of `memory` are the pattern's from `offset` on. */
export function isPattern(memory: Buffer, length: number, offset: number): boolean {
  for (let at = 0; at < length; at += BLOCK_BYTES) {
    const size = Math.min(BLOCK_BYTES, length - at);
    if (!memory.subarray(at, at + size).equals(patternAt(offset + at, size))) return false;
  }
  return true;
}

function makePattern(length: number): Buffer {
  const bytes = Buffer.allocUnsafe(length);
  // Xorshift32: the same on every machine.
  let state = 0x9e3779b9;
  for (let at = 0; at < length; at++) {
    const repeated = at >= PERIOD;
    if (!repeated) {
      state ^= state << 13;
      state ^= state >>> 17;
      state ^= state << 5;
    }
    bytes[at] = repeated ? bytes.readUInt8(at - PERIOD) : state & 0xff;
  }
  return bytes;
}
