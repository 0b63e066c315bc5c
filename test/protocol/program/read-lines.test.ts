import { PassThrough } from 'node:stream';
import t from 'tap';
import { readLines } from '../../../protocol/program/read-lines.js';

async function linesOf(...chunks: (string | Buffer)[]): Promise<string[]> {
  const lines: string[] = [];
  const input = new PassThrough();
  readLines(input, (line) => lines.push(line));
  for (const chunk of chunks) input.write(chunk);
  input.end();
  await new Promise((resolve) => input.once('end', resolve));
  return lines;
}

t.test('lines come whole, however they arrive, and the last one without its end', async (t) => {
  t.same(await linesOf('one\ntw', 'o\r\nthr', 'ee\rfour\n', 'five'), ['one', 'two', 'three', 'four', 'five']);
  const euro = Buffer.from('€\n');
  t.same(await linesOf(euro.subarray(0, 1), euro.subarray(1)), ['€']);
});

t.test('empty lines and control characters are left out', async (t) => {
  t.same(await linesOf('\n\n  \n\x1b[31mred\x07\n'), ['[31mred']);
});

t.test('a line without end takes no memory without end', async (t) => {
  const [line, ...rest] = await linesOf('x'.repeat(900), 'y'.repeat(900), 'z'.repeat(5000), '\nnext');
  t.equal(line, 'x'.repeat(900) + 'y'.repeat(100));
  t.same(rest, ['next']);
  t.same(
    (await linesOf(`a\n${'b'.repeat(5000)}\n`)).map((text) => text.length),
    [1, 1000],
  );
});
