import { chmodSync, existsSync, readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import t, { type Test } from 'tap';
import { makeDashboardCommand, systemOpener } from '../../../host/cli/dashboard.js';
import { formatDashboard } from '../../../host/cli/dashboard-option.js';
import { portferry } from '../../../host/cli/program.js';
import { callProgram, type ProgramOutcome } from '../../fixtures/call-program.js';
import { shortFolder } from '../../fixtures/short-folder.js';
import { ObservedHost } from '../control/fixtures/observed-host.js';

const ADDRESS = 'http://127.0.0.1:7678/#token=secret';

/** Calls the command with an opener that runs a script: it finds the address in $1, and its folder in $0. */
async function call(
  t: Test,
  script: string,
  ...args: string[]
): Promise<ProgramOutcome & { folder: string }> {
  const host = await ObservedHost.start(t);
  const folder = shortFolder(t);
  const opener = join(folder, 'opener');
  writeFileSync(opener, `#!/bin/sh\n${script}\n`);
  chmodSync(opener, 0o755);
  const program = { ...portferry, commands: [makeDashboardCommand([opener, '--'])] };
  const outcome = await callProgram(program, ['dashboard', '--control', host.path, ...args]);
  return { ...outcome, folder };
}

t.test('the address is printed, and opened without a shell', async (t) => {
  const { folder, ...outcome } = await call(t, 'printf %s "$1 $2" > "$(dirname "$0")/opened"');
  t.same(outcome, { code: 0, stdout: `${ADDRESS}\n`, stderr: '' });
  t.equal(readFileSync(join(folder, 'opened'), 'utf8'), `-- ${ADDRESS}`);
});

t.test('or only printed', async (t) => {
  const touch = 'touch "$(dirname "$0")/opened"';
  const { folder, ...outcome } = await call(t, touch, '--no-open', '--json');
  t.match(outcome, { code: 0, stderr: '' });
  t.same(JSON.parse(outcome.stdout), { address: ADDRESS, origin: 'http://127.0.0.1:7678' });
  t.notOk(existsSync(join(folder, 'opened')));
});

t.test('an opener that fails is only a warning', async (t) => {
  t.match(await call(t, 'exit 3'), {
    code: 0,
    stdout: `${ADDRESS}\n`,
    stderr:
      /^portferry: warning: .*opener could not open it \(exit code 3\); open the address in a browser yourself\n$/,
  });
  const host = await ObservedHost.start(t);
  const program = { ...portferry, commands: [makeDashboardCommand(['no-such-opener'])] };
  t.match(await callProgram(program, ['dashboard', '--control', host.path]), {
    code: 0,
    stderr: /there is no no-such-opener on PATH to open it; open the address/,
  });
  const forbidden = { ...portferry, commands: [makeDashboardCommand(['/'])] };
  t.match(await callProgram(forbidden, ['dashboard', '--control', host.path]), { code: 0, stderr: /EACCES/ });
});

t.test('an opener that stays, as a browser does that it starts, is not waited for', async (t) => {
  const { code, stderr } = await call(t, 'exec sleep 5');
  t.same({ code, stderr }, { code: 0, stderr: '' });
});

t.test('what a system opens addresses with', async (t) => {
  t.same(systemOpener('darwin'), ['open']);
  t.same(systemOpener('linux'), ['xdg-open']);
  t.same(formatDashboard('http://[::1]:1'), "dashboard http://[::1]:1/ ('portferry dashboard' opens it)");
});

t.test('no host, no address', async (t) => {
  const nowhere = `${shortFolder(t)}/none.sock`;
  t.match(await callProgram(portferry, ['dashboard', '--control', nowhere]), {
    code: 1,
    stdout: '',
    stderr: /no portferry host answers/,
  });
});
