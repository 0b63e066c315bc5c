import { readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import t, { type Test } from 'tap';
import { portferry } from '../../../host/cli/program.js';
import { makeServiceCommand, type ServiceSystem } from '../../../host/cli/service.js';
import type { HostContext, HostOptions } from '../../../host/options.js';
import type { ServiceDefinition } from '../../../host/service/definition.js';
import type { ServiceManager, ServiceState } from '../../../host/service/service-manager.js';
import { OperationError, UsageError } from '../../../protocol/errors.js';
import type { ProgramDeclaration } from '../../../protocol/program/run-program.js';
import { callProgram, type ProgramOutcome } from '../../fixtures/call-program.js';
import { shortFolder } from '../../fixtures/short-folder.js';

class FakeManager implements ServiceManager {
  installed: ServiceDefinition | undefined;
  steps: string[] = [];
  current: ServiceState = { file: '/f', installed: true, running: true, pid: 42 };

  render({ command }: ServiceDefinition): string {
    return `${command.join(' ')}\n`;
  }

  async install(definition: ServiceDefinition): Promise<void> {
    this.installed = definition;
  }

  async uninstall(): Promise<boolean> {
    const existed = this.installed !== undefined;
    this.installed = undefined;
    return existed;
  }

  async start(): Promise<void> {
    this.steps.push('start');
  }

  async stop(): Promise<void> {
    this.steps.push('stop');
  }

  async state(): Promise<ServiceState> {
    return this.current;
  }
}

type Run = (options: HostOptions, context: HostContext) => Promise<void>;

interface Setup {
  manager: FakeManager;
  home: string;
  call(...args: string[]): Promise<ProgramOutcome>;
}

function setUp(t: Test, runHost: Run = async () => {}, platform: NodeJS.Platform = 'linux'): Setup {
  const manager = new FakeManager();
  const home = shortFolder(t);
  const system: ServiceSystem = { platform, script: '/script.js', makeManager: () => manager };
  const program: ProgramDeclaration = {
    ...portferry,
    commands: [makeServiceCommand(async () => ({ runHost }), system)],
  };
  const environment = { HOME: home, PATH: '/bin', PORTFERRY_RUNTIME_DIR: join(home, 'run') };
  return { manager, home, call: (...args) => callProgram(program, ['service', ...args], environment) };
}

t.test('what is installed', async (t) => {
  const { manager, home, call } = setUp(t);
  const { code, stdout } = await call('install', '--name', 'work', '--', '--forward', '8080:80');
  t.equal(code, 0);
  t.equal(stdout, `installed /f\nrunning, pid 42; its log is ${home}/.local/state/portferry/work.log\n`);
  t.match(manager.installed, {
    name: 'work',
    command: [
      process.execPath,
      '/script.js',
      'service',
      'run',
      '--name',
      'work',
      '--',
      '--forward',
      '8080:80',
    ],
    environment: { PATH: '/bin', PORTFERRY_RUNTIME_DIR: join(home, 'run') },
    home,
  });
  manager.current = { file: '/f', installed: true, running: true };
  t.match((await call('install')).stdout, /^installed \/f\nrunning; its log/);
});

t.test('what may go one day is said', async (t) => {
  const { makeServiceCommand: make } = await t.mockImport<typeof import('../../../host/cli/service.js')>(
    '../../../host/cli/service.js',
    {
      '../../../host/service/node-path.ts': { lastingNodePath: () => ({ path: '/n', caveat: 'it may go' }) },
    },
  );
  const system: ServiceSystem = { platform: 'linux', script: '/s', makeManager: () => new FakeManager() };
  const program = { ...portferry, commands: [make(async () => ({ runHost: async () => {} }), system)] };
  const environment = { HOME: shortFolder(t), PORTFERRY_RUNTIME_DIR: shortFolder(t) };
  t.match((await callProgram(program, ['service', 'install'], environment)).stdout, /^note: it may go$/m);
});

t.test('options that the host would not take are found out before anything is installed', async (t) => {
  const { manager, call } = setUp(t);
  const wrong: [string[], RegExp][] = [
    [['--forwad', '80'], /host does not take these options: portferry: unknown argument: forwad/],
    [['--forward', '80x'], /cannot forward "80x"/],
    [['--state', 'x'], /give the path x from the root on/],
    [['--listen', 'unix:x'], /give the path x from the root on/],
    [['--config', 'no.json'], /no\.json cannot be read/],
  ];
  for (const [args, message] of wrong) {
    const { code, stderr } = await call('install', '--', ...args);
    t.equal(code, 2);
    t.match(stderr, message);
  }
  t.equal(manager.installed, undefined);
  t.equal((await call('install', '--', '--listen', 'tcp:127.0.0.1:0')).code, 0);
});

t.test('a relative path of a configuration file is found, however it is written', async (t) => {
  const { call, home } = setUp(t);
  const path = join(home, 'c.json');
  writeFileSync(path, '{}');
  t.equal((await call('install', '--', `--config=${path}`)).code, 0);
  const relative = join(...home.split('/').map(() => '..'), path.slice(1));
  for (const args of [[`--config=${relative}`], ['--config', relative]])
    t.match(await call('install', '--', ...args), { code: 2, stderr: /from the root on/ });
});

t.test('wrong calls', async (t) => {
  const { call } = setUp(t);
  t.match(await call('instal'), { code: 2, stderr: /it is one of install, uninstall, start,.* print\n/ });
  t.match(await callProgram(portferry, ['list', '--', 'x']), {
    code: 2,
    stderr: /list takes no argument x/,
  });
  t.match(await call('status', 'x'), { code: 2, stderr: /service status takes no argument x/ });
  t.match(await call('install', '--platform', 'linux'), {
    code: 2,
    stderr: /--platform is for service print/,
  });
  t.match(await call('install', '--name', 'A'), { code: 2, stderr: /--name must be/ });
  t.match(await setUp(t, undefined, 'win32').call('status'), { code: 1, stderr: /not of win32/ });
});

t.test('start, stop, restart, uninstall, print', async (t) => {
  const { manager, call } = setUp(t);
  t.match(await call('uninstall'), { code: 0, stdout: 'it was not installed\n' });
  await call('install');
  t.match(await call('start'), { code: 0, stdout: 'running\n' });
  t.match(await call('stop'), { code: 0, stdout: /^stopped/ });
  t.match(await call('restart'), { code: 0, stdout: 'running\n' });
  t.same(manager.steps, ['start', 'stop', 'stop', 'start']);
  t.match((await call('uninstall')).stdout, /^removed; its log stays at .*host\.log\n$/);
  t.match((await call('print', '--', '--hold', '3')).stdout, /service run --name host -- --hold 3\n$/);
});

t.test('the files of both platforms can be shown on any', async (t) => {
  const environment = { HOME: shortFolder(t), PORTFERRY_RUNTIME_DIR: shortFolder(t) };
  for (const [platform, start] of [
    ['darwin', '<?xml'],
    ['linux', '[Unit]'],
  ] as const) {
    const { stdout } = await callProgram(
      portferry,
      ['service', 'print', '--platform', platform],
      environment,
    );
    t.ok(stdout.startsWith(start));
  }
});

t.test('status', async (t) => {
  const { manager, call, home } = setUp(t, async (_options, { logger, onReady }) => {
    logger.info('hello');
    onReady?.({ controlPath: '/c', forwards: [] });
  });
  t.equal((await call('run')).code, 0);
  const { stdout } = await call('status');
  t.match(
    stdout,
    /^service +\/f\nstate +running, pid 42\nlog +.*host\.log\n {2}\S+ info {2}the service starts\n/,
  );
  t.match(stdout, / info {2}hello\n.*the service has ended in order\n$/);
  manager.current = {
    file: '/f',
    installed: false,
    running: false,
    lastExit: 'exit code 3',
    problem: 'gone',
  };
  t.match(
    (await call('status')).stdout,
    /not installed: there is no \/f\nstate +not running\nlast exit +exit code 3\nproblem +gone/,
  );
  manager.current = { file: '/f', installed: true, running: true, pid: 1, since: '2026-01-01T00:00:00Z' };
  t.match((await call('status')).stdout, /pid 1, since 2026/);
  manager.current = { file: '/f', installed: true, running: true };
  t.match((await call('status')).stdout, /^state +running$/m, 'where the manager does not tell more');
  const report = JSON.parse((await call('status', '--json')).stdout);
  t.match(report, { name: 'host', running: true, logPath: join(home, '.local/state/portferry/host.log') });
  t.equal(report.log.length, 3);
});

t.test('how a service ends', async (t) => {
  const fails = setUp(t, async () => {
    throw new OperationError('the port is taken');
  });
  const logOf = ({ home }: Setup): string =>
    readFileSync(join(home, '.local/state/portferry/host.log'), 'utf8');
  t.match(await fails.call('run'), {
    code: 1,
    stderr: /the port is taken\n.*the service has failed: see its log/,
  });
  t.match(logOf(fails), /"level":60.*the service ends: portferry: the port is taken/);
  const wrong: Run = async () => {
    throw new UsageError('wrong');
  };
  t.match(await setUp(t, wrong).call('run'), {
    code: 2,
    stderr: /its options|options of the service are wrong/,
  });
  t.match(await setUp(t, wrong, 'darwin').call('run'), { code: 0 }, 'launchd would start it again for ever');
});

t.test('its manager hears when it listens and when it stops', async (t) => {
  const states: string[] = [];
  const { asService } = await import('../../../host/service/service-host.js');
  const { createLogger } = await import('../../../protocol/program/logger.js');
  const { LogFile } = await import('../../../host/service/log-file.js');
  const log = new LogFile(join(shortFolder(t), 'log'));
  t.teardown(() => log.close());
  const stop = new AbortController();
  const ready: unknown[] = [];
  const run = asService(
    async (_options, { onReady }) => {
      onReady?.({ controlPath: '/c', forwards: [] });
      stop.abort();
    },
    log,
    (state) => states.push(state),
  );
  await run({} as HostOptions, {
    logger: createLogger('info', log),
    stop: stop.signal,
    onReady: (report) => ready.push(report),
  });
  t.same(states, ['READY=1', 'STOPPING=1']);
  t.equal(ready.length, 1);
});
