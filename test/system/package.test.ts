import { readdirSync, writeFileSync } from 'node:fs';
import { dirname, join } from 'node:path';
import t from 'tap';
import { run, temporaryFolder } from '../fixtures/programs.js';
import { installNode } from './fixtures/node-release.js';
import { CHECKOUT, runNpm } from './fixtures/npm.js';

/** The oldest release that is supported, and the newest of each line. */
const RELEASES = ['20.19.0', '22', '24', '26'];

for (const release of RELEASES) {
  t.test(`the package can be installed on Node ${release} without a warning of its engine`, async (t) => {
    const node = await installNode(t, release);
    if (node === undefined) return;
    const folder = temporaryFolder(t);
    const packed = await runNpm(t, CHECKOUT, [
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
    const installed = await runNpm(t, folder, ['install', '--engine-strict', join(folder, tarball)], node);
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
