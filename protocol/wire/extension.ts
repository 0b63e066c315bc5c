import { ProtocolError } from '../errors.js';
import { addressFromBytes, addressToBytes } from './address.js';
import { Command, FRAME_HEADER_BYTES, putHeader, putUint32, putUint64, readUint64 } from './frame.js';
import { withoutControls } from './handshake.js';

/**
 * The longest message of a reason, sent or received; a longer one is cut. A peer may send as many as it likes,
 * and each is kept with its stream or logged.
 */
export const MAX_REASON_BYTES = 512;

/**
 * Wire, of the extension early-data: what may be sent on a new stream before its first Window. A request of
 * nearly any kind fits in.
 */
export const EARLY_DATA_BYTES = 16 * 1024;

/** Why something ended: a stable code, such as an errno name, and a sentence for people. */
export interface Reason {
  code: string;
  message: string;
}

/** Where in the guest an Open failed. */
export const OPEN_STEPS = ['connected', 'policy', 'dial', 'service'] as const;
export type OpenStep = (typeof OPEN_STEPS)[number];

/** The guest's answer to an Open. */
export interface OpenResult {
  step: OpenStep;
  /** How long (µs) the guest's dial took, until it connected or failed. */
  micros: number;
  /** Why it failed; undefined when connected. */
  reason: Reason | undefined;
}

/** An address and port as the host saw them; a unix socket has none. */
export interface SourceAddress {
  ip: string;
  port: number;
}

/** Who opened a forwarded connection, and which listening address it came to. */
export interface Source {
  client: SourceAddress | undefined;
  listener: SourceAddress | undefined;
}

const PING_BYTES = 8;
/** Of an OpenResult, before its reason. */
const OPEN_RESULT_BYTES = 5;
/** A reason without code and message. */
const NO_REASON = Buffer.alloc(3);
/** Of an address, besides its bytes: u8 length and u16 port. */
const ADDRESS_EXTRA_BYTES = 3;

/** OpenResult: u8 step, u32 micros, reason. */
export function encodeOpenResult(id: number, result: OpenResult): Buffer {
  const reason = result.reason ? encodeReason(result.reason) : NO_REASON;
  const bytes = makeFrame(Command.openResult, id, OPEN_RESULT_BYTES + reason.length);
  bytes.writeUInt8(OPEN_STEPS.indexOf(result.step), FRAME_HEADER_BYTES);
  putUint32(bytes, FRAME_HEADER_BYTES + 1, Math.min(Math.round(result.micros), 0xffff_ffff));
  reason.copy(bytes, FRAME_HEADER_BYTES + OPEN_RESULT_BYTES);
  return bytes;
}

export function decodeOpenResult(body: Buffer): OpenResult {
  need(body, OPEN_RESULT_BYTES, 'OpenResult');
  const step = OPEN_STEPS[body.readUInt8(0)];
  if (step === undefined) throw bad(`OpenResult with unknown step ${body.readUInt8(0)}`);
  const reason = decodeReason(body.subarray(OPEN_RESULT_BYTES));
  return { step, micros: body.readUInt32LE(1), reason: step === 'connected' ? undefined : reason };
}

/** Reset: reason. */
export function encodeReset(id: number, reason: Reason): Buffer {
  return frame(Command.reset, id, encodeReason(reason));
}

/** GoAway: reason; the id is 0. */
export function encodeGoAway(reason: Reason): Buffer {
  return frame(Command.goAway, 0, encodeReason(reason));
}

/** Ping: a u64 that the answer repeats; the id is 0. */
export function encodePing(token: number): Buffer {
  const body = Buffer.allocUnsafe(PING_BYTES);
  putUint64(body, 0, token);
  return frame(Command.ping, 0, body);
}

/** Pong: the u64 of the Ping whose body is given, byte for byte: it may be no number of ours. */
export function encodePong(ping: Buffer): Buffer {
  need(ping, PING_BYTES, 'Ping');
  return frame(Command.pong, 0, ping.subarray(0, PING_BYTES));
}

export function decodePong(body: Buffer): number {
  need(body, PING_BYTES, 'Pong');
  return readUint64(body, 0);
}

/** Source: client, then listening address; each u8 length (0, 4 or 16), the address, u16 port. */
export function encodeSource(id: number, source: Source): Buffer {
  const client = source.client ? addressToBytes(source.client.ip) : [];
  const listener = source.listener ? addressToBytes(source.listener.ip) : [];
  const bytes = makeFrame(Command.source, id, 2 * ADDRESS_EXTRA_BYTES + client.length + listener.length);
  const at = putAddress(bytes, FRAME_HEADER_BYTES, client, source.client?.port ?? 0);
  putAddress(bytes, at, listener, source.listener?.port ?? 0);
  return bytes;
}

export function decodeSource(body: Buffer): Source {
  const client = decodeAddress(body, 0);
  const listener = decodeAddress(body, client.end);
  return { client: client.address, listener: listener.address };
}

/** Reason: u8 length, code in ASCII, u16 length, message in UTF-8. */
function encodeReason(reason: Reason): Buffer {
  const code = Buffer.from(reason.code, 'latin1').subarray(0, 255);
  const text = Buffer.from(reason.message, 'utf8');
  const message = text.subarray(0, cutPlace(text, 0, text.length));
  const bytes = Buffer.allocUnsafe(1 + code.length + 2 + message.length);
  bytes.writeUInt8(code.length, 0);
  code.copy(bytes, 1);
  bytes.writeUInt16LE(message.length, 1 + code.length);
  message.copy(bytes, 3 + code.length);
  return bytes;
}

/**
 * Where UTF-8 text that lies from `start` up to `end` is to be cut, so that it has at most MAX_REASON_BYTES and
 * no character is divided. A peer's text may be no UTF-8: a character has at most three bytes after its first.
 */
function cutPlace(text: Buffer, start: number, end: number): number {
  let cut = start + MAX_REASON_BYTES;
  if (cut >= end) return end;
  for (let back = 0; back < 3 && (text.readUInt8(cut) & 0xc0) === 0x80; back++) cut--;
  return cut;
}

/** @throws ProtocolError BAD_EXTENSION when the lengths do not fit the body */
export function decodeReason(body: Buffer): Reason {
  need(body, 1, 'reason');
  const codeEnd = 1 + body.readUInt8(0);
  need(body, codeEnd + 2, 'reason');
  const messageEnd = codeEnd + 2 + body.readUInt16LE(codeEnd);
  need(body, messageEnd, 'reason');
  return {
    code: withoutControls(body.toString('latin1', 1, codeEnd)),
    message: withoutControls(body.toString('utf8', codeEnd + 2, cutPlace(body, codeEnd + 2, messageEnd))),
  };
}

/** @returns the place after it */
function putAddress(into: Buffer, at: number, ip: readonly number[], port: number): number {
  into.writeUInt8(ip.length, at);
  into.set(ip, at + 1);
  return into.writeUInt16LE(port, at + 1 + ip.length);
}

function decodeAddress(body: Buffer, at: number): { address: SourceAddress | undefined; end: number } {
  need(body, at + 1, 'Source');
  const length = body.readUInt8(at);
  if (length !== 0 && length !== 4 && length !== 16) throw bad(`Source with an address of ${length} bytes`);
  const end = at + 1 + length + 2;
  need(body, end, 'Source');
  if (length === 0) return { address: undefined, end };
  const ip = addressFromBytes(body, at + 1, at + 1 + length);
  return { address: { ip, port: body.readUInt16LE(at + 1 + length) }, end };
}

function frame(command: number, id: number, body: Buffer): Buffer {
  const bytes = makeFrame(command, id, body.length);
  body.copy(bytes, FRAME_HEADER_BYTES);
  return bytes;
}

/** A frame whose body is still to be written. */
function makeFrame(command: number, id: number, bodyLength: number): Buffer {
  const bytes = Buffer.allocUnsafe(FRAME_HEADER_BYTES + bodyLength);
  putHeader(bytes, 0, bytes.length, command, id);
  return bytes;
}

function need(body: Buffer, length: number, what: string): void {
  if (body.length < length) throw bad(`${what} of ${body.length} bytes, at least ${length} are needed`);
}

function bad(message: string): ProtocolError {
  return new ProtocolError('BAD_EXTENSION', message);
}
