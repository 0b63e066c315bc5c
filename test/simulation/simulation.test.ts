import t from 'tap';
import { run } from './run.js';

/** A few seconds' worth; `npm run simulate` goes on with other seeds. */
const SCHEDULES = { data: 200, control: 50 };

for (const kind of ['data', 'control'] as const)
  t.test(`two ends keep what they promise in every ${kind} schedule`, async (t) => {
    const failure = await run(kind, 1, SCHEDULES[kind]);
    t.equal(failure, undefined, failure ?? 'nothing went wrong');
  });
