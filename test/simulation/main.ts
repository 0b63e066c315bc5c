import { parseArgs } from 'node:util';
import { KINDS, type Kind } from './kinds.js';
import { run, trace } from './run.js';

const { values } = parseArgs({
  options: {
    kind: { type: 'string', default: 'data' },
    schedules: { type: 'string', default: '100000' },
    seed: { type: 'string', default: '1' },
    trace: { type: 'boolean', default: false },
  },
});
const { kind } = values;
if (!isKind(kind)) throw new Error(`--kind must be one of ${Object.keys(KINDS).join(', ')}`);
const seed = Number(values.seed);
if (values.trace) finish(await trace(kind, seed, (line) => process.stdout.write(`${line}\n`)));
else {
  const startedAt = performance.now();
  const schedules = Number(values.schedules);
  const failure = await run(kind, seed, schedules, ({ done, steps }) => {
    const seconds = (performance.now() - startedAt) / 1000;
    const perSecond = Math.round(done / seconds);
    const perSchedule = Math.round(steps / done);
    process.stdout.write(`${done} schedules, ${perSecond} per second, of ${perSchedule} steps each\n`);
  });
  finish(failure);
}

function isKind(name: string): name is Kind {
  return Object.hasOwn(KINDS, name);
}

/** Whatever a failed schedule has left behind must not keep the process from its end. */
function finish(failure: string | undefined): void {
  process.stdout.write(`${failure ?? 'nothing went wrong'}\n`, () =>
    process.exit(failure === undefined ? 0 : 1),
  );
}
