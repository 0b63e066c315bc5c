import { readdirSync, writeFileSync } from 'node:fs';
import { dirname, join } from 'node:path';
import t, { type Test } from 'tap';
import { forwardedPort, Program, run, startServer, temporaryFolder } from '../fixtures/programs.js';
import { shortFolder } from '../fixtures/short-folder.js';
import { installNode } from './fixtures/node-release.js';
import { CHECKOUT, runNpm } from './fixtures/npm.js';

/** The oldest release that is supported, and the newest of each line. */
const RELEASES = ['20.19.0', '22', '24', '26'];

/** Makes the package's tarball in a folder. @returns its path */
async function pack(t: Test, folder: string): Promise<string> {
  const args = ['pack', CHECKOUT, '--pack-destination', folder, '--ignore-scripts', '--silent'];
  const packed = await runNpm(t, CHECKOUT, args);
  t.equal(packed.outcome, 0, packed.output);
  return join(folder, readdirSync(folder).find((name) => name.endsWith('.tgz')) ?? '');
}

/** Installs the package into an empty folder. @returns what calls one of its programs with that Node */
async function install(
  t: Test,
  folder: string,
  node: string,
): Promise<(program: string, ...args: string[]) => [command: string, args: string[]]> {
  const tarball = await pack(t, folder);
  writeFileSync(join(folder, 'package.json'), '{"name": "consumer", "version": "1.0.0"}');
  const installed = await runNpm(t, folder, ['install', '--engine-strict', tarball], node);
  t.equal(installed.outcome, 0, installed.output);
  t.notMatch(installed.output, /EBADENGINE|deprecated/);
  const settings = [`PATH=${dirname(node)}:/usr/bin:/bin`, `PORTFERRY_RUNTIME_DIR=${shortFolder(t)}`];
  return (program, ...args) => [
    'env',
    ['-u', 'NODE_OPTIONS', ...settings, join(folder, 'node_modules/.bin', program), ...args],
  ];
}

t.test('the package contains what its programs need, and nothing else', async (t) => {
  const tarball = await pack(t, temporaryFolder(t));
  const { output } = await run(t, 'tar', '-tzf', tarball);
  const files = output.split('\n').map((line) => line.replace('package/', ''));
  const expected = [
    'CHANGELOG.md',
    'LICENSE',
    'README.md',
    'dist/guest/main.js',
    'dist/host/bench/far-end-process.js',
    'dist/host/bench/saturate.js',
    'dist/host/main.js',
    'dist/licences.txt',
    'dist/portferry-guest.mjs',
    'guest/packaging/Dockerfile',
    'guest/packaging/Dockerfile.dockerignore',
    'guest/packaging/cloud-init.yaml',
    'guest/packaging/lima.yaml',
    'guest/packaging/linuxkit.yml',
    'guest/packaging/portferry-guest.openrc',
    'guest/packaging/portferry-guest.service',
    'package.json',
    'protocol/SPEC.md',
  ];
  // Chunks have names of their content; the userland proxy is there where it was built.
  const others = files.filter((name) => !/^dist\/(chunks\/[\w-]+\.js|guest\/portferry-proxy)$/.test(name));
  t.same(others.sort(), expected.sort());
  t.ok(files.length - others.length > 1, 'the chunks are there');
});

for (const release of RELEASES) {
  t.test(`the package can be installed on Node ${release} without a warning of its engine`, async (t) => {
    const node = await installNode(t, release);
    if (node === undefined) return;
    const call = await install(t, temporaryFolder(t), node);
    for (const program of ['portferry', 'portferry-guest']) {
      const [command, args] = call(program, '--version');
      t.match(await run(t, command, ...args), { outcome: 0, output: /^\d+\.\d+\.\d+$/ });
    }
  });
}

t.test("README's commands work from the installed package on the oldest Node", async (t) => {
  const [oldest = ''] = RELEASES;
  const node = await installNode(t, oldest);
  if (node === undefined) return;
  const folder = shortFolder(t);
  const call = await install(t, folder, node);
  const start = (program: string, ...args: string[]): Program => Program.start(t, ...call(program, ...args));
  const done = async (...args: string[]): Promise<string> => {
    const [command, rest] = call('portferry', ...args);
    const { outcome, output } = await run(t, command, ...rest);
    t.equal(outcome, 0, `portferry ${args.join(' ')}: ${output}`);
    return output;
  };
  const port = await startServer(t, (socket) => void socket.end('served\n'));

  const channel = `unix:${join(folder, 'channel.sock')}`;
  const host = start('portferry', 'host', '--listen', channel, '--forward', `127.0.0.1:0:${port}`);
  start('portferry-guest', '--connect', channel, '--docker=off');
  await host.line(/the channel is up/);
  const url = `http://127.0.0.1:${await forwardedPort(host, port)}/`;
  t.match(await run(t, node, '-e', READ, url), { outcome: 0, output: 'served' });
  const exposed = await done('expose', `127.0.0.1:0:${port}`);
  t.match(exposed, /^tcp 127\.0\.0\.1:\d+ → /);
  t.match(await done('list'), new RegExp(`tcp 127.0.0.1:${port}`));
  t.match(await done('status', '--json'), /"state": ?"connected"/);
  await done('unexpose', /127\.0\.0\.1:(\d+)/.exec(exposed)?.[1] ?? '');
  t.match(await done('dump'), /"versions"/);
  t.match(await done('service', 'print', '--platform', 'linux'), /^ExecStart=.*\/main\.js/m);
  t.equal(await host.stop(), 0);

  const up = start('portferry', 'up', '--demo');
  await up.line(/^Try it yourself/);
  t.equal(await up.stop('SIGINT'), 0);

  // The far end is a process of its own, and what keeps it busy a thread.
  const bench = await done('bench', '--quick', '--only', 'latency', '--only', 'portferry');
  t.match(bench, /portferry/);
});

/** Connects to the port of a URL, and writes what comes. */
const READ = `
  const { hostname, port } = new URL(process.argv[1]);
  require('node:net').connect(port, hostname).pipe(process.stdout);`;
