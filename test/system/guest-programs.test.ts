import { mkdirSync, readdirSync } from 'node:fs';
import { dirname, join } from 'node:path';
import t, { type Test } from 'tap';
import { Pair } from '../e2e/fixtures/pair.js';
import { type Program, run, startServer } from '../fixtures/programs.js';
import { shortFolder } from '../fixtures/short-folder.js';
import { checksumOf, pattern } from '../protocol/fixtures/observer.js';
import { copyGuestProgram, startGuestProgram } from './fixtures/guest-programs.js';
import { installNode } from './fixtures/node-release.js';

const BYTES = 32 * 1024 * 1024;
/** The oldest release that is supported, and the newest. */
const RELEASES = ['20.19.0', '26'];

/** Sends BYTES through a pair with this guest, and gets them back. */
async function transfer(t: Test, startGuest: (channel: string) => Program): Promise<Program> {
  const port = await startServer(t, (socket) => void socket.pipe(socket));
  const pair = new Pair(t);
  pair.startHost('--forward', `127.0.0.1:0:${port}`);
  const guest = startGuest(pair.channel);
  await pair.up();
  const client = await pair.connect(port);
  const sent = pattern(BYTES);
  client.socket.end(sent);
  t.equal(await client.checksum(), checksumOf(sent), 'what came back is what was sent');
  return guest;
}

/** It has its native code with it, and leaves nothing of it behind. */
async function carriesKoffi(t: Test, guest: Program, temporary: string): Promise<void> {
  await guest.line(/"resetsAtDeath":true/);
  t.same(readdirSync(temporary), [], 'nothing is left in the folder for temporary files');
}

/** What a program says of how it was built. */
async function buildOf(t: Test, ...command: string[]): Promise<unknown> {
  const { output } = await run(t, 'env', '-u', 'NODE_OPTIONS', ...command, '--version', '--json');
  return JSON.parse(output).build;
}

for (const release of RELEASES) {
  t.test(`the guest's single file needs nothing but Node ${release}`, async (t) => {
    const node = await installNode(t, release);
    if (node === undefined) return;
    const folder = shortFolder(t);
    const temporary = join(folder, 'tmp');
    mkdirSync(temporary);
    const file = copyGuestProgram('portferry-guest.mjs', folder);
    const variables = {
      PATH: `${dirname(node)}:/usr/bin:/bin`,
      TMPDIR: temporary,
      PORTFERRY_RUNTIME_DIR: join(folder, 'run'),
      PORTFERRY_DOCKER: 'off',
    };
    const guest = await transfer(t, (channel) =>
      startGuestProgram(t, [file], variables, ['--connect', channel]),
    );
    await carriesKoffi(t, guest, temporary);
    t.equal(guest.count(/warning/i), 0, 'Node warns of nothing');
    t.equal(await guest.stop('SIGTERM'), 0);
    t.equal(await buildOf(t, node, file), 'single file');
  });
}

t.test('the single executable needs no Node, and none of its files', async (t) => {
  const folder = shortFolder(t);
  const temporary = join(folder, 'tmp');
  mkdirSync(temporary);
  const program = copyGuestProgram('portferry-guest', folder);
  const variables = {
    TMPDIR: temporary,
    PORTFERRY_RUNTIME_DIR: join(folder, 'run'),
    PORTFERRY_DOCKER: 'off',
  };
  const guest = await transfer(t, (channel) =>
    startGuestProgram(t, [program], variables, ['--connect', channel]),
  );
  await carriesKoffi(t, guest, temporary);
  t.equal(guest.count(/warning/i), 0);
  t.equal(await guest.stop('SIGTERM'), 0);
  t.match(await run(t, program, '--version'), { outcome: 0, output: /^\d+\.\d+\.\d+\nNode\.js v/ });
  t.equal(await buildOf(t, program), 'executable');
  t.match(await run(t, program, '--nonsense'), { outcome: 2, output: /^portferry-guest: unknown argument/ });
});
