import { parseJson } from '../bounded-json.js';
import { ProtocolError } from '../errors.js';

/** Wire: a u16 counts the handshake's payload. */
const MAX_HANDSHAKE_PAYLOAD_BYTES = 0xffff;

/** What an announcement may have: three members, and features by the dozen. */
const MAX_IDENTITY_VALUES = 1024;

/** Names of features of a newer peer that are kept, for messages. */
const MAX_UNKNOWN_FEATURES = 8;

/** Bytes of an unexpected peer's greeting that are put into the log. */
export const FIRST_BYTES_LOGGED = 64;

/** The 52 bytes with which both ends begin. */
export const MAGIC = Buffer.from('https://github.com/moby/vpnkit multiplexer protocol\n', 'latin1');

/** What a portferry end can do beyond the plain protocol; each is on when both ends have announced it. */
export const FEATURES = ['open-result', 'reset', 'ping', 'source', 'goaway', 'early-data'] as const;
export type Feature = (typeof FEATURES)[number];

/** Who the other end said it is; a peer that said nothing we know is plain: no version, no features. */
export interface PeerIdentity {
  version: string | undefined;
  features: ReadonlySet<Feature>;
  /** Some of what it can do that this end has not heard of. */
  unknown?: readonly string[];
}

const PLAIN: PeerIdentity = { version: undefined, features: new Set() };

/** The whole handshake of a portferry end: magic, u16 length, and the JSON object that announces it. */
export function encodeHandshake(version: string, features: readonly Feature[]): Buffer {
  return encodeHandshakePayload(Buffer.from(JSON.stringify({ portferry: 1, version, features }), 'utf8'));
}

/** A handshake with any payload, such as the empty one of a plain end. */
export function encodeHandshakePayload(payload: Buffer): Buffer {
  if (payload.length > MAX_HANDSHAKE_PAYLOAD_BYTES)
    throw new RangeError(
      `handshake payload of ${payload.length} bytes, at most ${MAX_HANDSHAKE_PAYLOAD_BYTES}`,
    );
  const length = Buffer.allocUnsafe(2);
  length.writeUInt16LE(payload.length, 0);
  return Buffer.concat([MAGIC, length, payload]);
}

/** Reads an announcement. Whatever is not one of ours means a plain peer, never an error. */
export function decodeIdentity(payload: Buffer): PeerIdentity {
  let said: unknown;
  try {
    said = parseJson('the handshake', payload, MAX_IDENTITY_VALUES);
  } catch {
    return PLAIN;
  }
  if (typeof said !== 'object' || said === null) return PLAIN;
  const { portferry, version, features } = said as Record<string, unknown>;
  if (portferry !== 1 || typeof version !== 'string' || !Array.isArray(features)) return PLAIN;
  const unknown = features.filter(isUnknown).slice(0, MAX_UNKNOWN_FEATURES);
  return {
    version: withoutControls(version.slice(0, 64)),
    features: new Set(FEATURES.filter((name) => features.includes(name))),
    ...(unknown.length > 0 && { unknown }),
  };
}

/** A feature's name, and none that this end has. */
function isUnknown(name: unknown): name is string {
  return typeof name === 'string' && /^[a-z0-9-]{1,32}$/.test(name) && !FEATURES.some((own) => own === name);
}

/** Takes a peer's handshake in pieces of any size. */
export class HandshakeDecoder {
  #magicSeen = 0;
  #lengthBytes: number[] = [];
  #payload: Buffer | undefined;
  #payloadSeen = 0;

  /** The peer's payload; undefined until the handshake is complete. */
  get payload(): Buffer | undefined {
    return this.#payload && this.#payloadSeen === this.#payload.length ? this.#payload : undefined;
  }

  /**
   * Takes bytes of `chunk` from `at` up to `end`, no further than the handshake goes.
   * @returns where the handshake stopped reading
   * @throws ProtocolError NOT_A_MULTIPLEXER at the first byte that differs
   */
  push(chunk: Buffer, at: number, end: number): number {
    const begin = at;
    while (at < end && this.#magicSeen < MAGIC.length) {
      if (chunk[at] !== MAGIC[this.#magicSeen])
        throw notAMultiplexer(this.#magicSeen - (at - begin), chunk.subarray(begin, end));
      at++;
      this.#magicSeen++;
    }
    while (at < end && this.#lengthBytes.length < 2) this.#lengthBytes.push(chunk.readUInt8(at++));
    const [low, high] = this.#lengthBytes;
    if (low === undefined || high === undefined) return at;
    this.#payload ??= Buffer.alloc(low | (high << 8));
    const length = chunk.copy(this.#payload, this.#payloadSeen, at, end);
    this.#payloadSeen += length;
    return at + length;
  }
}

/** @param earlier how many bytes came before those `received`: all matched, so they are the magic's own */
function notAMultiplexer(earlier: number, received: Buffer): ProtocolError {
  const first = Buffer.concat([MAGIC.subarray(0, earlier), received]).subarray(0, FIRST_BYTES_LOGGED);
  return new ProtocolError(
    'NOT_A_MULTIPLEXER',
    `the peer does not speak the multiplexer protocol; it began with ${printable(first)}`,
  );
}

/** Text of a peer, which will be in logs and on terminals, without its control characters. */
export function withoutControls(text: string): string {
  return text.replace(/\p{Cc}/gu, ' ');
}

/** Bytes as a quoted string in which everything that is not plain ASCII is escaped. */
export function printable(bytes: Buffer): string {
  let text = '';
  for (const byte of bytes) {
    if (byte === 0x22 || byte === 0x5c) text += `\\${String.fromCharCode(byte)}`;
    else if (byte >= 0x20 && byte < 0x7f) text += String.fromCharCode(byte);
    else text += `\\x${byte.toString(16).padStart(2, '0')}`;
  }
  return `"${text}"`;
}
