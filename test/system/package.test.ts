import { cpSync, existsSync, readdirSync, writeFileSync } from 'node:fs';
import { delimiter, dirname, join } from 'node:path';
import { fileURLToPath } from 'node:url';
import t, { type Test } from 'tap';
import { Program, requireProgram, run, temporaryFolder } from '../fixtures/programs.js';
import { installNode } from './fixtures/node-release.js';

/** The oldest release that is supported, and the newest of each line. */
const RELEASES = ['20.19.0', '22', '24', '26'];
const CHECKOUT = fileURLToPath(new URL('../../', import.meta.url));

/** Runs npm in a folder, by the Node that stands first on PATH, to its end. */
async function npm(
  t: Test,
  folder: string,
  args: readonly string[],
  node = process.execPath,
): Promise<{ outcome: number | NodeJS.Signals; output: string }> {
  const PATH = [dirname(node), process.env['PATH']].join(delimiter);
  // What npm was told about tests, and by whoever runs them, is not to count here.
  const settings = Object.keys(process.env).filter((name) => /^(npm_|NODE_OPTIONS$)/.test(name));
  const unset = settings.flatMap((name) => ['-u', name]);
  const program = Program.start(t, 'env', [...unset, `PATH=${PATH}`, 'npm', '--prefix', folder, ...args]);
  return { outcome: await program.exit(), output: program.lines.join('\n') };
}

/** What a checkout has, without what was installed and built in it. */
function copyCheckout(t: Test): string {
  const folder = temporaryFolder(t);
  const left = ['node_modules', 'dist', '.git', '.tap'];
  for (const name of readdirSync(CHECKOUT).filter((name) => !left.includes(name)))
    cpSync(join(CHECKOUT, name), join(folder, name), { recursive: true });
  return folder;
}

for (const release of RELEASES) {
  t.test(`the package can be installed on Node ${release} without a warning of its engine`, async (t) => {
    const node = await installNode(t, release);
    if (node === undefined) return;
    const folder = temporaryFolder(t);
    const packed = await npm(t, CHECKOUT, [
      'pack',
      CHECKOUT,
      '--pack-destination',
      folder,
      '--ignore-scripts',
      '--silent',
    ]);
    t.equal(packed.outcome, 0, packed.output);
    const [tarball = ''] = readdirSync(folder);
    writeFileSync(join(folder, 'package.json'), '{"name": "consumer", "version": "1.0.0"}');
    const installed = await npm(t, folder, ['install', '--engine-strict', join(folder, tarball)], node);
    t.equal(installed.outcome, 0, installed.output);
    t.notMatch(installed.output, /EBADENGINE|deprecated/);
    for (const program of ['portferry', 'portferry-guest']) {
      const bin = join(folder, 'node_modules/.bin', program);
      const called = await run(
        t,
        'env',
        '-u',
        'NODE_OPTIONS',
        `PATH=${dirname(node)}:/usr/bin:/bin`,
        bin,
        '--version',
      );
      t.match(called, { outcome: 0, output: /^\d+\.\d+\.\d+$/ });
    }
  });
}

for (const release of ['12', '18']) {
  t.test(`Node ${release} is too old, which is one line and no stack`, async (t) => {
    const node = await installNode(t, release);
    if (node === undefined) return;
    for (const [name, main] of [
      ['portferry', 'host/main.js'],
      ['portferry-guest', 'guest/main.js'],
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
      t.equal(called.outcome, 1);
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
  const { outcome, output } = await npm(t, folder, ['ci', '--no-audit']);
  t.equal(outcome, 0, output);
  // A setting of the machine that this npm does not know is no fault of the package.
  t.notMatch(output.replaceAll(/npm warn Unknown .*/g, ''), /warn/i);
  t.ok(existsSync(join(folder, 'dist/host/main.js')));
});

t.test('npm ci without the development dependencies works', async (t) => {
  if (requireProgram(t, 'npm') === undefined) return;
  const folder = copyCheckout(t);
  const { outcome, output } = await npm(t, folder, ['ci', '--omit=dev', '--no-audit']);
  t.equal(outcome, 0, output);
  t.notOk(existsSync(join(folder, 'dist')));
});
