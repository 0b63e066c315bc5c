import { userInfo } from 'node:os';
import { isAbsolute } from 'node:path';
import { Writable } from 'node:stream';
import { fileURLToPath } from 'node:url';
import { OperationError, UsageError } from '../../protocol/errors.js';
import type { OptionDeclarations, OptionValues } from '../../protocol/program/declared-options.js';
import { createLogger } from '../../protocol/program/logger.js';
import {
  type CommandDeclaration,
  defineCommand,
  EXIT,
  type ProgramContext,
  runProgram,
} from '../../protocol/program/run-program.js';
import { VERSION } from '../../protocol/program/version.js';
import type { HostOptions } from '../options.js';
import {
  checkName,
  DEFAULT_NAME,
  homeOf,
  type ServiceDefinition,
  type ServicePlatform,
  serviceEnvironment,
  serviceLogPath,
} from '../service/definition.js';
import { LogFile } from '../service/log-file.js';
import { tailLog } from '../service/log-tail.js';
import { lastingNodePath } from '../service/node-path.js';
import { sdNotify } from '../service/sd-notify.js';
import { asService } from '../service/service-host.js';
import type { ServiceManager } from '../service/service-manager.js';
import { JSON_OPTION } from './control-option.js';
import { type HostModule, makeHostCommand } from './host.js';
import { formatTable, writeJson } from './output.js';

const PLATFORMS: readonly ServicePlatform[] = ['darwin', 'linux'];
const ACTIONS = ['install', 'uninstall', 'start', 'stop', 'restart', 'status', 'print', 'run'] as const;
type Action = (typeof ACTIONS)[number];

/** Lines of the log that status shows. */
const LOG_LINES = 10;

const OPTIONS = {
  name: {
    type: 'string',
    describe: 'Which service, where this user has several',
    defaultDescription: DEFAULT_NAME,
  },
  platform: {
    type: 'string',
    describe: 'For print: whose file is shown',
    choices: PLATFORMS,
    defaultDescription: 'this one',
  },
  json: JSON_OPTION,
} as const satisfies OptionDeclarations;

/** What the command touches; tests bring their own. */
export interface ServiceSystem {
  platform: NodeJS.Platform;
  /** This program's own script. */
  script: string;
  makeManager(
    platform: ServicePlatform,
    environment: NodeJS.ProcessEnv,
  ): ServiceManager | Promise<ServiceManager>;
}

const SYSTEM: ServiceSystem = {
  platform: process.platform,
  script: fileURLToPath(new URL('../main.js', import.meta.url)),
  // Loaded late: every portferry command loads this file, and only this one needs them.
  makeManager: async (platform, environment) => {
    if (platform === 'darwin') {
      const { Launchd } = await import('../service/launchd.js');
      return new Launchd({ environment, uid: userInfo().uid });
    }
    const { Systemd } = await import('../service/systemd.js');
    return new Systemd({ environment });
  },
};

/** One call of the command, understood. */
interface ServiceCall {
  name: string;
  /** What `portferry host` gets. */
  hostArguments: readonly string[];
  platform: ServicePlatform;
  manager: ServiceManager;
  logPath: string;
  json: boolean;
  context: ProgramContext;
}

/** `portferry service` */
export function makeServiceCommand(
  loadHost: () => Promise<HostModule>,
  system: ServiceSystem = SYSTEM,
): CommandDeclaration {
  return defineCommand({
    name: 'service',
    describe:
      'Run the host as a service of this user: a launchd agent on macOS, a systemd user unit on Linux',
    operands: {
      name: 'action',
      describe: `${ACTIONS.slice(0, -1).join(', ')}; for install and print, what follows -- is given to portferry host`,
      required: true,
    },
    words: ACTIONS.slice(0, -1),
    options: OPTIONS,
    examples: [
      ['$0 service install', 'start it now, and at every login'],
      ['$0 service install -- --forward 8080:80 --state ~/.portferry-state.json', 'with options of the host'],
      ['$0 service install --name work -- --config ~/work.json', 'one more, under a name of its own'],
      ['$0 service status', 'whether it runs, since when, and the last lines of its log'],
      ['$0 service print --platform darwin', 'the file, without touching anything'],
      ['$0 service uninstall', 'stop it, and remove its file; the log stays'],
    ],
    epilogue:
      'A service that fails is started again after a while; one whose options are wrong stays down. It keeps the PATH and the PORTFERRY_… variables that it is installed with.',
    async run(values, operands, context) {
      const { action, call } = await understand(values, operands, context, system);
      if (action === 'run') await runService(call, loadHost);
      else await ACT[action](call, system);
    },
  });
}

const ACT: Record<Exclude<Action, 'run'>, (call: ServiceCall, system: ServiceSystem) => Promise<void>> = {
  install: async (call, system) => {
    const { definition, caveat } = await define(call, system);
    await call.manager.install(definition);
    const { file, pid } = await call.manager.state(call.name);
    const { stdout } = call.context;
    stdout.write(
      `installed ${file}\nrunning${pid === undefined ? '' : `, pid ${pid}`}; its log is ${call.logPath}\n`,
    );
    if (caveat !== undefined) stdout.write(`note: ${caveat}\n`);
  },
  uninstall: async ({ manager, name, logPath, context: { stdout } }) => {
    const existed = await manager.uninstall(name);
    stdout.write(existed ? `removed; its log stays at ${logPath}\n` : 'it was not installed\n');
  },
  start: async ({ manager, name, context: { stdout } }) => {
    await manager.start(name);
    stdout.write('running\n');
  },
  stop: async ({ manager, name, context: { stdout } }) => {
    await manager.stop(name);
    stdout.write('stopped, until the next start or login\n');
  },
  restart: async ({ manager, name, context: { stdout } }) => {
    await manager.stop(name);
    await manager.start(name);
    stdout.write('running\n');
  },
  status: showStatus,
  print: async (call, system) => {
    const { definition } = await define(call, system);
    call.context.stdout.write(call.manager.render(definition));
  },
};

async function understand(
  { name = DEFAULT_NAME, platform, json }: OptionValues<typeof OPTIONS>,
  [action, ...hostArguments]: readonly string[],
  context: ProgramContext,
  system: ServiceSystem,
): Promise<{ action: Action; call: ServiceCall }> {
  const known = ACTIONS.find((candidate) => candidate === action);
  if (!known) throw new UsageError(`service ${action}: it is one of ${ACTIONS.slice(0, -1).join(', ')}`);
  const takesArguments = ['install', 'print', 'run'].includes(known);
  if (!takesArguments && hostArguments.length > 0)
    throw new UsageError(`service ${known} takes no argument ${hostArguments[0]}`);
  if (platform !== undefined && known !== 'print')
    throw new UsageError('--platform is for service print: all else is about this machine');
  checkName(name);
  const chosen = platformOf(platform ?? system.platform);
  const { environment } = context;
  const logPath = serviceLogPath(name, chosen, environment);
  const manager = await system.makeManager(chosen, environment);
  return { action: known, call: { name, hostArguments, platform: chosen, manager, logPath, json, context } };
}

function platformOf(platform: string): ServicePlatform {
  const known = PLATFORMS.find((candidate) => candidate === platform);
  if (known) return known;
  throw new OperationError(`portferry knows the services of macOS and Linux, not of ${platform}`);
}

async function define(
  { name, hostArguments, logPath, context: { environment } }: ServiceCall,
  { script }: ServiceSystem,
): Promise<{ definition: ServiceDefinition; caveat: string | undefined }> {
  await checkHostArguments(hostArguments, environment);
  const { path: node, caveat } = lastingNodePath();
  const definition: ServiceDefinition = {
    name,
    command: [node, script, 'service', 'run', '--name', name, '--', ...hostArguments],
    environment: serviceEnvironment(environment),
    logPath,
    home: homeOf(environment),
  };
  return { definition, caveat };
}

/**
 * Has the host's own command look at its options, for a service that cannot start would only be found out later.
 * @throws UsageError
 */
async function checkHostArguments(args: readonly string[], environment: NodeJS.ProcessEnv): Promise<void> {
  let options: HostOptions | undefined;
  let complaint = '';
  const stderr = new Writable({
    write: (chunk, _encoding, done) => {
      complaint += chunk;
      done();
    },
  });
  const capture = async (given: HostOptions): Promise<void> => {
    options = given;
  };
  await runHostCommand(capture, args, { environment, stdout: stderr, stderr });
  if (!options) throw new UsageError(`portferry host does not take these options: ${complaint.trim()}`);
  const config = environment['PORTFERRY_CONFIG'] ?? configOf(args);
  const { address } = options.channel;
  const paths = [
    config,
    options.controlPath,
    options.stateFile,
    'path' in address ? address.path : undefined,
  ];
  const relative = paths.find((path) => path !== undefined && !isAbsolute(path));
  if (relative !== undefined)
    throw new UsageError(`a service does not run in this folder: give the path ${relative} from the root on`);
}

function configOf(args: readonly string[]): string | undefined {
  const at = args.indexOf('--config');
  return at >= 0 ? args[at + 1] : args.find((arg) => arg.startsWith('--config='))?.slice('--config='.length);
}

function runHostCommand(
  runHost: HostModule['runHost'],
  args: readonly string[],
  context: Omit<ProgramContext, 'args'>,
): Promise<number> {
  const program = {
    ...{ name: 'portferry', version: VERSION, describe: '', examples: [], epilogue: '' },
    commands: [makeHostCommand(async () => ({ runHost }))],
  };
  return runProgram(program, { ...context, args: ['host', ...args] });
}

/** What the manager starts. */
async function runService(call: ServiceCall, loadHost: () => Promise<HostModule>): Promise<void> {
  const { environment, stdout, stderr } = call.context;
  const { runHost } = await loadHost();
  const logFile = new LogFile(call.logPath);
  const log = createLogger('info', logFile);
  // A line there says why the host ends: whoever looks at the service looks at its log.
  const toLog = new Writable({
    write: (chunk: Buffer, _encoding, done) => {
      log.fatal(`the service ends: ${chunk.toString().trim()}`);
      stderr.write(chunk, done);
    },
  });
  const tell = (state: string): void => void sdNotify(state, environment['NOTIFY_SOCKET']);
  const code = await runHostCommand(asService(runHost, logFile, tell), call.hostArguments, {
    environment,
    stdout,
    stderr: toLog,
  });
  logFile.close();
  // launchd cannot be told that wrong usage stays wrong: it starts again whatever does not end with 0.
  if (code === EXIT.usage && call.platform === 'darwin') return;
  if (code === EXIT.usage) throw new UsageError('the options of the service are wrong: see its log');
  if (code !== EXIT.done) throw new OperationError('the service has failed: see its log');
}

async function showStatus({ manager, name, logPath, json, context: { stdout } }: ServiceCall): Promise<void> {
  const state = await manager.state(name);
  const log = await tailLog(logPath, LOG_LINES);
  if (json) {
    writeJson(stdout, { name, ...state, logPath, log });
    return;
  }
  const { file, installed, running, pid, since, lastExit, problem } = state;
  const known = [pid && `pid ${pid}`, since && `since ${since}`].filter(Boolean);
  const now = running ? ['running', ...known].join(', ') : 'not running';
  const rows = [
    ['service', installed ? file : `not installed: there is no ${file}`],
    ['state', now],
    ...(lastExit === undefined ? [] : [['last exit', lastExit]]),
    ...(problem === undefined ? [] : [['problem', problem]]),
    ['log', logPath],
  ];
  stdout.write(formatTable(rows));
  for (const line of log) stdout.write(`  ${line}\n`);
}
