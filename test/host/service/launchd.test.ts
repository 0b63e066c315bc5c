import { existsSync, mkdirSync, readFileSync, writeFileSync } from 'node:fs';
import { dirname, join } from 'node:path';
import t, { type Test } from 'tap';
import type { ServiceDefinition } from '../../../host/service/definition.js';
import { Launchd, secondsOf } from '../../../host/service/launchd.js';
import { commandOfPlist } from '../../../host/service/launchd-plist.js';
import { OperationError } from '../../../protocol/errors.js';
import { shortFolder } from '../../fixtures/short-folder.js';
import { FakeLaunchctl } from './fixtures/launchctl.js';

interface Setup {
  launchctl: FakeLaunchctl;
  launchd: Launchd;
  definition: ServiceDefinition;
  plist: string;
}

function setUp(t: Test, name = 'host'): Setup {
  const home = shortFolder(t);
  const launchctl = new FakeLaunchctl();
  const launchd = new Launchd({
    environment: { HOME: home },
    uid: 501,
    run: launchctl.run,
    wait: async () => {},
  });
  const label = name === 'host' ? 'dev.portferry.host' : `dev.portferry.host.${name}`;
  return {
    launchctl,
    launchd,
    plist: join(home, 'Library/LaunchAgents', `${label}.plist`),
    definition: {
      name,
      command: [process.execPath, import.meta.filename, 'service', 'run'],
      environment: { PATH: '/bin' },
      logPath: join(home, 'log'),
      home,
    },
  };
}

t.test('install writes the file, registers the job, and starts it', async (t) => {
  const { launchctl, launchd, definition, plist } = setUp(t);
  await launchd.install(definition);
  t.equal(readFileSync(plist, 'utf8'), launchd.render(definition));
  const target = 'gui/501/dev.portferry.host';
  const steps = launchctl.calls.filter((call) => !call.includes(' print '));
  t.same(steps, [
    `launchctl enable ${target}`,
    `launchctl bootstrap gui/501 ${plist}`,
    `launchctl kickstart ${target}`,
  ]);
  const state = await launchd.state('host');
  t.match(state, { file: plist, installed: true, running: true, pid: 4711 });
  const age = Date.now() - Date.parse(state.since ?? '');
  t.ok(age >= 62_000 && age < 100_000);
  t.equal(state.problem, undefined);
});

t.test(
  'installed again, it waits until the old job is gone, and tries again when launchd is not ready',
  async (t) => {
    const { launchctl, launchd, definition, plist } = setUp(t, 'work');
    await launchd.install(definition);
    launchctl.lingering = 4;
    launchctl.bootstrapErrors = 2;
    const before = readFileSync(plist, 'utf8');
    await launchd.install({ ...definition, environment: {} });
    const steps = launchctl.calls.filter((call) => /bootout|bootstrap/.test(call));
    t.equal(steps.length, 5, 'one of the first time, then bootout, and three bootstraps');
    t.equal(readFileSync(`${plist}.previous`, 'utf8'), before, 'what may have been changed by hand is kept');
    t.ok((await launchd.state('work')).running);
  },
);

t.test('without a login at the screen it is the domain of the user', async (t) => {
  const { launchctl, launchd, definition } = setUp(t);
  launchctl.gui = false;
  await launchd.install(definition);
  t.ok(launchctl.calls.includes('launchctl kickstart user/501/dev.portferry.host'));
});

t.test('each failure of launchctl is a sentence', async (t) => {
  const { launchctl, launchd, definition } = setUp(t);
  launchctl.bootstrapErrors = 100;
  const never = { message: /launchd does not take .*5: Input\/output error .*plutil -lint/ };
  await t.rejects(launchd.install(definition), never);
  t.equal(launchctl.calls.filter((call) => call.includes('bootstrap')).length, 5);

  launchctl.bootstrapErrors = 0;
  launchctl.refusals.set('bootstrap', {
    code: 125,
    stdout: 'Domain does not support\nspecified action',
    stderr: '',
  });
  await t.rejects(launchd.install(definition), { message: /does not support; specified action .*code 125/ });
  launchctl.refusals.set('bootstrap', { code: 1, stdout: '', stderr: '' });
  await t.rejects(launchd.install(definition), { message: /it gave no reason/ });
  launchctl.refusals.clear();

  launchctl.refusals.set('kickstart', { code: 3, stdout: '', stderr: 'No such process' });
  await t.rejects(launchd.install(definition), { message: /does not start gui.*No such process/ });
  launchctl.refusals.clear();

  launchctl.endsWith = 78;
  await t.rejects(launchd.install(definition), {
    message:
      /does not run: it ended at once with exit code 78; .*host\.log and .*host\.crash\.log may say why/,
  });
  t.match(await launchd.state('host'), { running: false, lastExit: 'exit code 78' });

  launchctl.lingering = 1_000_000;
  await t.rejects(launchd.uninstall('host'), { message: /launchd does not end gui/ });
});

t.test('a job that is registered all the same is started', async (t) => {
  const { launchctl, launchd, definition } = setUp(t);
  const { run } = launchctl;
  const racing = new Launchd({
    environment: { HOME: definition.home },
    uid: 501,
    run: async (file, args) => {
      if (args[0] === 'bootstrap') launchctl.loaded = true;
      return args[0] === 'bootstrap' ? { code: 37, stdout: '', stderr: 'in progress' } : run(file, args);
    },
  });
  await racing.install(definition);
  t.ok((await launchd.state('host')).running);
});

t.test('a job that launchd does not start at all', async (t) => {
  const { launchctl, launchd, definition } = setUp(t);
  launchctl.refusals.set('kickstart', { code: 0, stdout: '', stderr: '' });
  await t.rejects(launchd.install(definition), { message: /launchd has not started it/ });
});

t.test('how a job was ended by a signal', async (t) => {
  const { launchctl, launchd } = setUp(t);
  const stdout = '\tlast exit code = 9\n\tlast terminating signal = Killed: 9\n';
  launchctl.refusals.set('print', { code: 0, stdout, stderr: '' });
  t.match(await launchd.state('host'), { installed: false, running: false, lastExit: 'Killed: 9' });
});

t.test('start, stop and uninstall, each as often as one likes', async (t) => {
  const { launchctl, launchd, definition, plist } = setUp(t);
  for (const step of [launchd.start('host'), launchd.stop('host')])
    await t.rejects(step, {
      name: OperationError.prototype.name,
      message: /is not there: install the service with/,
    });
  t.equal(await launchd.uninstall('host'), false);
  await launchd.install(definition);
  await launchd.start('host');
  await launchd.stop('host');
  t.equal((await launchd.state('host')).running, false);
  await launchd.stop('host');
  await launchd.start('host');
  t.equal((await launchd.state('host')).running, true);
  launchctl.pid = undefined;
  await launchd.start('host');
  t.equal((await launchd.state('host')).running, true, 'one that is registered and does not run is started');
  t.equal(await launchd.uninstall('host'), true);
  t.equal(await launchd.uninstall('host'), false);
  t.notOk(existsSync(plist));
});

t.test('a file that was damaged by hand, or starts what is gone, is told', async (t) => {
  const { launchd, definition, plist } = setUp(t);
  mkdirSync(dirname(plist), { recursive: true });
  writeFileSync(plist, launchd.render({ ...definition, command: ['/no/node', 'x'] }));
  t.equal(
    (await launchd.state('host')).problem,
    '/no/node, which it starts, is gone: install the service again',
  );
  writeFileSync(plist, '<plist><dict>');
  await t.rejects(launchd.start('host'), { message: /cannot be used: it has no ProgramArguments/ });
  t.match((await launchd.state('host')).problem, /cannot be used/);
});

t.test('a process of which ps knows nothing has no age', async (t) => {
  const { launchctl, launchd, definition } = setUp(t);
  await launchd.install(definition);
  launchctl.refusals.set('ps', { code: 1, stdout: '', stderr: '' });
  const { running, since } = await launchd.state('host');
  t.same({ running, since }, { running: true, since: undefined });
});

t.test('what stands in a property list is what was meant', (t) => {
  const { launchd, definition } = setUp(t);
  const command = ['/opt/a & b', '<x>', `"'`, '&amp;', ''] as const;
  t.same(commandOfPlist(launchd.render({ ...definition, command })), command);
  t.same(commandOfPlist('<key>ProgramArguments</key><array><string>&nbsp;</string></array>'), ['&nbsp;']);
  t.end();
});

t.test('the ages that ps writes', (t) => {
  t.equal(secondsOf('00:07'), 7);
  t.equal(secondsOf('01:00:00'), 3600);
  t.equal(secondsOf('2-00:00:01'), 172_801);
  t.equal(secondsOf('ELAPSED'), undefined);
  t.end();
});
