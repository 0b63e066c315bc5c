import t from 'tap';
import { run, temporaryFolder } from '../fixtures/programs.js';
import { installNode } from './fixtures/node-release.js';
import { install, pack } from './fixtures/package.js';

/** The oldest release that is supported, and the newest of each line. */
const RELEASES = ['20.19.0', '22', '24', '26'];

t.test('the package contains what its programs need, and nothing else', async (t) => {
  const tarball = await pack(t, temporaryFolder(t));
  const { output } = await run(t, 'tar', '-tzf', tarball);
  // The page's files have names of their content.
  const files = output
    .split('\n')
    .map((line) => line.replace('package/', '').replace(/(\/page\/\w+)-[0-9a-f]{8}\./, '$1.'));
  const expected = [
    'CHANGELOG.md',
    'LICENSE',
    'README.md',
    'dist/guest/main.js',
    'dist/guest/start.js',
    'dist/host/bench/far-end-process.js',
    'dist/host/bench/saturate.js',
    'dist/host/dashboard/page/icon.svg',
    'dist/host/dashboard/page/index.html',
    'dist/host/dashboard/page/main.css',
    'dist/host/dashboard/page/main.js',
    'dist/host/enter.js',
    'dist/host/main.js',
    'dist/host/start.js',
    'dist/libraries/fastify.js',
    'dist/libraries/hdr-histogram-js.js',
    'dist/libraries/pino-pretty.js',
    'dist/libraries/plist.js',
    'dist/libraries/prom-client.js',
    'dist/libraries/ws.js',
    'dist/libraries/yargs.js',
    'dist/licences.txt',
    'dist/package.json',
    'dist/portferry-guest.mjs',
    'guest/packaging/Dockerfile',
    'guest/packaging/Dockerfile.dockerignore',
    'guest/packaging/cloud-init.yaml',
    'guest/packaging/lima.yaml',
    'guest/packaging/linuxkit.yml',
    'guest/packaging/portferry-guest.openrc',
    'guest/packaging/portferry-guest.service',
    'host/capture/portferry.lua',
    'man/portferry-guest.1',
    'man/portferry.1',
    'package.json',
    'protocol/SPEC.md',
  ];
  // The userland proxy is there where it was built.
  const others = files.filter((name) => name !== 'dist/guest/portferry-proxy');
  t.same(others.sort(), expected.sort());
});

for (const release of RELEASES) {
  t.test(`the package can be installed on Node ${release} without a warning of its engine`, async (t) => {
    const node = await installNode(t, release);
    if (node === undefined) return;
    const call = await install(t, temporaryFolder(t), node);
    for (const program of ['portferry', 'portferry-guest']) {
      const [command, args] = call(program, '--version');
      t.match(await run(t, command, ...args), { outcome: 0, output: /^\d+\.\d+\.\d+\nNode\.js v/ });
      const [, more] = call(program, '--version', '--json');
      t.match(JSON.parse((await run(t, command, ...more)).output), { name: program, build: 'package' });
    }
  });
}
