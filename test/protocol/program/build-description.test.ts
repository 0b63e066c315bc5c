import { pathToFileURL } from 'node:url';
import t from 'tap';
import { portferryGuest } from '../../../guest/cli.js';
import { portferry } from '../../../host/cli/program.js';
import { BUILD, type BuildKind, buildKind } from '../../../protocol/program/build-description.js';
import { VERSION } from '../../../protocol/program/version.js';
import { FEATURES } from '../../../protocol/wire/handshake.js';
import { callProgram } from '../../fixtures/call-program.js';

t.test('how a program has come here is told by the place of its code', async (t) => {
  const places: [path: string, kind: BuildKind][] = [
    ['/x/dist/protocol/program/build-description.js', 'package'],
    ['/x/protocol/program/build-description.ts', 'source'],
    ['/x/portferry-guest.mjs', 'single file'],
    ['/x/portferry-guest', 'executable'],
  ];
  for (const [path, kind] of places)
    t.equal(buildKind(pathToFileURL(path).href, '/x/portferry-guest'), kind, path);
});

t.test('--version --json of both programs is one document, and without --json text', async (t) => {
  for (const program of [portferry, portferryGuest]) {
    const expected = {
      ...{ name: program.name, version: VERSION, build: 'source', node: process.version },
      ...{ platform: process.platform, arch: process.arch, features: FEATURES },
    };
    for (const args of [
      ['--version', '--json'],
      ['--json', '--version'],
    ]) {
      const { code, stdout, stderr } = await callProgram(program, args, { PORTFERRY_HLOD: '1' });
      t.match({ code, stderr }, { code: 0, stderr: '' });
      t.same(JSON.parse(stdout), expected);
    }
    const { stdout } = await callProgram(program, ['--version']);
    t.equal(
      stdout,
      `${VERSION}\nNode.js ${process.version}, ${BUILD.platform} ${BUILD.arch}, source\nprotocol features: ${FEATURES.join(', ')}\n`,
    );
  }
});
