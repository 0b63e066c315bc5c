/**
 * Blocks of a capture file, as draft-ietf-opsawg-pcapng has them: bytes out, nothing else. Numbers are
 * little-endian, times in microseconds since 1970, which is what a reader expects where nothing is said.
 */

export const SECTION_HEADER = 0x0a0d0d0a;
const INTERFACE_DESCRIPTION = 1;
export const INTERFACE_STATISTICS = 5;
export const ENHANCED_PACKET = 6;
const BYTE_ORDER_MAGIC = 0x1a2b3c4d;

/** Of a block, before its body and after it: type and length, and the length again. */
export const BLOCK_HEAD_BYTES = 8;
export const BLOCK_TAIL_BYTES = 4;

/** Where the packet of an enhanced packet block begins: interface, time, two lengths. */
const PACKET_AT = BLOCK_HEAD_BYTES + 20;

const OPTION_END = 0;
export const OPTION_COMMENT = 1;
/** Of statistics: packets that were dropped. */
export const OPTION_DROPPED = 5;

/** A longer text would not be read by anybody: an option counts its bytes in 16 bits. */
const MAX_TEXT_BYTES = 4096;

/** An option: its code, and its value. */
type Option = readonly [code: number, value: string | Buffer];

export interface SectionFacts {
  /** The program that has made the file, with its version. */
  application: string;
  hardware: string;
  os: string;
  comments: readonly string[];
}

export interface InterfaceFacts {
  /** As https://www.tcpdump.org/linktypes.html lists them. */
  linkType: number;
  /** The most bytes of a packet that are kept. */
  snapLength: number;
  name: string;
  description: string;
}

export interface PacketFacts {
  micros: number;
  /** The packet's length as it was; more than SnapLength of it are not kept. */
  length: number;
  /** Writes the whole packet at `at`, which is a multiple of four. */
  write(into: Buffer, at: number): void;
  /** Whether the host has sent it, seen from the interface that the capture shows. */
  outbound: boolean;
  comments: readonly string[];
}

export interface StatisticsFacts {
  startMicros: number;
  endMicros: number;
  /** Packets that were there to be captured, and those of them that were not. */
  received: number;
  dropped: number;
  comments: readonly string[];
}

export function sectionHeader({ application, hardware, os, comments }: SectionFacts): Buffer {
  const head = Buffer.alloc(16);
  head.writeUInt32LE(BYTE_ORDER_MAGIC, 0);
  head.writeUInt16LE(1, 4);
  // How long the section is, is not known before its end.
  head.fill(0xff, 8);
  return makeBlock(SECTION_HEADER, head, [...commented(comments), [2, hardware], [3, os], [4, application]]);
}

export function interfaceDescription(facts: InterfaceFacts): Buffer {
  const head = Buffer.alloc(8);
  head.writeUInt16LE(facts.linkType, 0);
  head.writeUInt32LE(facts.snapLength, 4);
  const microseconds = Buffer.of(6);
  return makeBlock(INTERFACE_DESCRIPTION, head, [
    [2, facts.name],
    [3, facts.description],
    [9, microseconds],
  ]);
}

/**
 * @param snapLength the most bytes of it that are kept
 * @param lost packets that were not captured since the one before
 */
export function enhancedPacket(facts: PacketFacts, snapLength: number, lost: number): Buffer {
  const { micros, length, write, outbound, comments } = facts;
  const kept = Math.min(length, snapLength);
  const options = encodeOptions([
    ...commented(comments),
    [2, uint32(outbound ? 2 : 1)],
    ...(lost > 0 ? [[4, uint64(lost)] as const] : []),
  ]);
  const padded = paddedLength(kept);
  const block = Buffer.allocUnsafe(PACKET_AT + padded + options.length + BLOCK_TAIL_BYTES);
  putEnds(block, ENHANCED_PACKET);
  block.writeUInt32LE(0, BLOCK_HEAD_BYTES);
  putTime(block, BLOCK_HEAD_BYTES + 4, micros);
  block.writeUInt32LE(kept, BLOCK_HEAD_BYTES + 12);
  block.writeUInt32LE(length, BLOCK_HEAD_BYTES + 16);
  if (kept === length) write(block, PACKET_AT);
  else {
    const whole = Buffer.allocUnsafe(length);
    write(whole, 0);
    whole.copy(block, PACKET_AT, 0, kept);
  }
  block.fill(0, PACKET_AT + kept, PACKET_AT + padded);
  options.copy(block, PACKET_AT + padded);
  return block;
}

export function interfaceStatistics(facts: StatisticsFacts): Buffer {
  const head = Buffer.alloc(12);
  putTime(head, 4, facts.endMicros);
  return makeBlock(INTERFACE_STATISTICS, head, [
    ...commented(facts.comments),
    [2, time(facts.startMicros)],
    [3, time(facts.endMicros)],
    [4, uint64(facts.received)],
    [OPTION_DROPPED, uint64(facts.dropped)],
  ]);
}

// ---- inside ------------------------------------------------------------------------------------------

function makeBlock(type: number, head: Buffer, options: readonly Option[]): Buffer {
  const ends = BLOCK_HEAD_BYTES + BLOCK_TAIL_BYTES;
  const encoded = encodeOptions(options);
  const block = Buffer.alloc(ends + head.length + encoded.length);
  putEnds(block, type);
  head.copy(block, BLOCK_HEAD_BYTES);
  encoded.copy(block, BLOCK_HEAD_BYTES + head.length);
  return block;
}

function putEnds(block: Buffer, type: number): void {
  block.writeUInt32LE(type, 0);
  block.writeUInt32LE(block.length, 4);
  block.writeUInt32LE(block.length, block.length - BLOCK_TAIL_BYTES);
}

function encodeOptions(options: readonly Option[]): Buffer {
  const parts = options.flatMap(([code, value]) => {
    const bytes = typeof value === 'string' ? Buffer.from(cutText(value), 'utf8') : value;
    const option = Buffer.alloc(4 + paddedLength(bytes.length));
    option.writeUInt16LE(code, 0);
    option.writeUInt16LE(bytes.length, 2);
    bytes.copy(option, 4);
    return [option];
  });
  return Buffer.concat([...parts, Buffer.from([OPTION_END, 0, 0, 0])]);
}

/** At most so many bytes of UTF-8, whatever the characters. */
function cutText(text: string): string {
  return text.length * 3 <= MAX_TEXT_BYTES ? text : `${text.slice(0, MAX_TEXT_BYTES / 3 - 1)}…`;
}

function commented(comments: readonly string[]): Option[] {
  return comments.map((comment) => [OPTION_COMMENT, comment]);
}

/** Everything in a block is padded to 32 bits. */
export function paddedLength(length: number): number {
  return (length + 3) & ~3;
}

function uint32(value: number): Buffer {
  const bytes = Buffer.alloc(4);
  bytes.writeUInt32LE(value, 0);
  return bytes;
}

function uint64(value: number): Buffer {
  const bytes = Buffer.alloc(8);
  bytes.writeBigUInt64LE(BigInt(value), 0);
  return bytes;
}

function time(micros: number): Buffer {
  const bytes = Buffer.alloc(8);
  putTime(bytes, 0, micros);
  return bytes;
}

/** Not as one number of 64 bits: the upper half comes first. */
function putTime(into: Buffer, at: number, micros: number): void {
  into.writeUInt32LE(Math.floor(micros / 0x1_0000_0000), at);
  into.writeUInt32LE(micros % 0x1_0000_0000, at + 4);
}
