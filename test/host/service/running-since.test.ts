import t from 'tap';
import { runningSince } from '../../../host/service/running-since.js';

t.test('what began at no time that there is has no time', async (t) => {
  const ago = Date.now() - Date.parse(runningSince(10) ?? '');
  t.ok(ago >= 10_000 && ago < 20_000, `${ago} ms`);
  for (const seconds of [Number.NaN, Number.POSITIVE_INFINITY, 1e300])
    t.equal(runningSince(seconds), undefined);
});
