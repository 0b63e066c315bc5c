import t from 'tap';
import { formatBytes, formatDuration, formatMicroseconds, formatTable } from '../../../host/cli/output.js';

t.test('tables, with cells of any width and rows of any length', async (t) => {
  t.equal(
    formatTable([
      ['a', 'bb', 'c'],
      ['long', 'x'],
    ]),
    'a     bb  c\nlong  x\n',
  );
  t.equal(formatTable([]), '');
});

t.test('quantities in the unit that reads best', async (t) => {
  t.same([0, 1, 1023, 1024, 1536, 5 * 1024 ** 3, 1024 ** 6].map(formatBytes), [
    '0 B',
    '1 B',
    '1023 B',
    '1.0 KiB',
    '1.5 KiB',
    '5.0 GiB',
    '1048576.0 TiB',
  ]);
  t.same([0.5, 59, 60, 3600, 86_400].map(formatDuration), ['0 s', '59 s', '1 min', '1 h', '1 d']);
  t.same([1, 42, 12_345, 1_234_567].map(formatMicroseconds), ['0.001 ms', '0.042 ms', '12.3 ms', '1230 ms']);
});
