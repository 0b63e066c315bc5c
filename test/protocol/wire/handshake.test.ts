import fc from 'fast-check';
import t from 'tap';
import { ProtocolError } from '../../../protocol/errors.js';
import {
  decodeIdentity,
  encodeHandshake,
  encodeHandshakePayload,
  FEATURES,
  HandshakeDecoder,
  MAGIC,
  printable,
} from '../../../protocol/wire/handshake.js';

/** Pushes `bytes` in pieces that end at `cuts` and at the end. @returns where reading stopped */
function pushPieces(decoder: HandshakeDecoder, bytes: Buffer, cuts: readonly number[]): number {
  let at = 0;
  for (const end of [...cuts, bytes.length]) {
    const stopped = decoder.push(bytes, at, end);
    if (stopped < end) return stopped;
    at = end;
  }
  return at;
}

t.test('the magic is the 52 bytes of the wire', (t) => {
  t.equal(MAGIC.length, 52);
  t.equal(MAGIC.toString('latin1'), 'https://github.com/moby/vpnkit multiplexer protocol\n');
  t.end();
});

t.test('a handshake is taken whole in any two pieces, and no byte further', (t) => {
  const handshake = encodeHandshake('1.2.3', FEATURES);
  const bytes = Buffer.concat([handshake, Buffer.from('frames follow')]);
  for (let cut = 0; cut <= bytes.length; cut++) {
    const decoder = new HandshakeDecoder();
    t.equal(pushPieces(decoder, bytes, [cut]), handshake.length);
    t.same(decoder.payload, handshake.subarray(54));
  }
  t.end();
});

t.test('a handshake that is cut off is not complete, and no error', (t) => {
  const handshake = encodeHandshake('1.2.3', FEATURES);
  for (let length = 0; length < handshake.length; length++) {
    const decoder = new HandshakeDecoder();
    t.equal(decoder.push(handshake, 0, length), length);
    t.equal(decoder.payload, undefined, `${length} bytes`);
  }
  t.end();
});

t.test('any payload is taken, the empty one of a plain end and the longest included', (t) => {
  for (const length of [0, 1, 255, 256, 0xffff]) {
    const payload = Buffer.alloc(length, 'x');
    const bytes = encodeHandshakePayload(payload);
    t.equal(bytes.readUInt16LE(52), length);
    const decoder = new HandshakeDecoder();
    t.equal(pushPieces(decoder, bytes, [52, 53]), bytes.length);
    t.same(decoder.payload, payload);
  }
  t.throws(() => encodeHandshakePayload(Buffer.alloc(0x10000)), RangeError);
  t.end();
});

t.test('a byte that differs is an error that shows the first bytes, wherever a cut was', (t) => {
  for (let wrong = 0; wrong < MAGIC.length; wrong++) {
    const bytes = Buffer.concat([MAGIC, Buffer.from('and more of it')]);
    bytes[wrong] = 0xff;
    const expected = `it began with ${printable(bytes.subarray(0, 64))}`;
    for (let cut = 0; cut <= wrong; cut++) {
      const thrown = t.throws(() => pushPieces(new HandshakeDecoder(), bytes, [cut]), {
        name: 'ProtocolError',
        code: 'NOT_A_MULTIPLEXER',
      });
      if (!String(thrown).endsWith(expected)) t.fail(`wrong at ${wrong}, cut at ${cut}: ${thrown}`);
    }
  }
  t.end();
});

t.test('printable escapes all but plain ASCII', (t) => {
  t.equal(
    printable(Buffer.from('GET / "x\\y"\r\n\x1b[31m\x7fé')),
    '"GET / \\"x\\\\y\\"\\x0d\\x0a\\x1b[31m\\x7f\\xc3\\xa9"',
  );
  t.end();
});

t.test('identity: what portferry says of itself comes back', (t) => {
  const payload = encodeHandshake('0.1.0', ['ping', 'reset']).subarray(54);
  const identity = decodeIdentity(payload);
  t.equal(identity.version, '0.1.0');
  t.same([...identity.features].sort(), ['ping', 'reset']);
  t.end();
});

t.test('identity: whatever is not of that shape is a plain peer', (t) => {
  const hostile = [
    '',
    '{',
    'null',
    'true',
    '1',
    '"portferry"',
    '[]',
    '[1,"1",["ping"]]',
    '{}',
    '{"portferry":2,"version":"1","features":["ping"]}',
    '{"portferry":"1","version":"1","features":["ping"]}',
    '{"portferry":1,"version":1,"features":["ping"]}',
    '{"portferry":1,"version":"1","features":"ping"}',
    '{"portferry":1,"version":"1","features":{"length":1,"0":"ping"}}',
    '{"portferry":1,"version":"1"}',
    '{"portferry":1,"version":"1","features":["ping"],"x":[[[[]]]]}',
    `{"portferry":1,"version":"1","features":["ping"],"x":[${'0,'.repeat(2000)}0]}`,
    '{"portferry":1,"version":"1","features":["ping"]} x',
    '{"__proto__":{"portferry":1,"version":"1","features":["ping"]}}',
    '['.repeat(0xffff),
    '\xff\xfe\x00',
  ];
  for (const text of hostile) {
    const { version, features } = decodeIdentity(Buffer.from(text, 'latin1'));
    t.equal(version, undefined, text.slice(0, 80));
    t.equal(features.size, 0);
  }
  t.end();
});

t.test('identity: what is unknown in it is ignored, and its version is cut and cleaned', (t) => {
  const { version, features } = decodeIdentity(
    Buffer.from(
      JSON.stringify({
        portferry: 1,
        version: `1\u001b[31m\u0085${'x'.repeat(100)}`,
        features: ['ping', 'teleport', 7, null, { ping: 1 }, 'ping', '__proto__'],
        more: {},
      }),
    ),
  );
  t.equal(version, `1 [31m ${'x'.repeat(57)}`);
  t.same([...features], ['ping']);
  const many = Array.from({ length: 20 }, (_, index) => `feature-${index}`);
  const { unknown } = decodeIdentity(
    Buffer.from(JSON.stringify({ portferry: 1, version: '1', features: many })),
  );
  t.same(unknown, many.slice(0, 8), 'some are named');
  t.end();
});

t.test('random bytes throw nothing but ProtocolError', (t) => {
  fc.assert(
    fc.property(fc.uint8Array({ maxLength: 200 }), fc.nat(MAGIC.length), fc.nat(60), (noise, good, cut) => {
      const bytes = Buffer.concat([MAGIC.subarray(0, good), noise]);
      const decoder = new HandshakeDecoder();
      try {
        const stopped = pushPieces(decoder, bytes, [Math.min(cut, bytes.length)]);
        if (decoder.payload) decodeIdentity(decoder.payload);
        else if (stopped !== bytes.length) throw new Error('stopped early');
      } catch (thrown) {
        if (!(thrown instanceof ProtocolError)) throw thrown;
      }
    }),
  );
  t.end();
});
