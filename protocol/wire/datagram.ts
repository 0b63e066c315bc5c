import { ProtocolError } from '../errors.js';

/** Wire: the largest payload of a UDP datagram over IPv4: 65535 bytes less the IP and UDP headers. */
export const MAX_DATAGRAM_BYTES = 65_507;

/** Of a datagram, before its payload: u16 total, and address, port, zone and payload length, two bytes each. */
export const DATAGRAM_HEADER_BYTES = 10;

/** A datagram that is cut gets this much memory at first, and then twice as much, up to what it needs. */
const FIRST_PART_BYTES = 256;

/**
 * Writes a datagram with no address, port and zone, as both ends send it.
 * @param payload at most MAX_DATAGRAM_BYTES
 * @returns how many bytes were written
 */
export function putDatagram(into: Buffer, at: number, payload: Uint8Array): number {
  const total = DATAGRAM_HEADER_BYTES + payload.length;
  into.writeUInt16LE(total, at);
  into.fill(0, at + 2, at + 8);
  into.writeUInt16LE(payload.length, at + 8);
  into.set(payload, at + DATAGRAM_HEADER_BYTES);
  return total;
}

/**
 * Turns a stream's payload, cut anywhere, into datagrams. What it keeps of one that is cut is at most twice
 * what has come of it, whatever its lengths announce; each of them is checked as soon as it is there.
 */
export class DatagramDecoder {
  readonly #onDatagram: (payload: Buffer) => void;
  /** A datagram that is not complete yet, and how much of it is here. */
  #part: Buffer | undefined;
  #length = 0;

  /** @param onDatagram gets each payload, in memory of its own */
  constructor(onDatagram: (payload: Buffer) => void) {
    this.#onDatagram = onDatagram;
  }

  /**
   * Takes the bytes of `chunk` from `at` up to `end`.
   * @throws ProtocolError BAD_DATAGRAM when lengths contradict each other; the stream cannot be read on then
   */
  push(chunk: Buffer, at: number, end: number): void {
    while (at < end) {
      const whole = this.#length === 0 && wholeLength(chunk, at, end - at);
      if (whole && whole <= end - at) {
        this.#deliver(chunk, at, whole);
        at += whole;
      } else at = this.#collect(chunk, at, end);
    }
  }

  #collect(chunk: Buffer, at: number, end: number): number {
    // The total first: how much is to be taken is not known before.
    const wanted = this.#part && this.#length >= 2 ? this.#part.readUInt16LE(0) : 2;
    const taken = Math.min(end - at, wanted - this.#length);
    const part = this.#makeRoom(this.#length + taken, wanted);
    chunk.copy(part, this.#length, at, at + taken);
    this.#length += taken;
    if (wholeLength(part, 0, this.#length) === this.#length) {
      const length = this.#length;
      this.#part = undefined;
      this.#length = 0;
      this.#deliver(part, 0, length);
    }
    return at + taken;
  }

  #makeRoom(length: number, wanted: number): Buffer {
    const old = this.#part;
    if (old && old.length >= length) return old;
    const size = Math.max(length, Math.min(wanted, Math.max(FIRST_PART_BYTES, 2 * this.#length)));
    this.#part = Buffer.allocUnsafeSlow(size);
    old?.copy(this.#part, 0, 0, this.#length);
    return this.#part;
  }

  #deliver(bytes: Buffer, at: number, length: number): void {
    const payload = bytes.subarray(payloadStart(bytes, at), at + length);
    this.#onDatagram(Buffer.from(payload));
  }
}

/**
 * The length of the datagram at `at`, of which `here` bytes are there; 0 while even that is not known.
 * @throws ProtocolError BAD_DATAGRAM, as soon as what is there shows it
 */
function wholeLength(bytes: Buffer, at: number, here: number): number {
  if (here < 2) return 0;
  const total = bytes.readUInt16LE(at);
  if (total < DATAGRAM_HEADER_BYTES)
    throw bad(`its total is ${total} bytes, and its fields alone have ${DATAGRAM_HEADER_BYTES}`);
  if (here < 4) return total;
  const address = bytes.readUInt16LE(at + 2);
  checkFits('an address', address, DATAGRAM_HEADER_BYTES + address, total);
  if (here < 8 + address) return total;
  const zone = bytes.readUInt16LE(at + 6 + address);
  const fields = DATAGRAM_HEADER_BYTES + address + zone;
  checkFits('a zone', zone, fields, total);
  if (here < fields) return total;
  const payload = bytes.readUInt16LE(at + fields - 2);
  if (fields + payload !== total)
    throw bad(`its fields have ${fields} and its payload ${payload} bytes, its total is ${total}`);
  if (payload > MAX_DATAGRAM_BYTES)
    throw bad(`its payload has ${payload} bytes, at most ${MAX_DATAGRAM_BYTES} are allowed`);
  return total;
}

/** Where the payload begins; the whole datagram must have been checked. */
function payloadStart(bytes: Buffer, at: number): number {
  const zoneAt = at + 6 + bytes.readUInt16LE(at + 2);
  return zoneAt + 2 + bytes.readUInt16LE(zoneAt) + 2;
}

function checkFits(what: string, length: number, fields: number, total: number): void {
  if (fields > total) throw bad(`${what} of ${length} bytes does not fit into its total of ${total}`);
}

function bad(why: string): ProtocolError {
  return new ProtocolError('BAD_DATAGRAM', `a datagram contradicts itself: ${why}`);
}
