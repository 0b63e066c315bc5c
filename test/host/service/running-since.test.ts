import t from 'tap';
import { runningSince } from '../../../host/service/running-since.js';

t.test('what began at no time that there is has no time', async (t) => {
  const since = Date.parse(runningSince(10_000) ?? '');
  t.ok(Math.abs(Date.now() - 10_000_000 - since) < 60_000);
  for (const seconds of [Number.NaN, Number.POSITIVE_INFINITY, 1e300, -1])
    t.equal(runningSince(seconds), undefined);
});
