import { OperationError } from '../../protocol/errors.js';
import {
  BLOCK_HEAD_BYTES,
  BLOCK_TAIL_BYTES,
  ENHANCED_PACKET,
  INTERFACE_STATISTICS,
  OPTION_COMMENT,
  OPTION_DROPPED,
  paddedLength,
  SECTION_HEADER,
} from './pcapng.js';

const MIN_BLOCK_BYTES = BLOCK_HEAD_BYTES + BLOCK_TAIL_BYTES;

/** No block of ours is longer: a packet has at most a quarter of it. */
const MAX_BLOCK_BYTES = 1024 * 1024;

/** In the body of statistics, before the options. */
const STATISTICS_OPTIONS_AT = BLOCK_HEAD_BYTES + 12;

/** Of a number in an option. */
const COUNT_BYTES = 8;

/** Takes a capture as it comes, cut anywhere, and gives it on by whole blocks, so that whatever is written can be read. */
export class BlockReader {
  /** Packets so far, and bytes of whole blocks. */
  packets = 0;
  bytes = 0;
  /** Packets that the host has dropped; undefined before the end. */
  dropped: number | undefined;
  /** Why the capture has ended, for people; undefined before that. */
  ending: string | undefined;
  #rest: Buffer = Buffer.alloc(0);

  /**
   * @returns the blocks that are whole now
   * @throws OperationError when it is no capture of portferry
   */
  push(chunk: Buffer): Buffer {
    const bytes = this.#rest.length === 0 ? chunk : Buffer.concat([this.#rest, chunk]);
    let at = 0;
    while (bytes.length - at >= BLOCK_HEAD_BYTES) {
      const length = bytes.readUInt32LE(at + 4);
      if (!isLength(length) || (this.bytes + at === 0 && bytes.readUInt32LE(0) !== SECTION_HEADER))
        throw new OperationError('what the host has sent is no capture: is it of another version?');
      if (bytes.length - at < length) break;
      this.#note(bytes.subarray(at, at + length));
      at += length;
    }
    this.#rest = bytes.subarray(at);
    this.bytes += at;
    return bytes.subarray(0, at);
  }

  #note(block: Buffer): void {
    const type = block.readUInt32LE(0);
    if (type === ENHANCED_PACKET) this.packets++;
    else if (type === INTERFACE_STATISTICS) this.#noteEnd(block);
  }

  #noteEnd(block: Buffer): void {
    for (let at = STATISTICS_OPTIONS_AT; at + 4 <= block.length - 4; ) {
      const code = block.readUInt16LE(at);
      const length = block.readUInt16LE(at + 2);
      const value = block.subarray(at + 4, at + 4 + length);
      if (code === OPTION_COMMENT) this.ending ??= value.toString('utf8');
      else if (code === OPTION_DROPPED && value.length === COUNT_BYTES)
        this.dropped = Number(value.readBigUInt64LE(0));
      at += 4 + paddedLength(length);
    }
  }
}

function isLength(length: number): boolean {
  return length >= MIN_BLOCK_BYTES && length <= MAX_BLOCK_BYTES && length % 4 === 0;
}
