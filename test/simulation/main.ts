import { parseArgs } from 'node:util';
import { run, trace } from './run.js';

const { values } = parseArgs({
  options: {
    schedules: { type: 'string', default: '100000' },
    seed: { type: 'string', default: '1' },
    trace: { type: 'boolean', default: false },
  },
});
const seed = Number(values.seed);
if (values.trace) finish(await trace(seed, (line) => process.stdout.write(`${line}\n`)));
else {
  const startedAt = performance.now();
  const schedules = Number(values.schedules);
  const failure = await run(seed, schedules, (done) => {
    const seconds = (performance.now() - startedAt) / 1000;
    process.stdout.write(`${done} schedules, ${Math.round(done / seconds)} per second\n`);
  });
  finish(failure);
}

/** Whatever a failed schedule has left behind must not keep the process from its end. */
function finish(failure: string | undefined): void {
  process.stdout.write(`${failure ?? 'nothing went wrong'}\n`, () =>
    process.exit(failure === undefined ? 0 : 1),
  );
}
