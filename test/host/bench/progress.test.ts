import t from 'tap';
import { Progress } from '../../../host/bench/progress.js';

function outputs(isTTY?: boolean): {
  written: string[];
  out: { write(text: string): void; isTTY?: boolean };
} {
  const written: string[] = [];
  const out = { write: (text: string) => void written.push(text) };
  return { written, out: isTTY === undefined ? out : { ...out, isTTY } };
}

t.test('on a terminal one line changes, and goes', async (t) => {
  const { written, out } = outputs(true);
  const progress = new Progress(out);
  progress.show('1 %');
  progress.show('2 %');
  progress.clear();
  t.same(written, ['\r\x1b[K1 %', '\r\x1b[K2 %', '\r\x1b[K']);
});

t.test('elsewhere there is a line at once, and then one every ten seconds', async (t) => {
  const { written, out } = outputs();
  let now = 5;
  const progress = new Progress(out, () => now);
  for (now of [5, 5000, 10_004, 10_005, 20_004, 20_005]) progress.show(`${now}`);
  progress.clear();
  t.same(written, ['5\n', '10005\n', '20005\n']);
  new Progress(out).show('by the clock');
  t.equal(written.at(-1), 'by the clock\n');
});
