import { writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import t, { type Test } from 'tap';
import { Exchange, Upload } from '../../../host/bench/near-end.js';
import { findByVersion, programFile } from '../../../host/bench/rivals/find.js';
import { makePortferry } from '../../../host/bench/rivals/portferry.js';
import { Programs, startPrograms } from '../../../host/bench/rivals/programs.js';
import type { Found, Rival } from '../../../host/bench/rivals/rival.js';
import { RIVALS } from '../../../host/bench/rivals/rivals.js';
import { VERSION } from '../../../protocol/program/version.js';
import { startFarEnd } from '../../fixtures/far-end.js';
import { freePort } from '../../fixtures/free-ports.js';
import { shortFolder } from '../../fixtures/short-folder.js';

const STAND_IN = fileURLToPath(new URL('../../fixtures/stand-in.mjs', import.meta.url));
const STAND_INS = ['haproxy', 'socat', 'docker-proxy', 'ssh', 'sshd', 'ssh-keygen', 'vpnkit-forwarder'];

/** Sets a variable of this process until the test ends. */
function setVariable(t: Test, name: string, value: string | undefined): void {
  const before = process.env[name];
  const set = (to: string | undefined): void => {
    if (to === undefined) delete process.env[name];
    else process.env[name] = to;
  };
  set(value);
  t.teardown(() => set(before));
}

/** The only programs on PATH are scripts of these lines. */
function onPath(t: Test, scripts: Record<string, string>): string {
  const folder = shortFolder(t);
  for (const [name, line] of Object.entries(scripts))
    writeFileSync(join(folder, name), `#!/bin/sh\n${line}\n`, { mode: 0o755 });
  setVariable(t, 'PATH', folder);
  return folder;
}

/** In NODE_OPTIONS tap asks for being loaded, too, which would take its time. */
const standIn = (name: string): string =>
  `unset NODE_OPTIONS; exec '${process.execPath}' '${STAND_IN}' ${name} "$@"`;

function standInsOnPath(t: Test, behaviour?: string): void {
  onPath(t, Object.fromEntries(STAND_INS.map((name) => [name, standIn(name)])));
  setVariable(t, 'STAND_IN', behaviour);
}

const portferry = makePortferry({
  host: ['/bin/sh', '-c', standIn('portferry'), 'sh'],
  guest: ['/bin/sh', '-c', standIn('portferry-guest'), 'sh'],
});

/** How many processes each rival is. */
const PROCESSES = new Map<Rival, number>(
  RIVALS.flatMap((rival): [Rival, number][] => {
    if (rival.name === 'direct') return [];
    if (rival.name === 'portferry') return [[portferry, 2]];
    return [[rival, rival.name === 'docker-proxy' ? 1 : 2]];
  }),
);

t.test('a program that is not on PATH is absent, with its name', async (t) => {
  const folder = onPath(t, {});
  t.same(await findByVersion('no-such-program', '-v'), { absent: 'no no-such-program on PATH' });
  writeFileSync(join(folder, 'not-executable'), '');
  t.same(await findByVersion('not-executable', '-v'), { absent: 'no not-executable on PATH' });
  setVariable(t, 'PATH', undefined);
  t.same(await findByVersion('no-such-program', '-v'), { absent: 'no no-such-program on PATH' });
  t.equal(await programFile('no-such-program'), 'no-such-program');
});

t.test('a version is the first line that has one, wherever it is printed', async (t) => {
  const folder = onPath(t, {
    out: '[ "$1" = -v ] && echo out && echo "out version 1.2"',
    err: 'echo "err_3.4p1, other 5.6" >&2',
    none: 'echo none',
    broken: 'echo "it is broken" >&2; exit 1',
  });
  t.equal(await programFile('out'), join(folder, 'out'));
  const find = (name: string): Promise<Found> => findByVersion(name, '-v');
  t.same(await find('out'), { version: 'out version 1.2' });
  t.same(await find('err'), { version: 'err_3.4p1, other 5.6' });
  t.same(await find('none'), { version: '' });
  t.match(await find('broken'), { absent: /^broken does not run: .*it is broken/s });
  t.same(await findByVersion('broken'), { version: '' }, 'one that has no version to tell is not called');
});

t.test('each rival is found', async (t) => {
  standInsOnPath(t);
  const found = await Promise.all(RIVALS.map(async (rival) => [rival.name, await rival.find()]));
  t.same(found, [
    ['direct', { version: '' }],
    ['portferry', { version: VERSION }],
    ['vpnkit-forwarder', { version: '' }],
    ['haproxy', { version: 'HAProxy version 2.6.12 2023/12/16' }],
    ['socat', { version: 'socat version 1.8.0.0 on Jan 1' }],
    ['ssh', { version: 'OpenSSH_9.6p1, OpenSSL 3.0.13' }],
    ['docker-proxy', { version: '' }],
  ]);
});

t.test('ssh needs all of its programs', async (t) => {
  onPath(t, { ssh: standIn('ssh'), sshd: standIn('sshd') });
  const openssh = RIVALS.find(({ name }) => name === 'ssh');
  t.same(await openssh?.find(), { absent: 'no ssh-keygen on PATH' });
});

t.test('each rival forwards to its target, and is gone when it is stopped', async (t) => {
  standInsOnPath(t);
  const target = await startFarEnd(t);
  for (const [rival, processes] of PROCESSES) {
    const { endpoint, pids, stop } = await rival.start(target, shortFolder(t));
    t.equal(pids.length, processes, rival.name);
    await t.resolves(new Upload(endpoint).transfer(100_000));
    await stop();
    t.ok(pids.every(isGone));
    await t.rejects(new Exchange(endpoint).ask(), /ECONNREFUSED/);
  }
});

t.test('a rival that does not start says why', async (t) => {
  const target = await startFarEnd(t);
  for (const [rival] of PROCESSES) {
    standInsOnPath(t, `die ${rival.name} there is no luck`);
    await t.rejects(
      rival.start(target, shortFolder(t)),
      /ended with exit code 1: there is no luck/,
      rival.name,
    );
  }
});

t.test('vpnkit-forwarder that refuses to expose a port has not started', async (t) => {
  standInsOnPath(t, 'refuse');
  const vpnkit = RIVALS.find(({ name }) => name === 'vpnkit-forwarder');
  await t.rejects(async () => vpnkit?.start(await startFarEnd(t), shortFolder(t)), {
    message: 'vpnkit-forwarder does not expose a port: status 500',
  });
});

t.test('a program that never listens is given up, with its last words', async (t) => {
  const programs = new Programs(10);
  const endpoint = { host: '127.0.0.1', port: await freePort() };
  const quiet = ['/bin/sh', '-c', 'exec sleep 1000'] as const;
  await t.rejects(programs.start(quiet, endpoint), { message: '/bin/sh does not listen after 0.01 s' });
  await programs.stop();
});

t.test('when a later program fails, the earlier ones are stopped', async (t) => {
  let pids: number[] = [];
  const failing = startPrograms(async (programs) => {
    standInsOnPath(t);
    const channel = join(shortFolder(t), 'c.sock');
    await programs.start([await programFile('vpnkit-forwarder'), '-data-listen', channel], channel);
    pids = programs.pids;
    throw new Error('no second one');
  });
  await t.rejects(failing, { message: 'no second one' });
  t.equal(pids.length, 1);
  t.ok(pids.every(isGone));
});

t.test('a program that cannot be started has no process', async (t) => {
  const programs = new Programs();
  const endpoint = { host: '127.0.0.1', port: await freePort() };
  const starting = programs.start(['/nowhere/at/all'], endpoint);
  await t.rejects(starting, /^\/nowhere\/at\/all cannot be started: .*ENOENT/);
  t.same(programs.pids, []);
  await programs.stop();
});

function isGone(pid: number): boolean {
  try {
    process.kill(pid, 0);
    return false;
  } catch {
    return true;
  }
}
