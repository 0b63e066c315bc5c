import {
  LOG_LEVEL_OPTION,
  type OptionDeclarations,
  type OptionValues,
} from '../../protocol/program/declared-options.js';
import { KEEP_ALIVE_OPTION } from '../../protocol/program/keep-alive-option.js';
import { LogTail } from '../../protocol/program/log-tail.js';
import { createLogger, type LogLevel, logDestination } from '../../protocol/program/logger.js';
import { type CommandDeclaration, defineCommand } from '../../protocol/program/run-program.js';
import {
  dashboardTokenPath,
  defaultChannelAddress,
  defaultControlPath,
  defaultSocketsFolder,
  ensureFolder,
  runtimeFolder,
} from '../../protocol/program/runtime-folder.js';
import { stopOnSignals } from '../../protocol/program/stop-signals.js';
import { checkMode, parseAddress } from '../../protocol/transport/channel-address.js';
import { parseDashboardAddress } from '../dashboard/address.js';
import { parseAllowExpose } from '../forwards/expose-policy.js';
import { DEFAULT_HOLD_SECONDS, type HostContext, type HostOptions, MAX_HOLD_SECONDS } from '../options.js';
import { reportForward } from '../records/reports.js';
import { parseSpec } from '../rule/forward-spec.js';
import { CONTROL_OPTION } from './control-option.js';
import { DASHBOARD_OPTION, formatDashboard } from './dashboard-option.js';
import { formatForward } from './output.js';

const OPTIONS = {
  connect: { type: 'string', describe: 'Connect to the guest at this ADDR', excludes: 'listen' },
  listen: {
    type: 'string',
    describe: 'Wait for the guest at this ADDR',
    excludes: 'connect',
    defaultDescription: 'unix:channel.sock in the runtime folder',
  },
  forward: { type: 'list', describe: 'Forward this SPEC; can be given more than once' },
  control: CONTROL_OPTION,
  state: { type: 'string', describe: 'Keep forwards that are exposed at run time in this file' },
  dashboard: DASHBOARD_OPTION,
  'allow-expose': {
    type: 'list',
    describe:
      'Let publishers in the guest expose only what such a RULE allows, or nothing by the rule none; can be given more than once',
    defaultDescription: 'every port, and sockets in the folder sockets of the runtime folder',
  },
  hold: {
    type: 'number',
    describe: 'Seconds that a client waits for the guest to connect before it is reset',
    max: MAX_HOLD_SECONDS,
    defaultDescription: String(DEFAULT_HOLD_SECONDS),
  },
  'keep-alive': KEEP_ALIVE_OPTION,
  'log-level': { ...LOG_LEVEL_OPTION, defaultDescription: 'info' },
} as const satisfies OptionDeclarations;

/** The daemon as this command starts it. It is loaded late, since the other commands do without it. */
export interface HostModule {
  runHost(options: HostOptions, context: HostContext): Promise<void>;
}

/** `portferry host` */
export function makeHostCommand(loadHost: () => Promise<HostModule>): CommandDeclaration {
  return defineCommand({
    name: 'host',
    describe: 'Forward ports of this host to the guest, until SIGINT or SIGTERM',
    options: OPTIONS,
    examples: [
      ['$0 host --forward 8080:80', 'wait for the guest on the default socket'],
      ['$0 host --forward 8080:80 --forward 53:53/udp', 'TCP and UDP'],
      ['$0 host --connect hyperkit:/path/to/vms/0:62372', 'reach a guest in hyperkit'],
      ['$0 host --connect "exec:ssh VM portferry-guest --connect stdio:"', 'reach a guest by any command'],
      ['$0 host --allow-expose 127.0.0.1:8000-8999', 'containers are published there only'],
      ['$0 host --dashboard', 'a page that shows all of it: portferry dashboard opens it'],
      ['$0 host --config portferry.json', '{"listen": "unix:/tmp/c.sock", "forward": ["8080:80"]}'],
    ],
    epilogue:
      'A signal stops it: connections in use may finish, for at most 10 s. A second one ends it at once. portferry --help says what SPEC, ADDR and RULE are.',
    async run(values, _operands, { stdout, stderr, environment }) {
      const options = readHostOptions(values, environment);
      // Nothing else may get into a channel.
      const output = options.channel.address.kind === 'stdio' ? stderr : stdout;
      const logTail = new LogTail(await logDestination(process.stderr.isTTY === true));
      const logger = createLogger((values['log-level'] ?? 'info') as LogLevel, logTail);
      const { runHost } = await loadHost();
      const { stop, abandon, release } = stopOnSignals({ environment, logger });
      try {
        await runHost(options, {
          logger,
          logTail,
          stop,
          abandon,
          onReady: ({ forwards, dashboard }) => {
            for (const forward of forwards) output.write(`${formatForward(reportForward(forward))}\n`);
            // Without its token: what is written here may be kept in a log.
            if (dashboard !== undefined) output.write(`${formatDashboard(dashboard)}\n`);
          },
        });
      } finally {
        release();
      }
    },
  });
}

/**
 * Fills in what was not given, and makes the runtime folder where a socket is to be in it.
 * @throws UsageError, or OperationError when the runtime folder cannot be used
 */
export function readHostOptions(
  values: OptionValues<typeof OPTIONS>,
  environment: NodeJS.ProcessEnv,
): HostOptions {
  const { connect, listen, control, state, dashboard, hold, 'keep-alive': keepAlive } = values;
  const controlPath = control ?? defaultControlPath(environment);
  const options: HostOptions = {
    channel: readChannel(connect, listen, environment),
    forwards: values.forward.flatMap(parseSpec),
    controlPath,
    socketsFolder: defaultSocketsFolder(environment),
    dashboardTokenPath: dashboardTokenPath(controlPath, environment),
    holdSeconds: hold ?? DEFAULT_HOLD_SECONDS,
  };
  if (state !== undefined) options.stateFile = state;
  if (dashboard !== undefined) options.dashboard = parseDashboardAddress(dashboard);
  if (keepAlive !== undefined) options.keepAliveSeconds = keepAlive;
  const allowExpose = parseAllowExpose(values['allow-expose']);
  if (allowExpose) options.allowExpose = allowExpose;
  if (control === undefined || (connect ?? listen) === undefined) ensureFolder(runtimeFolder(environment));
  return options;
}

function readChannel(
  connect: string | undefined,
  listen: string | undefined,
  environment: NodeJS.ProcessEnv,
): HostOptions['channel'] {
  const mode = connect === undefined ? 'listen' : 'connect';
  const text = connect ?? listen;
  const address = text === undefined ? defaultChannelAddress(environment) : parseAddress(text);
  checkMode(address, mode);
  return { mode, address };
}
