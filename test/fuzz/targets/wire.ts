import { ProtocolError } from '../../../protocol/errors.js';
import { DatagramDecoder, putDatagram } from '../../../protocol/wire/datagram.js';
import { FrameDecoder } from '../../../protocol/wire/decoder.js';
import { decodeDestination, encodeDestination } from '../../../protocol/wire/destination.js';
import {
  decodeOpenResult,
  decodeReason,
  decodeSource,
  encodeGoAway,
  encodeOpenResult,
  encodePing,
  encodeReset,
  encodeSource,
  MAX_REASON_BYTES,
  type OpenResult,
  type Reason,
} from '../../../protocol/wire/extension.js';
import { encodeOpen, FRAME_HEADER_BYTES } from '../../../protocol/wire/frame.js';
import {
  decodeIdentity,
  encodeHandshake,
  FEATURES,
  HandshakeDecoder,
} from '../../../protocol/wire/handshake.js';
import { closeFrame, dataFrame, shutdownFrame, windowFrame } from '../../protocol/fixtures/frames.js';
import { Transcript, WEB } from '../../protocol/fixtures/recording.js';
import { allow, equal, type Target } from '../target.js';

const GAVE_UP = { code: 'ECONNRESET', message: 'gave up' };
const SOURCE = { client: { ip: '10.0.0.1', port: 4000 }, listener: { ip: '::1', port: 80 } };
const datagram = Buffer.alloc(20);
putDatagram(datagram, 0, Buffer.from('0123456789'));

/** The first byte says which decoder, the second how the bytes are cut. */
const DECODERS: readonly ((bytes: Buffer, cut: number) => void)[] = [
  frames,
  handshake,
  datagrams,
  (bytes) => roundTrip(bytes, decodeDestination, encodeDestination),
  (bytes) => roundTrip(bytes, decodeSource, (source) => bodyOf(encodeSource(1, source))),
  (bytes) => roundTrip(bytes, decodeUncut, (reason) => bodyOf(encodeReset(1, reason))),
  (bytes) => roundTrip(bytes, decodeResult, (result) => bodyOf(encodeOpenResult(1, result))),
];

/** Everything of protocol/wire that takes bytes which others have sent, but for lines. */
export const wire: Target = {
  seeds: [
    seed(0, encodeOpen(4, WEB), dataFrame(4, Buffer.from('hello')), shutdownFrame(4), closeFrame(4)),
    seed(0, windowFrame(1, 2 ** 40), encodeReset(7, GAVE_UP), encodePing(7), encodeGoAway(GAVE_UP)),
    seed(0, encodeOpen(1, { proto: 'unix', path: 'portferry:control' }), encodeSource(1, SOURCE)),
    seed(1, encodeHandshake('1.0.0', FEATURES)),
    seed(2, datagram, datagram),
    seed(3, encodeDestination({ proto: 'udp', ip: '2001:db8::1', port: 53 })),
    seed(4, bodyOf(encodeSource(1, SOURCE))),
    seed(5, bodyOf(encodeReset(1, GAVE_UP))),
    seed(6, bodyOf(encodeOpenResult(1, { step: 'dial', micros: 5, reason: GAVE_UP }))),
  ],
  run(input) {
    const [which = 0, cut = 0] = input;
    DECODERS[which % DECODERS.length]?.(input.subarray(2), cut);
  },
};

function seed(which: number, ...parts: Buffer[]): Buffer {
  return Buffer.concat([Buffer.from([which, 3]), ...parts]);
}

function bodyOf(frame: Buffer): Buffer {
  return frame.subarray(FRAME_HEADER_BYTES);
}

/** Calls `take` with one piece after the other: all of it at once, or `cut` bytes each. @returns the refusal's code */
function inPieces(
  bytes: Buffer,
  cut: number,
  take: (start: number, end: number) => void,
): string | undefined {
  const size = cut || bytes.length || 1;
  try {
    for (let start = 0; start < bytes.length; start += size)
      take(start, Math.min(bytes.length, start + size));
  } catch (thrown) {
    if (thrown instanceof ProtocolError) return thrown.code;
    throw thrown;
  }
  return undefined;
}

/** However the bytes are cut, the same frames come of them, and the same refusal. */
function frames(bytes: Buffer, cut: number): void {
  const [whole, cutUp] = [0, cut].map((size) => {
    const transcript = new Transcript();
    const decoder = new FrameDecoder(transcript);
    const refusal = inPieces(bytes, size, (start, end) => decoder.push({ bytes }, start, end));
    return { lines: transcript.lines, payload: Buffer.concat(transcript.payload).toString('hex'), refusal };
  });
  equal(cutUp, whole, 'cut up, these bytes are other frames');
}

function handshake(bytes: Buffer, cut: number): void {
  const [whole, cutUp] = [0, cut].map((size) => {
    const decoder = new HandshakeDecoder();
    let at = 0;
    const refusal = inPieces(bytes, size, (start, end) => {
      if (!decoder.payload) at = decoder.push(bytes, start, end);
    });
    const identity = decoder.payload && decodeIdentity(decoder.payload);
    return { refusal, read: refusal === undefined && at, identity };
  });
  equal(cutUp, whole, 'cut up, this handshake is another one');
  if (whole?.identity?.version && /\p{Cc}/u.test(whole.identity.version))
    throw new Error('control characters in a version');
}

function datagrams(bytes: Buffer, cut: number): void {
  const [whole, cutUp] = [0, cut].map((size) => {
    const payloads: Buffer[] = [];
    const decoder = new DatagramDecoder((payload) => payloads.push(payload));
    const refusal = inPieces(bytes, size, (start, end) => decoder.push(bytes, start, end));
    return { refusal, payloads: payloads.map((payload) => payload.toString('hex')) };
  });
  equal(cutUp, whole, 'cut up, these bytes are other datagrams');
  for (const payload of whole?.payloads ?? []) {
    const again = Buffer.alloc(payload.length / 2 + 10);
    putDatagram(again, 0, Buffer.from(payload, 'hex'));
    const back: string[] = [];
    new DatagramDecoder((bytes) => back.push(bytes.toString('hex'))).push(again, 0, again.length);
    equal(back, [payload], 'a datagram does not come back');
  }
}

/** A text that was no UTF-8 is longer, with a character for each byte that was none, and may be cut again. */
function decodeUncut(bytes: Buffer): Reason {
  return withoutCut(decodeReason(bytes));
}

function withoutCut({ code, message }: Reason): Reason {
  return { code, message: Buffer.from(message).length > MAX_REASON_BYTES ? '' : message };
}

function decodeResult(bytes: Buffer): OpenResult {
  const { reason, ...result } = decodeOpenResult(bytes);
  return { ...result, reason: reason && withoutCut(reason) };
}

/** What was understood means the same when it is written and read again. */
function roundTrip<T>(bytes: Buffer, decode: (bytes: Buffer) => T, encode: (value: T) => Buffer): void {
  const value = allow([ProtocolError], () => decode(bytes));
  if (value !== undefined) equal(decode(encode(value)), value, 'it does not come back');
}
