import { writeFileSync } from 'node:fs';
import { join } from 'node:path';
import t, { type Test } from 'tap';
import type { ServiceDefinition } from '../../../host/service/definition.js';
import type { CommandResult, RunCommand } from '../../../host/service/run-command.js';
import { Systemd } from '../../../host/service/systemd.js';
import { commandOfUnit, systemdUnit, unitName } from '../../../host/service/systemd-unit.js';
import { shortFolder } from '../../fixtures/short-folder.js';

const DONE: CommandResult = { code: 0, stdout: '', stderr: '' };
const RUNNING =
  'ActiveState=active\nMainPID=42\nActiveEnterTimestampMonotonic=1\nResult=success\nExecMainCode=0\n';

interface Setup {
  systemd: Systemd;
  calls: string[];
  answers: Map<string, CommandResult>;
  definition: ServiceDefinition;
  unit: string;
}

function setUp(t: Test, notifies = true): Setup {
  const home = shortFolder(t);
  const calls: string[] = [];
  const answers = new Map<string, CommandResult>([['show', { ...DONE, stdout: RUNNING }]]);
  const run: RunCommand = async (file, args) => {
    calls.push([file, ...args].join(' '));
    return answers.get(args[1] ?? '') ?? DONE;
  };
  return {
    systemd: new Systemd({ environment: { HOME: home }, run, notifies }),
    calls,
    answers,
    definition: {
      name: 'host',
      command: [process.execPath, import.meta.filename, '--forward', 'a "b" \\ 100% $HOME\n'],
      environment: { PATH: '/a b:/c%d' },
      logPath: join(home, 'log'),
      home,
    },
    unit: join(home, '.config/systemd/user/portferry-host.service'),
  };
}

t.test('what stands in a unit file is what was meant', (t) => {
  const { systemd, definition } = setUp(t);
  const text = systemd.render(definition);
  t.same(commandOfUnit(text), definition.command);
  t.match(text, /^Environment="PATH=\/a b:\/c%%d"$/m);
  t.match(text, /^Type=notify\nNotifyAccess=main$/m);
  t.match(setUp(t, false).systemd.render({ ...definition, name: 'x' }), /Type=exec\nExecStart/);
  const command = ['/a', 'line\r\nbreaks\u2028 of any kind'] as const;
  t.same(commandOfUnit(systemdUnit({ ...definition, command }, true)), command);
  t.equal(commandOfUnit('[Service]\n'), undefined);
  t.equal(unitName('work'), 'portferry-host-work.service');
  t.end();
});

t.test('install, start, stop and uninstall', async (t) => {
  const { systemd, calls, definition, unit } = setUp(t);
  await t.rejects(systemd.start('host'), { message: /is not there: install the service with/ });
  await t.rejects(systemd.stop('host'), { message: /is not there/ });
  t.equal(await systemd.uninstall('host'), false);
  t.match(await systemd.state('host'), { file: unit, installed: false, running: false });
  t.same(calls, []);
  await systemd.install(definition);
  t.same(calls, [
    'systemctl --user daemon-reload',
    'systemctl --user enable portferry-host.service',
    'systemctl --user reset-failed portferry-host.service',
    'systemctl --user restart portferry-host.service',
  ]);
  t.match(await systemd.state('host'), { installed: true, running: true, pid: 42, since: /^\d{4}-/ });
  await systemd.start('host');
  await systemd.stop('host');
  t.same(calls.slice(-2), [
    'systemctl --user start portferry-host.service',
    'systemctl --user stop portferry-host.service',
  ]);
  t.equal(await systemd.uninstall('host'), true);
});

t.test('how it ended last, and what is wrong with it', async (t) => {
  const { systemd, answers, definition, unit } = setUp(t);
  await systemd.install(definition);
  const ended = (stdout: string): void => void answers.set('show', { ...DONE, stdout });
  ended('ActiveState=failed\nExecMainCode=1\nExecMainStatus=2\nResult=exit-code\n');
  t.match(await systemd.state('host'), { running: false, lastExit: 'exit code 2' });
  ended('ActiveState=failed\nExecMainCode=2\nExecMainStatus=9\nResult=signal\n');
  t.match(await systemd.state('host'), { lastExit: 'signal 9' });
  ended('ActiveState=failed\nExecMainCode=2\nExecMainStatus=15\nResult=timeout\n');
  t.match(await systemd.state('host'), { lastExit: 'signal 15 (timeout)' });
  ended('ActiveState=inactive\n');
  t.equal((await systemd.state('host')).lastExit, undefined);
  writeFileSync(unit, systemd.render({ ...definition, command: ['/no/node'] }));
  t.match((await systemd.state('host')).problem, /\/no\/node, which it starts, is gone/);
  writeFileSync(unit, '[Service]\n');
  await t.rejects(systemd.start('host'), { message: /it has no ExecStart; install the service again/ });
  t.match((await systemd.state('host')).problem, /it has no ExecStart/);
});

t.test('each failure of systemctl is a sentence', async (t) => {
  const { systemd, answers, definition } = setUp(t);
  answers.set('daemon-reload', {
    code: 1,
    stdout: '',
    stderr: 'Failed to connect to bus: No medium found\n',
  });
  await t.rejects(systemd.install(definition), {
    message: /connect to bus.*; this user has no systemd of its own/,
  });
  answers.set('daemon-reload', { code: 1, stdout: '', stderr: '' });
  await t.rejects(systemd.install(definition), { message: /it gave no reason; portferry service status/ });
});
