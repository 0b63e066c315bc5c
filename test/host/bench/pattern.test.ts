import t from 'tap';
import { BLOCK_BYTES, isPattern, patternAt } from '../../../host/bench/pattern.js';

const PERIOD = 65_521;

/** Any length of the pattern, which patternAt() gives a block at a time. */
function patternOf(offset: number, length: number): Buffer {
  const pieces: Buffer[] = [];
  for (let at = 0; at < length; at += BLOCK_BYTES)
    pieces.push(patternAt(offset + at, Math.min(BLOCK_BYTES, length - at)));
  return Buffer.concat(pieces);
}

t.test('is the same for every offset, and repeats after a period only', async (t) => {
  const whole = patternOf(0, PERIOD);
  t.same(patternOf(PERIOD, PERIOD), whole);
  t.same(patternOf(12_345 + 7 * PERIOD, 1000), whole.subarray(12_345, 13_345));
  t.same(patternAt(PERIOD - 1, 2), Buffer.concat([whole.subarray(-1), whole.subarray(0, 1)]));
  t.equal(whole.indexOf(whole.subarray(0, 16), 1), -1, 'sixteen bytes are nowhere else');
  t.ok(new Set(whole).size === 256, 'it has every byte');
});

t.test('any length from any offset is recognised, and the rest of the memory left alone', async (t) => {
  for (const offset of [0, 1, BLOCK_BYTES - 1, PERIOD - 1, PERIOD, 5 * PERIOD - BLOCK_BYTES]) {
    for (const length of [0, 1, 2, BLOCK_BYTES - 1, BLOCK_BYTES, BLOCK_BYTES + 1, 2 * PERIOD + 5]) {
      const memory = Buffer.concat([patternOf(offset, length), Buffer.from('beyond')]);
      t.ok(isPattern(memory, length, offset), `${length} bytes from ${offset}`);
    }
  }
});

t.test('every single wrong byte is found, whichever of its bits it is', async (t) => {
  const offset = PERIOD - 500;
  const bytes = patternOf(offset, 1000);
  const missed = Array.from({ length: 1000 }, (_, at) => at).filter((at) => {
    const wrong = Buffer.from(bytes);
    wrong.writeUInt8(wrong.readUInt8(at) ^ (1 << (at % 8)), at);
    return isPattern(wrong, wrong.length, offset);
  });
  t.same(missed, []);
});

t.test('a wrong, missing or doubled byte is found beside every boundary', async (t) => {
  const length = 2 * (PERIOD + BLOCK_BYTES);
  const bytes = patternOf(0, length);
  for (const boundary of [1, BLOCK_BYTES, 2 * BLOCK_BYTES, PERIOD, 2 * PERIOD, length - 1]) {
    for (const at of [boundary - 1, boundary]) {
      const [before, byte, after] = [
        bytes.subarray(0, at),
        bytes.subarray(at, at + 1),
        bytes.subarray(at + 1),
      ];
      const variants = {
        wrong: Buffer.concat([before, Buffer.of(byte.readUInt8(0) ^ 1), after]),
        missing: Buffer.concat([before, after, patternAt(length + 1, 1)]),
        doubled: Buffer.concat([before, byte, byte, after]),
      };
      for (const [kind, variant] of Object.entries(variants))
        t.notOk(isPattern(variant, Math.max(length, variant.length), 0), `${kind} at ${at}`);
    }
  }
});

t.test('what is in another place is not taken for right', async (t) => {
  const bytes = patternOf(0, 3 * BLOCK_BYTES);
  const [first, second, third] = [0, 1, 2].map((index) =>
    bytes.subarray(index * BLOCK_BYTES, (index + 1) * BLOCK_BYTES),
  ) as [Buffer, Buffer, Buffer];
  t.notOk(isPattern(Buffer.concat([first, third, second]), bytes.length, 0));
  t.notOk(isPattern(bytes, bytes.length, 1));
  t.ok(isPattern(bytes, bytes.length, PERIOD));
});
