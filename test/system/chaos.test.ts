import { fileURLToPath } from 'node:url';
import t from 'tap';
import { Program } from '../fixtures/programs.js';

/** How long each is; npm run chaos goes on for as long as one says, and finds the next fault. */
const MINUTES = 0.75;

/** Fixed, for a gate that fails must say so again: with these each thing is killed, cut, frozen or moved in that time. */
const RUNS = [
  { seed: 282, more: [] },
  { seed: 2553, more: ['--docker'] },
] as const;

const START = fileURLToPath(new URL('../chaos/start.mjs', import.meta.url));

/** On a machine that has much else to do (ms). */
t.setTimeout(600_000);

for (const { seed, more } of RUNS)
  t.test(
    `chaos with ${['seed', seed, ...more].join(' ')}: every byte right, every end true, and nothing left`,
    async (t) => {
      if (process.platform !== 'linux') return t.plan(0, 'it looks into /proc, which Linux alone has');
      const args = [START, '--minutes', `${MINUTES}`, '--seed', `${seed}`, ...more];
      const run = Program.start(t, process.execPath, args, {
        env: { NODE_OPTIONS: '' },
        endSignal: 'SIGTERM',
      });
      const outcome = await run.exit();
      t.comment(run.lines.join('\n'));
      t.equal(outcome, 0, 'what was wrong is told above, with how to repeat it');
      if (process.env['PORTFERRY_REQUIRE'] === 'all') t.equal(run.count(/^left out/), 0);
    },
  );
