import { existsSync, writeFileSync } from 'node:fs';
import t from 'tap';
import { makeHostCommand } from '../../../host/cli/host.js';
import { portferry } from '../../../host/cli/program.js';
import { ForwardTable } from '../../../host/forwards/forward-table.js';
import type { HostContext, HostOptions } from '../../../host/options.js';
import { parseSpec } from '../../../host/rule/forward-spec.js';
import { createLogger } from '../../../protocol/program/logger.js';
import type { ProgramDeclaration } from '../../../protocol/program/run-program.js';
import { callProgram } from '../../fixtures/call-program.js';
import { shortFolder } from '../../fixtures/short-folder.js';

type Run = (options: HostOptions, context: HostContext) => Promise<void>;

const programWith = (runHost: Run): ProgramDeclaration => ({
  ...portferry,
  commands: [makeHostCommand(async () => ({ runHost }))],
});

/** The options that `portferry host` with these arguments gives to the daemon. */
async function optionsOf(args: string[], environment: NodeJS.ProcessEnv): Promise<HostOptions | undefined> {
  let given: HostOptions | undefined;
  const program = programWith(async (options) => {
    given = options;
  });
  const outcome = await callProgram(program, ['host', ...args], environment);
  t.match(outcome, { code: 0, stdout: '', stderr: '' });
  return given;
}

t.test('defaults: listens on the channel socket of the runtime folder, which it makes', async (t) => {
  const folder = `${shortFolder(t)}/run`;
  t.same(await optionsOf([], { PORTFERRY_RUNTIME_DIR: folder }), {
    channel: { mode: 'listen', address: { kind: 'unix', path: `${folder}/channel.sock` } },
    forwards: [],
    controlPath: `${folder}/control.sock`,
    socketsFolder: `${folder}/sockets`,
    dashboardTokenPath: `${folder}/dashboard-token`,
    holdSeconds: 5,
  });
  t.ok(existsSync(folder));
});

t.test('everything given', async (t) => {
  const folder = `${shortFolder(t)}/run`;
  const args = [
    '--forward',
    '8080:80',
    '--forward',
    '1-2',
    '--state',
    '/s',
    '--hold',
    '0.5',
    '--control',
    '/c',
    '--keep-alive',
    '0',
  ];
  const environment = { PORTFERRY_RUNTIME_DIR: folder };
  t.same(await optionsOf([...args, '--connect', 'unix:/x'], environment), {
    channel: { mode: 'connect', address: { kind: 'unix', path: '/x' } },
    forwards: ['8080:80', '1-2'].flatMap(parseSpec),
    controlPath: '/c',
    socketsFolder: `${folder}/sockets`,
    dashboardTokenPath: `${folder}/dashboard-token`,
    stateFile: '/s',
    holdSeconds: 0.5,
    keepAliveSeconds: 0,
  });
  t.match(await optionsOf([...args, '--listen', 'tcp:127.0.0.1:0'], environment), {
    channel: { mode: 'listen', address: { kind: 'tcp', host: '127.0.0.1', port: 0 } },
  });
  t.notOk(existsSync(folder), 'nothing is to be in the runtime folder');
});

t.test('the dashboard', async (t) => {
  const environment = { PORTFERRY_RUNTIME_DIR: shortFolder(t) };
  t.match(await optionsOf(['--dashboard'], environment), {
    dashboard: { ip: '127.0.0.1', port: 7678, orAny: true },
  });
  t.match(await optionsOf(['--dashboard=[::1]:0'], environment), {
    dashboard: { ip: '::1', port: 0, orAny: false },
  });
  t.match(await optionsOf([], { ...environment, PORTFERRY_DASHBOARD: 'localhost:1' }), {
    dashboard: { ip: '127.0.0.1', port: 1 },
  });
});

t.test('rules for publishers', async (t) => {
  const environment = { PORTFERRY_RUNTIME_DIR: shortFolder(t) };
  t.match(await optionsOf(['--allow-expose', '127.0.0.1', '--allow-expose', ':80'], environment), {
    allowExpose: [{ text: '127.0.0.1' }, { text: ':80' }],
  });
  t.same((await optionsOf(['--allow-expose', 'none'], environment))?.allowExpose, []);
});

t.test('flags win over the environment, which wins over the file', async (t) => {
  const folder = shortFolder(t);
  const config = `${folder}/c.json`;
  writeFileSync(config, JSON.stringify({ listen: 'unix:/f', forward: ['1:1'], hold: 1 }));
  const environment = { PORTFERRY_RUNTIME_DIR: folder, PORTFERRY_HOLD: '2', PORTFERRY_FORWARD: '2:2 3:3' };
  t.match(await optionsOf(['--config', config, '--connect', 'unix:/x'], environment), {
    channel: { mode: 'connect' },
    forwards: ['2:2', '3:3'].flatMap(parseSpec),
    holdSeconds: 2,
  });
});

t.test('prints the forwards when it is ready', async (t) => {
  const forwards = new ForwardTable({ onClient: () => {}, logger: createLogger('silent') });
  t.teardown(() => forwards.close());
  const program = programWith(async ({ controlPath }, { onReady, stop, logger }) => {
    t.equal(stop.aborted, false);
    t.equal(logger.level, 'silent');
    const dashboard = 'http://127.0.0.1:1';
    onReady?.({ controlPath, forwards: await forwards.expose(parseSpec('127.0.0.1:0:80')), dashboard });
  });
  const args = ['host', '--log-level', 'silent', '--listen', 'unix:/x', '--control', '/c'];
  const printed =
    /^tcp 127\.0\.0\.1:\d+ → tcp 127\.0\.0\.1:80\ndashboard http:\/\/127\.0\.0\.1:1\/ \('portferry dashboard' opens it\)\n$/;
  t.match((await callProgram(program, args)).stdout, printed);
  const within = ['host', '--log-level', 'silent', '--connect', 'stdio:', '--control', '/c'];
  t.match(await callProgram(program, within), { stdout: /^$/, stderr: printed }, 'not into the channel');
});

t.test('wrong usage is one line and exit code 2, before anything is started', async (t) => {
  const program = programWith(() => t.fail('started') as never);
  const environment = { PORTFERRY_RUNTIME_DIR: shortFolder(t) };
  const cases: [string[], RegExp][] = [
    [['--connect', 'unix:/a', '--listen', 'unix:/b'], /--connect and --listen exclude each other/],
    [['--listen', 'nonsense'], /"nonsense" is not a channel address/],
    [['--listen', 'exec:true'], /cannot listen on "exec:true"/],
    [['--connect', 'exec:'], /the command is missing/],
    [['--connect', 'tcp:127.0.0.1:0'], /port 0 is for listening only/],
    [['--forward', '1:2:3:4'], /cannot forward "1:2:3:4"/],
    [['--allow-expose', 'x'], /'x' is not a rule of --allow-expose/],
    [['--hold', '-1'], /--hold must be a number of at least 0/],
    [['--keep-alive', '40000'], /--keep-alive must be a whole number of at least 0 and at most 32767/],
    [['--log-level', 'loud'], /--log-level must be one of/],
    [['--dashboard=0.0.0.0:80'], /the dashboard cannot listen on 0\.0\.0\.0/],
    [['--dashboard', '127.0.0.1:80'], /unknown argument: 127\.0\.0\.1:80|takes no argument 127\.0\.0\.1:80/],
    [['operand'], /unknown argument: operand/],
  ];
  for (const [args, message] of cases)
    t.match(await callProgram(program, ['host', ...args], environment), {
      code: 2,
      stdout: '',
      stderr: message,
    });
});

t.test('a host that cannot start ends with exit code 1', async (t) => {
  const folder = shortFolder(t);
  writeFileSync(`${folder}/file`, '');
  const args = ['host', '--log-level', 'silent', '--listen', `unix:${folder}/c.sock`];
  t.match(await callProgram(portferry, [...args, '--control', `${folder}/file/control.sock`]), {
    code: 1,
    stdout: '',
    stderr: /cannot listen on .*control\.sock: ENOTDIR/,
  });
});
