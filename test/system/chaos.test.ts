import { fileURLToPath } from 'node:url';
import t from 'tap';
import { Program } from '../fixtures/programs.js';

/** A minute each; npm run chaos says how to go on for longer. */
const MINUTES = 1;

/** Always the same faults in the same order, and each time others. */
const SEEDS = [13, 1 + Math.floor(Math.random() * 1e6)];

const START = fileURLToPath(new URL('../chaos/start.mjs', import.meta.url));

/** On a machine that has much else to do (ms). */
t.setTimeout(600_000);

for (const seed of SEEDS)
  t.test(`chaos with seed ${seed}: every byte right, every end true, and nothing left`, async (t) => {
    if (process.platform !== 'linux') return t.plan(0, 'it looks into /proc, which Linux alone has');
    const args = [START, '--minutes', `${MINUTES}`, '--seed', `${seed}`];
    const run = Program.start(t, process.execPath, args, {
      env: { NODE_OPTIONS: '' },
      endSignal: 'SIGTERM',
    });
    const outcome = await run.exit();
    t.comment(run.lines.join('\n'));
    t.equal(outcome, 0);
    if (process.env['PORTFERRY_REQUIRE'] === 'all') t.equal(run.count(/^left out/), 0);
  });
