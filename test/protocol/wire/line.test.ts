import { readFileSync } from 'node:fs';
import fc from 'fast-check';
import t from 'tap';
import {
  ESCAPE,
  encodeLineBytes,
  encodeLineMessage,
  LineDecoder,
  type LineMessage,
  MESSAGE_BYTES,
  NO_NONCE,
} from '../../../protocol/wire/line.js';

const HELLO: LineMessage = { kind: 'hello', own: '0123456789abcdef', heard: NO_NONCE };
const BYE: LineMessage = { kind: 'bye', own: 'fedcba9876543210', heard: '0123456789abcdef' };

/** Plain bytes as text, and messages, in their order. */
type Piece = string | LineMessage;

/** Feeds the bytes in pieces of the given sizes, over and over, each in memory of its own with something behind it. */
function decode(bytes: Uint8Array, sizes: number[]): Piece[] {
  const decoder = new LineDecoder();
  const pieces: Piece[] = [];
  const add = (piece: Piece): void => {
    const last = pieces.at(-1);
    if (typeof last === 'string' && typeof piece === 'string') pieces[pieces.length - 1] = last + piece;
    else pieces.push(piece);
  };
  for (let at = 0, turn = 0; at < bytes.length; turn++) {
    const chunk = bytes.subarray(at, at + (sizes[turn % sizes.length] as number));
    at += chunk.length;
    const memory = Buffer.concat([chunk, Buffer.from([ESCAPE, 0, ESCAPE])]);
    for (let from = 0; from < chunk.length; ) {
      const { length, next, message } = decoder.decode(memory, from, chunk.length);
      if (length > 0) add(memory.toString('latin1', from, from + length));
      if (message) add(message);
      from = next;
    }
  }
  return pieces;
}

t.test('plain bytes without the escape travel as they are', async (t) => {
  const bytes = Buffer.from('plain \u20ac \0\xc0\xc2', 'latin1');
  t.equal(encodeLineBytes(bytes), bytes);
});

t.test('bytes and messages come out as they went in, however they are cut', async (t) => {
  const plain = fc.uint8Array({ minLength: 1, maxLength: 40 });
  const dense = fc.array(fc.constantFrom(ESCAPE, 0, 0x48, 0x42, 0x30), { minLength: 1, maxLength: 40 });
  const message = fc.constantFrom(HELLO, BYE);
  const items = fc.array(
    fc.oneof(
      plain,
      dense.map((bytes) => Uint8Array.from(bytes)),
      message,
    ),
    {
      maxLength: 12,
    },
  );
  const sizes = fc.array(fc.integer({ min: 1, max: 50 }), { minLength: 1, maxLength: 8 });
  fc.assert(
    fc.property(items, sizes, (items, sizes) => {
      const sent = items.map((item) =>
        item instanceof Uint8Array ? encodeLineBytes(item) : encodeLineMessage(item),
      );
      const expected: Piece[] = [];
      for (const item of items) {
        const last = expected.at(-1);
        const text = item instanceof Uint8Array ? Buffer.from(item).toString('latin1') : item;
        if (typeof text === 'string' && typeof last === 'string') expected[expected.length - 1] = last + text;
        else expected.push(text);
      }
      t.same(decode(Buffer.concat(sent), sizes), expected);
    }),
    { seed: 11, numRuns: 300 },
  );
  t.equal(encodeLineMessage(HELLO).length, MESSAGE_BYTES);
});

t.test('a message that was cut at any byte is skipped, and the next one is read', async (t) => {
  const whole = encodeLineMessage(BYE);
  for (let cut = 1; cut < whole.length; cut++) {
    const bytes = Buffer.concat([whole.subarray(0, cut), encodeLineMessage(HELLO)]);
    for (const sizes of [[bytes.length], [1], [cut, 7]]) t.same(decode(bytes, sizes), [HELLO]);
  }
});

t.test('an escaped byte that was cut is no byte', async (t) => {
  const bytes = Buffer.concat([Buffer.from([0x61, ESCAPE]), encodeLineMessage(HELLO), Buffer.from('b')]);
  for (const size of [1, 2, 100]) t.same(decode(bytes, [size]), ['a', HELLO, 'b']);
});

t.test('what is no message is skipped', async (t) => {
  const spoilt = [
    // Halves of two messages: their lengths fit, the checksum does not.
    Buffer.concat([encodeLineMessage(HELLO).subarray(0, 20), encodeLineMessage(BYE).subarray(20)]),
    Buffer.concat([Buffer.from([ESCAPE]), Buffer.from('Z'.repeat(MESSAGE_BYTES - 1))]),
    Buffer.from(encodeLineMessage(HELLO).map((byte, at) => (at === 1 ? 0x41 : byte))),
    Buffer.from(encodeLineMessage(HELLO).map((byte, at) => (at === 5 ? byte ^ 0x20 : byte))),
  ];
  for (const bytes of spoilt) t.same(decode(Buffer.concat([bytes, Buffer.from('rest')]), [9]), ['rest']);
});

t.test('the examples of SPEC.md are what is sent and read', async (t) => {
  const spec = readFileSync(new URL('../../../protocol/SPEC.md', import.meta.url), 'utf8');
  const table = spec.slice(spec.indexOf('| on the line '), spec.indexOf('### 15.3'));
  const rows = [...table.matchAll(/^\| `([0-9a-f ]+)` +\| (.*?) +\|$/gm)];
  t.equal(rows.length, 4);
  for (const [, hex = '', meaning = ''] of rows) {
    const bytes = Buffer.from(hex.replaceAll(' ', ''), 'hex');
    const [, kind, own, heard] = /^(hello|bye), own (.*), heard (.*)$/.exec(meaning) ?? [];
    if (own && heard) {
      const message = { kind: kind as LineMessage['kind'], own, heard };
      t.same(decode(bytes, [5]), [message]);
      t.ok(encodeLineMessage(message).equals(bytes), meaning);
    } else {
      const plain = Buffer.from(meaning.replace(/^the bytes /, '').replaceAll(' ', ''), 'hex');
      t.same(decode(bytes, [5]), [plain.toString('latin1')]);
      t.ok(Buffer.from(encodeLineBytes(plain)).equals(bytes), meaning);
    }
  }
});
