import { addressToBytes } from '../../protocol/wire/address.js';

/** Link layer: packets begin with their IP header, of either version. */
export const LINKTYPE_RAW = 101;

/** Flags of a TCP segment. */
export const TCP = { fin: 0x01, syn: 0x02, rst: 0x04, psh: 0x08, ack: 0x10 } as const;

const PROTOCOL_TCP = 6;
const PROTOCOL_UDP = 17;
const HOP_LIMIT = 64;
const TCP_HEADER_BYTES = 20;
const UDP_HEADER_BYTES = 8;

/** Of every segment; it counts 1024 bytes each (WINDOW_SCALE), which is more than is ever under way. */
const WINDOW = 0xffff;
const WINDOW_SCALE = 10;

/** On a SYN: the largest segment, the window's scale, and what fills the place. */
const SYN_OPTIONS = Buffer.from([2, 4, 0xff, 0xff, 3, 3, WINDOW_SCALE, 1]);

/** The most payload bytes of a segment: what an IP packet holds beside the longest headers, in round numbers. */
export const MAX_SEGMENT_BYTES = 60 * 1024;

/** One end of a conversation. */
export interface End {
  readonly ip: Buffer;
  readonly port: number;
}

/** A packet: how long it is, and how it is written. */
export interface Packet {
  length: number;
  /** @param at a multiple of four */
  write(into: Buffer, at: number): void;
}

export interface Segment {
  from: End;
  to: End;
  sequence: number;
  acknowledged: number;
  flags: number;
  payload: Uint8Array;
}

export function makeEnd({ ip, port }: { ip: string; port: number }): End {
  return { ip: Buffer.from(addressToBytes(ip)), port };
}

export function tcpPacket({ from, to, sequence, acknowledged, flags, payload }: Segment): Packet {
  const options = (flags & TCP.syn) === 0 ? 0 : SYN_OPTIONS.length;
  const head = TCP_HEADER_BYTES + options;
  return ipPacket(from, to, PROTOCOL_TCP, head + payload.length, (into, at) => {
    into.writeUInt16BE(from.port, at);
    into.writeUInt16BE(to.port, at + 2);
    into.writeUInt32BE(sequence, at + 4);
    into.writeUInt32BE((flags & TCP.ack) === 0 ? 0 : acknowledged, at + 8);
    into.writeUInt8((head / 4) << 4, at + 12);
    into.writeUInt8(flags, at + 13);
    into.writeUInt16BE(WINDOW, at + 14);
    into.writeUInt32BE(0, at + 16);
    SYN_OPTIONS.copy(into, at + TCP_HEADER_BYTES, 0, options);
    into.set(payload, at + head);
    return at + 16;
  });
}

export function udpPacket(from: End, to: End, payload: Uint8Array): Packet {
  const length = UDP_HEADER_BYTES + payload.length;
  return ipPacket(from, to, PROTOCOL_UDP, length, (into, at) => {
    into.writeUInt16BE(from.port, at);
    into.writeUInt16BE(to.port, at + 2);
    into.writeUInt16BE(length, at + 4);
    into.writeUInt16BE(0, at + 6);
    into.set(payload, at + UDP_HEADER_BYTES);
    return at + 6;
  });
}

/** @param write writes what the packet carries, and returns the place of its checksum, which is 0 as yet */
function ipPacket(
  from: End,
  to: End,
  protocol: number,
  length: number,
  write: (into: Buffer, at: number) => number,
): Packet {
  const head = from.ip.length === 4 ? 20 : 40;
  return {
    length: head + length,
    write: (into, at) => {
      if (head === 20) putVersion4(into, at, from, to, protocol, length);
      else putVersion6(into, at, from, to, protocol, length);
      const checksumAt = write(into, at + head);
      const sum = sumOf(pseudoHeader(from, to, protocol, length), 0, from.ip.length * 2 + 8);
      // Of UDP, 0 would say that there is none.
      putChecksum(into, checksumAt, sum + sumOf(into, at + head, at + head + length), 0xffff);
    },
  };
}

function putVersion4(into: Buffer, at: number, from: End, to: End, protocol: number, length: number): void {
  into.writeUInt16BE(0x4500, at);
  into.writeUInt16BE(20 + length, at + 2);
  // No identification: it must not be fragmented.
  into.writeUInt32BE(0x4000, at + 4);
  into.writeUInt8(HOP_LIMIT, at + 8);
  into.writeUInt8(protocol, at + 9);
  into.writeUInt16BE(0, at + 10);
  from.ip.copy(into, at + 12);
  to.ip.copy(into, at + 16);
  putChecksum(into, at + 10, sumOf(into, at, at + 20), 0);
}

function putVersion6(into: Buffer, at: number, from: End, to: End, protocol: number, length: number): void {
  into.writeUInt32BE(0x6000_0000, at);
  into.writeUInt16BE(length, at + 4);
  into.writeUInt8(protocol, at + 6);
  into.writeUInt8(HOP_LIMIT, at + 7);
  from.ip.copy(into, at + 8);
  to.ip.copy(into, at + 24);
}

/** What a checksum covers beside the segment itself; both versions' add up to the same as this. */
function pseudoHeader(from: End, to: End, protocol: number, length: number): Buffer {
  const addresses = from.ip.length * 2;
  const bytes = Buffer.alloc(addresses + 8);
  from.ip.copy(bytes, 0);
  to.ip.copy(bytes, from.ip.length);
  bytes.writeUInt32BE(length, addresses);
  bytes.writeUInt32BE(protocol, addresses + 4);
  return bytes;
}

/**
 * The sum of 16-bit words, not folded yet, in this machine's order of bytes: the checksum that is made of it and
 * written in the same order is right (RFC 1071). Four bytes at a time, for it goes over all that is carried.
 * @param at where, a multiple of four of the memory under the buffer
 */
function sumOf(bytes: Buffer, at: number, end: number): number {
  const words = new Uint32Array(bytes.buffer, bytes.byteOffset + at, (end - at) >>> 2);
  let sum = 0;
  for (let index = 0; index < words.length; index++) sum += words[index] as number;
  const rest = at + words.length * 4;
  if (rest === end) return sum;
  const last = new Uint32Array(1);
  Buffer.from(last.buffer).set(bytes.subarray(rest, end));
  return sum + (last[0] as number);
}

/** @param instead of a checksum of 0 */
function putChecksum(into: Buffer, at: number, sum: number, instead: number): void {
  let folded = sum;
  while (folded > 0xffff) folded = Math.floor(folded / 0x1_0000) + (folded % 0x1_0000);
  const checksum = ~folded & 0xffff;
  new Uint16Array(into.buffer, into.byteOffset + at, 1)[0] = checksum === 0 ? instead : checksum;
}
