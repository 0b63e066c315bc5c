import t from 'tap';
import { run } from './run.js';

/** A few seconds' worth; `npm run simulate` goes on with other seeds. */
const SCHEDULES = 200;

t.test('two ends keep what they promise in every schedule', async (t) => {
  const failure = await run(1, SCHEDULES);
  t.equal(failure, undefined, failure ?? 'nothing went wrong');
});
