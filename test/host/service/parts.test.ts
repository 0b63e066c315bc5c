import { chmodSync, existsSync, mkdirSync, readFileSync, rmSync, symlinkSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import t from 'tap';
import { checkName, homeOf, serviceEnvironment, serviceLogPath } from '../../../host/service/definition.js';
import { LogFile } from '../../../host/service/log-file.js';
import { tailLog } from '../../../host/service/log-tail.js';
import { lastingNodePath } from '../../../host/service/node-path.js';
import { runCommand } from '../../../host/service/run-command.js';
import { loadNotifyCalls, type NotifyCalls, sdNotify } from '../../../host/service/sd-notify.js';
import { ServiceFile } from '../../../host/service/service-file.js';
import { UsageError } from '../../../protocol/errors.js';
import { shortFolder } from '../../fixtures/short-folder.js';

const FORMAT = { entry: 'Line', commandOf: (text: string) => [text] };

t.test('names, and what a service keeps of its environment', (t) => {
  checkName('work-2');
  for (const name of ['', 'Work', '../x', '-x', 'x'.repeat(33)]) t.throws(() => checkName(name), UsageError);
  t.same(
    serviceEnvironment({
      PATH: '/bin',
      HOME: '/h',
      PORTFERRY_HOLD: '3',
      SECRET: 'x',
      PORTFERRY_X: undefined,
    }),
    {
      PATH: '/bin',
      PORTFERRY_HOLD: '3',
      PORTFERRY_X: '',
    },
  );
  t.ok(homeOf({}));
  t.equal(serviceLogPath('a', 'darwin', { HOME: '/h' }), '/h/Library/Logs/portferry/a.log');
  t.equal(serviceLogPath('a', 'linux', { HOME: '/h' }), '/h/.local/state/portferry/a.log');
  t.equal(serviceLogPath('a', 'linux', { XDG_STATE_HOME: '/s' }), '/s/portferry/a.log');
  t.end();
});

t.test('the path of Node.js outlasts an upgrade where that can be had', (t) => {
  const cellar = '/opt/homebrew/Cellar/node@22/22.11.0/bin/node';
  const link = '/opt/homebrew/opt/node@22/bin/node';
  t.same(
    lastingNodePath(cellar, (a, b) => a === link && b === cellar),
    { path: link, caveat: undefined },
  );
  t.equal(lastingNodePath(cellar, () => false).path, cellar);
  t.equal(lastingNodePath(cellar).path, cellar, 'the link is not there');
  const brew = shortFolder(t);
  for (const folder of ['Cellar/node/22.0.0/bin', 'opt']) mkdirSync(join(brew, folder), { recursive: true });
  writeFileSync(join(brew, 'Cellar/node/22.0.0/bin/node'), '');
  symlinkSync('../Cellar/node/22.0.0', join(brew, 'opt/node'));
  t.equal(lastingNodePath(join(brew, 'Cellar/node/22.0.0/bin/node')).path, join(brew, 'opt/node/bin/node'));
  const own = lastingNodePath('/Users/x/.nvm/versions/node/v22.1.0/bin/node');
  t.equal(own.path, '/Users/x/.nvm/versions/node/v22.1.0/bin/node');
  t.match(own.caveat, /of nvm at .*install the service again/);
  t.same(lastingNodePath('/usr/bin/node'), { path: '/usr/bin/node', caveat: undefined });
  t.end();
});

t.test('a log puts itself aside, and keeps the newest', (t) => {
  const path = join(shortFolder(t), 'logs', 'host.log');
  const log = new LogFile(path, { maxBytes: 10, keptFiles: 2 });
  for (const line of ['one one one\n', 'two two two\n', 'three three\n', 'four\n']) log.write(line);
  log.close();
  t.equal(readFileSync(path, 'utf8'), 'four\n');
  t.equal(readFileSync(`${path}.1`, 'utf8'), 'three three\n');
  t.equal(readFileSync(`${path}.2`, 'utf8'), 'two two two\n');
  t.notOk(existsSync(`${path}.3`));
  const again = new LogFile(path, { maxBytes: 10, keptFiles: 2 });
  again.write('five\n');
  again.write('six\n');
  again.close();
  t.equal(readFileSync(path, 'utf8'), 'six\n', 'what was there counts');
  t.end();
});

t.test('a log that cannot be put aside is emptied', (t) => {
  const folder = shortFolder(t);
  const path = join(folder, 'host.log');
  const log = new LogFile(path, { maxBytes: 10, keptFiles: 1 });
  mkdirSync(`${path}.1/full`, { recursive: true });
  log.write('one one one\n');
  log.write('two\n');
  log.close();
  t.equal(readFileSync(path, 'utf8'), 'two\n');
  t.throws(() => new LogFile(join(path, 'x')), { message: /^cannot write the log .*ENOTDIR|EEXIST/ });
  t.end();
});

t.test('a log is no link, and no file of another user', (t) => {
  const folder = t.testdir({ real: 'text' });
  symlinkSync(`${folder}/real`, `${folder}/link`);
  t.throws(() => new LogFile(`${folder}/link`), {
    name: 'OperationError',
    message: /^cannot write the log .*ELOOP/,
  });
  t.intercept(process, 'getuid', { value: () => 4711 });
  t.throws(() => new LogFile(`${folder}/real`), {
    message: /^cannot write the log .*: it belongs to user \d+$/,
  });
  t.equal(readFileSync(`${folder}/real`, 'utf8'), 'text');
  t.end();
});

t.test('lines that a full disk does not take are counted', (t) => {
  if (!existsSync('/dev/full')) {
    t.pass('this system has no /dev/full');
    t.end();
    return;
  }
  const full = new LogFile('/dev/full');
  full.write('lost\n');
  full.write('lost\n');
  full.close();
  t.end();
});

t.test('and told when it takes some again', async (t) => {
  let full = true;
  const written: string[] = [];
  const fs = await import('node:fs');
  const { LogFile: Mocked } = await t.mockImport<typeof import('../../../host/service/log-file.js')>(
    '../../../host/service/log-file.js',
    {
      'node:fs': {
        ...fs,
        writeSync: (_fd: number, text: string) => {
          if (full) throw new Error('ENOSPC');
          written.push(text);
          return text.length;
        },
      },
    },
  );
  const log = new Mocked(join(shortFolder(t), 'log'));
  log.write('a\n');
  log.write('b\n');
  full = false;
  log.write('c\n');
  log.close();
  t.equal(written.length, 2);
  t.match(JSON.parse(written[0] ?? ''), { level: 40, msg: /^2 lines of the log were lost/ });
  t.equal(written[1], 'c\n');
});

t.test('the end of a log, for people', async (t) => {
  const folder = shortFolder(t);
  const path = join(folder, 'log');
  t.same(await tailLog(path, 3), []);
  const line = (msg: string, level = 30): string => JSON.stringify({ level, time: 0, msg });
  writeFileSync(path, [line('a'), line('b', 40), 'no JSON', line('c', 35), ''].join('\n'));
  t.same(await tailLog(path, 3), [
    '1970-01-01T00:00:00.000Z warn  b',
    'no JSON',
    '1970-01-01T00:00:00.000Z 35    c',
  ]);
  writeFileSync(path, `${'x'.repeat(100_000)}\n${line('last')}\n`);
  t.same(await tailLog(path, 3), ['1970-01-01T00:00:00.000Z info  last'], 'no half line');
  await t.rejects(tailLog(folder, 1), { message: /^cannot read the log/ });
});

t.test("a service's file", async (t) => {
  const folder = shortFolder(t);
  const file = new ServiceFile(join(folder, 'a', 'b'), FORMAT);
  t.equal(await file.read(), undefined);
  await file.write('one');
  await file.write('one');
  t.notOk(existsSync(`${file.path}.previous`));
  t.same(await file.command(), ['one']);
  await file.write('two');
  t.equal(readFileSync(`${file.path}.previous`, 'utf8'), 'one');
  t.equal(await file.remove(), true);
  t.equal(await file.remove(), false);
  await t.rejects(new ServiceFile(folder, FORMAT).read(), { message: /^cannot read/ });
  await t.rejects(new ServiceFile(folder, FORMAT).write('x'), { message: /^cannot write/ });
});

t.test('programs that are run', async (t) => {
  t.match(await runCommand('sh', ['-c', 'echo out; echo err >&2; exit 3']), {
    code: 3,
    stdout: 'out\n',
    stderr: 'err\n',
  });
  t.match(await runCommand('true', []), { code: 0 });
  await t.rejects(runCommand('no-such-program', ['x']), {
    message: /there is no program no-such-program on the PATH/,
  });
  const folder = shortFolder(t);
  const script = join(folder, 'script');
  writeFileSync(script, '');
  chmodSync(script, 0o600);
  await t.rejects(runCommand(script, []), { message: /cannot be run: .*EACCES/ });
  rmSync(script);
  await t.rejects(runCommand('sleep', ['100'], 1), { message: /sleep 100 has not ended within 0.001 s/ });
});

t.test('systemd is told', (t) => {
  t.equal(sdNotify('READY=1', undefined), false);
  const sent: { bytes: string; to: string }[] = [];
  let fd = 7;
  const calls: NotifyCalls = {
    socket: () => fd,
    sendto: (_fd, bytes, length, _flags, to) => {
      sent.push({ bytes: bytes.toString(), to: to.toString('latin1') });
      return length;
    },
    close: () => 0,
  };
  t.equal(sdNotify('READY=1', '/run/x', calls), true);
  t.equal(sdNotify('READY=1', '@x', calls), true);
  t.same(sent, [
    { bytes: 'READY=1', to: '\x01\0/run/x' },
    { bytes: 'READY=1', to: '\x01\0\0x' },
  ]);
  t.equal(sdNotify('READY=1', `/${'x'.repeat(200)}`, calls), false);
  fd = -1;
  t.equal(sdNotify('READY=1', '/run/x', calls), false);
  t.equal(
    loadNotifyCalls(() => undefined),
    null,
  );
  t.equal(sdNotify('READY=1', join(shortFolder(t), 'nobody')), false);
  t.end();
});
