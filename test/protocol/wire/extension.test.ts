import fc from 'fast-check';
import t from 'tap';
import { ProtocolError } from '../../../protocol/errors.js';
import {
  decodeOpenResult,
  decodePong,
  decodeReason,
  decodeSource,
  encodeGoAway,
  encodeOpenResult,
  encodePing,
  encodePong,
  encodeReset,
  encodeSource,
  MAX_REASON_BYTES,
  OPEN_STEPS,
  type OpenResult,
  type Source,
} from '../../../protocol/wire/extension.js';
import { Command, FRAME_HEADER_BYTES } from '../../../protocol/wire/frame.js';

const REFUSED = { code: 'ECONNREFUSED', message: 'connect ECONNREFUSED 10.0.0.1:80' };
const badExtension = { name: 'ProtocolError', code: 'BAD_EXTENSION' };

/** The body of a frame whose header must say `command` and `id`. */
function bodyOf(frame: Buffer, command: number, id: number): Buffer {
  t.equal(frame.readUInt16LE(0), frame.length, 'total');
  t.equal(frame.readUInt8(2), command);
  t.equal(frame.readUInt32LE(3), id);
  return frame.subarray(FRAME_HEADER_BYTES);
}

/** Every truncation of `body` must be refused. */
function refusesTruncations(body: Buffer, decode: (body: Buffer) => unknown): void {
  for (let length = 0; length < body.length; length++)
    t.throws(() => decode(body.subarray(0, length)), badExtension, `${length} of ${body.length} bytes`);
}

t.test('OpenResult', (t) => {
  for (const step of OPEN_STEPS) {
    const result: OpenResult = { step, micros: 1234, reason: step === 'connected' ? undefined : REFUSED };
    const body = bodyOf(encodeOpenResult(77, result), Command.openResult, 77);
    t.same(decodeOpenResult(body), result);
    refusesTruncations(body, decodeOpenResult);
  }
  const long = encodeOpenResult(1, { step: 'dial', micros: 2 ** 40, reason: REFUSED });
  t.equal(decodeOpenResult(long.subarray(FRAME_HEADER_BYTES)).micros, 0xffffffff, 'micros are capped');
  t.throws(() => decodeOpenResult(Buffer.from('040000000000000000', 'hex')), badExtension, 'unknown step');
  t.end();
});

t.test('Reset and GoAway', (t) => {
  const reset = bodyOf(encodeReset(5, REFUSED), Command.reset, 5);
  t.same(decodeReason(reset), REFUSED);
  refusesTruncations(reset, decodeReason);
  t.same(decodeReason(bodyOf(encodeGoAway(REFUSED), Command.goAway, 0)), REFUSED);
  t.end();
});

t.test('Ping and Pong: the answer repeats the question, whatever it was', (t) => {
  const ping = bodyOf(encodePing(2 ** 53 - 1), Command.ping, 0);
  const pong = bodyOf(encodePong(ping), Command.pong, 0);
  t.equal(decodePong(pong), 2 ** 53 - 1);
  refusesTruncations(ping, encodePong);
  refusesTruncations(pong, decodePong);
  const large = Buffer.from('ffffffffffffffff', 'hex');
  t.same(bodyOf(encodePong(large), Command.pong, 0), large);
  t.equal(decodePong(large), Number.POSITIVE_INFINITY);
  t.end();
});

t.test('Source', (t) => {
  const v4 = { ip: '192.168.0.7', port: 50123 };
  const v6 = { ip: '2001:db8::1', port: 65535 };
  const sources: Source[] = [
    { client: v4, listener: v6 },
    { client: v6, listener: v4 },
    { client: undefined, listener: undefined },
    { client: undefined, listener: v4 },
  ];
  for (const source of sources) {
    const body = bodyOf(encodeSource(3, source), Command.source, 3);
    t.same(decodeSource(body), source);
    refusesTruncations(body, decodeSource);
  }
  const mapped = encodeSource(3, { client: { ip: '::ffff:10.0.0.1', port: 1 }, listener: undefined });
  t.same(decodeSource(mapped.subarray(FRAME_HEADER_BYTES)).client, { ip: '10.0.0.1', port: 1 });
  for (const length of [1, 3, 5, 15, 17, 255])
    t.throws(() => decodeSource(Buffer.alloc(300, length)), badExtension, `an address of ${length} bytes`);
  t.end();
});

t.test('a reason is cut to its limits, between characters', (t) => {
  const sent = { code: 'E'.repeat(300), message: `x${'€'.repeat(300)}` };
  const got = decodeReason(encodeReset(1, sent).subarray(FRAME_HEADER_BYTES));
  t.equal(got.code, 'E'.repeat(255));
  t.equal(got.message, `x${'€'.repeat(170)}`, '511 bytes: one more character would be 514');
  t.end();
});

t.test('a reason that is received is cut as well, whatever its bytes are', (t) => {
  for (const [bytes, text] of [
    [Buffer.from(`x${'€'.repeat(1000)}`), `x${'€'.repeat(170)}`],
    [Buffer.alloc(4000, 0x80), '\ufffd'.repeat(MAX_REASON_BYTES - 3)],
    [Buffer.alloc(MAX_REASON_BYTES, 'x'), 'x'.repeat(MAX_REASON_BYTES)],
  ] as const) {
    const header = Buffer.from('01450000', 'hex');
    header.writeUInt16LE(bytes.length, 2);
    t.same(decodeReason(Buffer.concat([header, bytes])), { code: 'E', message: text });
  }
  t.end();
});

t.test('a reason reaches no terminal with control characters', (t) => {
  const hostile = { code: 'E\x1b[2J\n', message: 'a\x00b\x07c\x7fd\u009be\r\nf' };
  t.same(decodeReason(encodeReset(1, hostile).subarray(FRAME_HEADER_BYTES)), {
    code: 'E [2J ',
    message: 'a b c d e  f',
  });
  t.end();
});

t.test('bytes after what is known are those of a later version', (t) => {
  const body = Buffer.concat([encodeReset(1, REFUSED).subarray(FRAME_HEADER_BYTES), Buffer.from('more')]);
  t.same(decodeReason(body), REFUSED);
  t.end();
});

t.test('random bodies throw nothing but ProtocolError', (t) => {
  fc.assert(
    fc.property(fc.uint8Array({ maxLength: 64 }), (noise) => {
      for (const decode of [decodeOpenResult, decodePong, encodePong, decodeReason, decodeSource])
        try {
          decode(Buffer.from(noise));
        } catch (thrown) {
          if (!(thrown instanceof ProtocolError)) throw thrown;
        }
    }),
    { numRuns: 500 },
  );
  t.end();
});
