import t from 'tap';
import { readInputs } from './inputs.js';
import { TARGETS } from './targets.js';

for (const [name, target] of Object.entries(TARGETS))
  t.test(`${name} stands what was right, what has reached its code, and what was found`, async (t) => {
    t.teardown(() => target.close?.());
    const inputs = [
      ...target.seeds.map((seed) => Buffer.from(seed)),
      ...readInputs('found', name),
      ...readInputs('corpus', name),
    ];
    for (const input of inputs)
      try {
        await target.run(Buffer.from(input));
      } catch (thrown) {
        t.fail(`${JSON.stringify(input.toString('latin1'))}: ${thrown}`);
      }
    t.pass(`${inputs.length} inputs`);
  });
