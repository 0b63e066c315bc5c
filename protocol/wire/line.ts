import { crc32 } from 'node:zlib';

/**
 * What travels on a line, such as a virtio-serial port: the bytes of a conversation, and between them the messages
 * by which two ends find out that they are in the same one. See SPEC.md, section 15.
 */

/** Begins whatever is not a plain byte. It is no byte of UTF-8, and so none of most of what is sent. */
export const ESCAPE = 0xc1;
/** After ESCAPE: the byte ESCAPE itself. */
const LITERAL = 0x00;

const KINDS = { hello: 'H', bye: 'B' } as const;

/** Hexadecimal digits of a nonce: 64 bits, of which no two will ever be equal by chance. */
export const NONCE_DIGITS = 16;
/** What stands for the other end's nonce while none has been heard. */
export const NO_NONCE = '0'.repeat(NONCE_DIGITS);

const CHECKSUM_DIGITS = 8;
/** Of a message, ESCAPE and kind included. */
export const MESSAGE_BYTES = 2 + 2 * NONCE_DIGITS + CHECKSUM_DIGITS;

const MESSAGE_FORM = /^([HB])([0-9a-f]{16})([0-9a-f]{16})([0-9a-f]{8})$/;

/** What one end says of the conversation. */
export interface LineMessage {
  /** A hello says who is there, a bye that the conversation is over. */
  kind: keyof typeof KINDS;
  /** The sender's nonce. */
  own: string;
  /** The nonce that the sender has heard last, or NO_NONCE. */
  heard: string;
}

/** @param own 16 hexadecimal digits, in lower case; so is `heard` */
export function encodeLineMessage({ kind, own, heard }: LineMessage): Buffer {
  const text = `${KINDS[kind]}${own}${heard}`;
  return Buffer.from(`\xc1${text}${checksum(text)}`, 'latin1');
}

/** The bytes as they travel: the same memory, where none of them is ESCAPE. */
export function encodeLineBytes(bytes: Uint8Array): Uint8Array {
  const first = bytes.indexOf(ESCAPE);
  if (first < 0) return bytes;
  let escapes = 0;
  for (let at = first; at < bytes.length; at++) if (bytes[at] === ESCAPE) escapes++;
  const encoded = Buffer.allocUnsafe(bytes.length + escapes);
  encoded.set(bytes.subarray(0, first));
  let to = first;
  for (let at = first; at < bytes.length; at++) {
    const byte = bytes[at] as number;
    encoded[to++] = byte;
    if (byte === ESCAPE) encoded[to++] = LITERAL;
  }
  return encoded;
}

/** What LineDecoder.decode has found. */
export interface Decoded {
  /** How many plain bytes there are; they begin where decoding began. */
  length: number;
  /** Where decoding goes on. */
  next: number;
  /** What came behind those bytes, if decoding stopped for that. */
  message: LineMessage | undefined;
}

/** Takes plain bytes and messages apart, in pieces of any size. What is neither is skipped. */
export class LineDecoder {
  /** What follows an ESCAPE, as far as it has come. */
  readonly #message = Buffer.alloc(MESSAGE_BYTES);
  /** Bytes in #message, ESCAPE included; 0 among plain bytes. */
  #held = 0;

  /**
   * Decodes in place: plain bytes are moved together.
   * @param to where the bytes end; decoding stops before that when a message is complete
   */
  decode(memory: Buffer, from: number, to: number): Decoded {
    const bytes = memory.subarray(0, to);
    let at = from;
    let end = from;
    while (at < to) {
      if (this.#held === 0) {
        const next = bytes[at] === ESCAPE ? at : bytes.indexOf(ESCAPE, at);
        const stop = next < 0 ? to : next;
        if (end !== at) bytes.copyWithin(end, at, stop);
        end += stop - at;
        at = stop + 1;
        if (stop < to) this.#held = 1;
        continue;
      }
      const byte = bytes[at++] as number;
      if (this.#held === 1 && byte === LITERAL) {
        bytes[end++] = ESCAPE;
        this.#held = 0;
      } else {
        const message = this.#take(byte);
        if (message) return { length: end - from, next: at, message };
      }
    }
    return { length: end - from, next: to, message: undefined };
  }

  #take(byte: number): LineMessage | undefined {
    // A message that was cut short is followed by another one.
    if (byte === ESCAPE) this.#held = 1;
    else this.#message[this.#held++] = byte;
    if (this.#held < MESSAGE_BYTES) return undefined;
    this.#held = 0;
    return parse(this.#message.toString('latin1', 1));
  }
}

function parse(text: string): LineMessage | undefined {
  const [, letter, own, heard, sum] = MESSAGE_FORM.exec(text) ?? [];
  if (!own || !heard || sum !== checksum(text.slice(0, -CHECKSUM_DIGITS))) return undefined;
  return { kind: letter === KINDS.hello ? 'hello' : 'bye', own, heard };
}

/** CRC-32 as zip has it: two messages of which each has lost a part may look like one. */
function checksum(text: string): string {
  return crc32(text).toString(16).padStart(CHECKSUM_DIGITS, '0');
}
