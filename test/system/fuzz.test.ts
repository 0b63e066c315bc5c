import { execFile } from 'node:child_process';
import { fileURLToPath } from 'node:url';
import t from 'tap';

const SCRIPT = fileURLToPath(new URL('../../scripts/fuzz.mjs', import.meta.url));

/** The same inputs in each run, as long as the code is the same; some 20 s of one processor's time. */
const SEED = '1';
const RUNS = '500';

t.test(`each target of test/fuzz stands ${RUNS} runs`, { timeout: 280_000 }, async (t) => {
  const args = [SCRIPT, '--seed', SEED, '--runs', RUNS];
  const { failed, output } = await new Promise<{ failed: boolean; output: string }>((resolve) => {
    execFile(process.execPath, args, { maxBuffer: 2 ** 28 }, (error, stdout, stderr) =>
      resolve({ failed: error !== null, output: stdout + stderr }),
    );
  });
  const targets = [...output.matchAll(/^([a-z-]+): (skipped|\d+ runs|FOUND)(.*)$/gm)];
  for (const [line, name, outcome] of targets)
    t.test(`${name}`, { skip: outcome === 'skipped' && line }, async (t) => {
      t.comment(line);
      t.not(outcome, 'FOUND', line);
    });
  t.ok(targets.length > 0, 'targets have run');
  t.notOk(failed, failed ? `npm run fuzz -- --seed ${SEED} --runs ${RUNS}:\n${output}` : 'nothing was found');
});
