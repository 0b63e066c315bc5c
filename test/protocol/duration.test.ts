import t from 'tap';
import { formatAgo } from '../../protocol/duration.js';

t.test('how long ago it was', async (t) => {
  t.equal(formatAgo('1970-01-01T00:00:00.000Z', 90_500), '1 min ago');
  t.equal(formatAgo('1970-01-01T00:01:00.000Z', 0), '0 s ago', 'the clock has been set back');
});
