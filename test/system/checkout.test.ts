import { cpSync, existsSync, readdirSync } from 'node:fs';
import { join } from 'node:path';
import t, { type Test } from 'tap';
import { requireProgram, run, temporaryFolder } from '../fixtures/programs.js';
import { installNode } from './fixtures/node-release.js';
import { CHECKOUT, runNpm } from './fixtures/npm.js';

/** What a checkout has, without what was installed and built in it. */
function copyCheckout(t: Test): string {
  const folder = temporaryFolder(t);
  const left = ['node_modules', 'build', 'dist', '.git', '.tap'];
  for (const name of readdirSync(CHECKOUT).filter((name) => !left.includes(name)))
    cpSync(join(CHECKOUT, name), join(folder, name), { recursive: true });
  return folder;
}

for (const release of ['12', '14', '16', '18']) {
  t.test(`Node ${release} is too old, which is one line and no stack`, async (t) => {
    const node = await installNode(t, release);
    if (node === undefined) return;
    for (const [name, main] of [
      ['portferry', 'host/main.js'],
      ['portferry-guest', 'guest/main.js'],
      ['portferry-guest', 'portferry-guest.mjs'],
    ] as const) {
      const called = await run(
        t,
        'env',
        '-u',
        'NODE_OPTIONS',
        node,
        join(CHECKOUT, 'dist', main),
        '--version',
      );
      t.equal(called.outcome, 1, main);
      t.match(
        called.output,
        new RegExp(`^${name}: this is Node.js v${release}\\S+, which is too old: [^\n]+$`),
      );
    }
  });
}

t.test('npm ci of a checkout prints no warning, and builds the programs', async (t) => {
  if (requireProgram(t, 'npm') === undefined) return;
  const folder = copyCheckout(t);
  const { outcome, output } = await runNpm(t, folder, ['ci', '--no-audit']);
  t.equal(outcome, 0, output);
  // A setting of the machine that this npm does not know is no fault of the package.
  t.notMatch(output.replaceAll(/npm warn Unknown .*/g, ''), /warn/i);
  t.ok(existsSync(join(folder, 'dist/host/main.js')));
});

t.test('npm ci without the development dependencies works', async (t) => {
  if (requireProgram(t, 'npm') === undefined) return;
  const folder = copyCheckout(t);
  const { outcome, output } = await runNpm(t, folder, ['ci', '--omit=dev', '--no-audit']);
  t.equal(outcome, 0, output);
  t.notOk(existsSync(join(folder, 'dist')));
});
