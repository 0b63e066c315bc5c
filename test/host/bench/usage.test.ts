import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { chmodSync, mkdirSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import t, { type Test } from 'tap';
import { parsePsLine, parseStat, readProc, usageOf } from '../../../host/bench/usage.js';
import { shortFolder } from '../../fixtures/short-folder.js';

const MIB = 1024 * 1024;

const stat = (name: string, pid = 42, parent = 7): string =>
  `${pid} (${name}) S ${parent} 42 42 0 -1 4194560 100 0 0 0 250 50 30 20 20 0 1 0 12345 1000 200`;

/** A shell and a child of its, until the test ends. */
async function startFamily(t: Test): Promise<{ shell: number; child: number }> {
  const shell = spawn('sh', ['-c', 'sleep 1000 & echo $!; wait'], {
    stdio: ['ignore', 'pipe', 'ignore'],
    detached: true,
  });
  const pid = shell.pid ?? 0;
  t.teardown(() => process.kill(-pid, 'SIGKILL'));
  const [line] = await once(shell.stdout, 'data');
  return { shell: pid, child: Number(line) };
}

t.test('a process in /proc, whatever its name', async (t) => {
  const status = 'Name:\tx\nVmPeak:\t  9999 kB\nVmRSS:\t    2048 kB\nThreads:\t1\n';
  const entry = { pid: 42, parent: 7, cpuSeconds: 3.5, residentBytes: 2 * MIB };
  for (const name of ['node', 'tmux: server', 'a) S 1 2 (b', ') R 9 9', '(sd-pam)', ''])
    t.same(parseStat(stat(name), status), entry, name);
  t.equal(parseStat(stat('kthreadd'), 'Name:\tkthreadd\n').residentBytes, 0, 'the kernel’s have no memory');
});

t.test('lines of ps, as systems print them', async (t) => {
  const entry = (cpuSeconds: number) => [{ pid: 123, parent: 1, residentBytes: 2 * MIB, cpuSeconds }];
  t.same(parsePsLine('  123     1   2048   0:00.05'), entry(0.05), 'macOS');
  t.same(parsePsLine('  123     1   2048   1:02.50'), entry(62.5));
  t.same(parsePsLine('  123     1   2048 100:00.00'), entry(6000), 'minutes go on');
  t.same(parsePsLine('123 1 2048 00:01:02'), entry(62), 'Linux');
  t.same(parsePsLine('123 1 2048 1-02:00:01'), entry(86_400 + 7201), 'after a day');
  t.same(parsePsLine(''), []);
  t.same(parsePsLine('  123  1  2048'), []);
});

t.test('a process counts with its descendants, and no other does', async (t) => {
  const { shell, child } = await startFamily(t);
  const [both, one, own] = [await usageOf([shell]), await usageOf([child]), await usageOf([process.pid])];
  t.ok(one.residentBytes > 0 && both.residentBytes > one.residentBytes, `${both.residentBytes}`);
  t.ok(own.residentBytes > 10 * MIB && own.cpuSeconds > 0);
  t.same(await usageOf([]), { cpuSeconds: 0, residentBytes: 0 });
});

t.test('a process that ends while /proc is read is left out', async (t) => {
  const root = shortFolder(t);
  for (const name of ['42', '43', 'self']) mkdirSync(join(root, name));
  writeFileSync(join(root, '42', 'stat'), stat('node'));
  writeFileSync(join(root, '42', 'status'), 'VmRSS:\t1 kB\n');
  t.same([...(await readProc(root)).keys()], [42]);
});

t.test('where there is no /proc, ps is asked', async (t) => {
  const folder = shortFolder(t);
  const ps = join(folder, 'ps');
  writeFileSync(
    ps,
    `#!/bin/sh
[ "$*" = '-axo pid=,ppid=,rss=,time=' ] || exit 1
echo '    0     0  1000   0:09.00'
echo '    1     0  1000   0:08.00'
echo '   50     1  2048   0:01.00'
echo '   51    50  1024   1:00.50'
echo '   60    99  1024   0:07.00'
`,
  );
  chmodSync(ps, 0o755);
  const { PATH } = process.env;
  process.env['PATH'] = `${folder}:${PATH}`;
  t.teardown(() => {
    process.env['PATH'] = PATH;
  });
  t.same(await usageOf([50], 'darwin'), { cpuSeconds: 61.5, residentBytes: 3 * MIB });
});
