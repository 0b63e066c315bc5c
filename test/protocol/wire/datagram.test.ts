import fc from 'fast-check';
import t from 'tap';
import {
  DATAGRAM_HEADER_BYTES,
  DatagramDecoder,
  MAX_DATAGRAM_BYTES,
  putDatagram,
} from '../../../protocol/wire/datagram.js';

function encode(payload: Buffer): Buffer {
  const bytes = Buffer.alloc(DATAGRAM_HEADER_BYTES + payload.length, 0xdb);
  if (putDatagram(bytes, 0, payload) !== bytes.length) throw new Error('the length is wrong');
  return bytes;
}

/** As another encoder may write it. */
function encodeWithAddress(payload: Buffer, address: Buffer, port: number, zone: Buffer): Buffer {
  const u16 = (value: number): Buffer => {
    const bytes = Buffer.alloc(2);
    bytes.writeUInt16LE(value);
    return bytes;
  };
  const length = DATAGRAM_HEADER_BYTES + address.length + zone.length + payload.length;
  const parts = [u16(length), u16(address.length), address, u16(port), u16(zone.length), zone];
  return Buffer.concat([...parts, u16(payload.length), payload]);
}

/** Decodes bytes that come in pieces; what has been handed on is not to change when their memory does. */
function decode(pieces: readonly Buffer[]): Buffer[] {
  const payloads: Buffer[] = [];
  const decoder = new DatagramDecoder((payload) => payloads.push(payload));
  for (const piece of pieces) {
    const memory = Buffer.concat([Buffer.of(0xff), piece, Buffer.of(0xff)]);
    decoder.push(memory, 1, 1 + piece.length);
    memory.fill(0xdb);
  }
  return payloads;
}

function cut(bytes: Buffer, cuts: readonly number[]): Buffer[] {
  const places = [...new Set(cuts.map((place) => place % (bytes.length + 1)))].sort((a, b) => a - b);
  return [0, ...places].map((from, index) => bytes.subarray(from, places[index] ?? bytes.length));
}

const SIZES = [0, 1, 2, 255, 256, 257, 512, 65_506, MAX_DATAGRAM_BYTES];

t.test('datagrams come back as they were, whole or byte by byte', async (t) => {
  const payloads = SIZES.map((size) => Buffer.alloc(size, size));
  const bytes = Buffer.concat(payloads.map(encode));
  t.ok(Buffer.concat(decode([bytes])).equals(Buffer.concat(payloads)));
  const again = decode([...bytes].map((byte) => Buffer.of(byte)));
  t.same(
    again.map(({ length }) => length),
    SIZES,
  );
  t.ok(Buffer.concat(again).equals(Buffer.concat(payloads)));
});

t.test('in any cut, with any address and zone', async () => {
  const field = (maxLength: number) => fc.uint8Array({ maxLength }).map((bytes) => Buffer.from(bytes));
  const datagram = fc.record({
    payload: field(600),
    address: field(20),
    port: fc.nat(0xffff),
    zone: field(20),
    plain: fc.boolean(),
  });
  fc.assert(
    fc.property(fc.array(datagram, { maxLength: 8 }), fc.array(fc.nat(), { maxLength: 12 }), (all, cuts) => {
      const bytes = Buffer.concat(
        all.map(({ payload, address, port, zone, plain }) =>
          plain ? encode(payload) : encodeWithAddress(payload, address, port, zone),
        ),
      );
      const payloads = decode(cut(bytes, cuts));
      return (
        payloads.length === all.length &&
        payloads.every((payload, index) => payload.equals(all[index]?.payload ?? Buffer.alloc(0)))
      );
    }),
    { seed: 1, numRuns: 500 },
  );
});

t.test('any bytes are datagrams or an error, and little is kept of them', async (t) => {
  let errors = 0;
  fc.assert(
    fc.property(fc.uint8Array({ maxLength: 400 }), fc.array(fc.nat(), { maxLength: 5 }), (bytes, cuts) => {
      const outcome = (pieces: readonly Buffer[]): string => {
        try {
          return decode(pieces)
            .map((payload) => payload.toString('hex'))
            .join();
        } catch (thrown) {
          errors++;
          return (thrown as { code: string }).code;
        }
      };
      const whole = Buffer.from(bytes);
      const cuttings = outcome(cut(whole, cuts));
      return cuttings === outcome([whole]);
    }),
    { seed: 2, numRuns: 500 },
  );
  t.ok(errors > 100, `${errors}`);
});

t.test('each length is checked as soon as it is there, with the numbers in the message', async (t) => {
  const cases: [string, RegExp][] = [
    ['0900', /its total is 9 bytes, and its fields alone have 10/],
    ['0c000300', /an address of 3 bytes does not fit into its total of 12/],
    ['0e000200000000000300', /a zone of 3 bytes does not fit into its total of 14/],
    ['0c000000000000000300', /its fields have 10 and its payload 3 bytes, its total is 12/],
    ['eeff000000000000e4ff', /its payload has 65508 bytes, at most 65507 are allowed/],
  ];
  for (const [hex, message] of cases) {
    const bytes = Buffer.from(hex, 'hex');
    const expected = { name: 'ProtocolError', code: 'BAD_DATAGRAM', message };
    t.throws(() => decode([bytes]), expected);
    t.throws(() => decode([...bytes].map((byte) => Buffer.of(byte))), expected);
    t.same(decode([bytes.subarray(0, -1)]), [], 'without its last byte nothing is wrong yet');
  }
});
