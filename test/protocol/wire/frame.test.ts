import fc from 'fast-check';
import t from 'tap';
import { FrameDecoder } from '../../../protocol/wire/decoder.js';
import {
  Command,
  encodeOpen,
  FRAME_HEADER_BYTES,
  putDataHeader,
  putHeader,
  putUint64,
  putWindow,
  readUint64,
} from '../../../protocol/wire/frame.js';
import { Transcript } from '../fixtures/recording.js';

function decoded(hex: string): string[] {
  const transcript = new Transcript();
  const bytes = Buffer.from(hex, 'hex');
  new FrameDecoder(transcript).push({ bytes }, 0, bytes.length);
  return transcript.lines;
}

/** What `put` writes, in hex; it must leave alone what lies around. */
function written(length: number, put: (into: Buffer, at: number) => void): string {
  const into = Buffer.alloc(length + 4, 0xee);
  put(into, 2);
  t.equal(into.toString('hex', 0, 2), 'eeee');
  t.equal(into.toString('hex', 2 + length), 'eeee');
  return into.toString('hex', 2, 2 + length);
}

t.test('the vectors of the wire, both ways', (t) => {
  const bare = (command: number, id: number) =>
    written(7, (into, at) => putHeader(into, at, FRAME_HEADER_BYTES, command, id));

  t.same(decoded('07000206000000'), ['close 6']);
  t.equal(bare(Command.close, 6), '07000206000000');

  t.same(decoded('07000307000000'), ['shutdown 7']);
  t.equal(bare(Command.shutdown, 7), '07000307000000');

  t.same(decoded('0b00040800000080000000'), ['data 8 128']);
  t.equal(
    written(11, (into, at) => putDataHeader(into, at, 8, 128)),
    '0b00040800000080000000',
  );

  t.same(decoded('0f00050900000038a2870000000000'), ['window 9 8888888']);
  t.equal(
    written(15, (into, at) => putWindow(into, at, 9, 8888888)),
    '0f00050900000038a2870000000000',
  );

  const udp = '1d0001050000000202100000000000000000000000000000000001901f';
  t.same(decoded(udp), ['open 5 udp [::1]:8080']);
  t.equal(encodeOpen(5, { proto: 'udp', ip: '::1', port: 8080 }).toString('hex'), udp);

  const unix = '13000105000000020308002f746d702f666f6f';
  t.same(decoded(unix), ['open 5 unix /tmp/foo']);
  t.equal(encodeOpen(5, { proto: 'unix', path: '/tmp/foo' }).toString('hex'), unix);

  const dedicated = '11000104000000010104007f000001901f';
  t.throws(() => decoded(dedicated), { name: 'ProtocolError', code: 'DEDICATED_STREAM' });
  const multiplexed = encodeOpen(4, { proto: 'tcp', ip: '127.0.0.1', port: 8080 });
  t.equal(multiplexed.toString('hex'), dedicated.replace('000000010104', '000000020104'));
  t.end();
});

t.test('ids and lengths use all of their bits', (t) => {
  const header = Buffer.alloc(11);
  putDataHeader(header, 0, 0xfffffffe, 0x81020304);
  t.equal(header.readUInt32LE(3), 0xfffffffe);
  t.equal(header.readUInt32LE(7), 0x81020304);
  t.end();
});

t.test('u64: every integer below 2^53 comes back, what lies beyond is Infinity', (t) => {
  const bytes = Buffer.alloc(8);
  fc.assert(
    fc.property(fc.maxSafeNat(), (value) => {
      putUint64(bytes, 0, value);
      return readUint64(bytes, 0) === value && bytes.readBigUInt64LE(0) === BigInt(value);
    }),
  );
  for (const value of [2 ** 53 - 1, 2 ** 32, 2 ** 32 - 1, 0]) {
    putUint64(bytes, 0, value);
    t.equal(readUint64(bytes, 0), value);
  }
  for (const value of [2n ** 53n, 2n ** 53n + 1n, 2n ** 64n - 1n]) {
    bytes.writeBigUInt64LE(value);
    t.equal(readUint64(bytes, 0), Number.POSITIVE_INFINITY);
  }
  t.end();
});
