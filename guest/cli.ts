import { dirname, resolve } from 'node:path';
import type { DestinationStream } from 'pino';
import { parseEndpointRule } from '../protocol/endpoint-rule.js';
import { UsageError } from '../protocol/errors.js';
import { BUILD } from '../protocol/program/build-description.js';
import {
  LOG_LEVEL_OPTION,
  type OptionDeclarations,
  type OptionValues,
} from '../protocol/program/declared-options.js';
import { KEEP_ALIVE_OPTION } from '../protocol/program/keep-alive-option.js';
import { changeLevelOnSignal } from '../protocol/program/level-signal.js';
import { createLogger, type LogLevel, logDestination } from '../protocol/program/logger.js';
import { defineCommand, type ProgramDeclaration } from '../protocol/program/run-program.js';
import { defaultChannelAddress, ensureFolder, runtimeFolder } from '../protocol/program/runtime-folder.js';
import { stopOnSignals } from '../protocol/program/stop-signals.js';
import { VERSION } from '../protocol/program/version.js';
import { ALL_FORMS, checkMode, parseAddress } from '../protocol/transport/channel-address.js';
import { Agent, type AgentOptions } from './agent.js';
import {
  DEFAULT_SOCKET,
  DOCKER_OPTIONS,
  type DockerOptions,
  readDockerOptions,
} from './docker/docker-options.js';
import { EngineSocket } from './docker/engine-socket.js';
import { type DockerPublisher, publishDocker } from './docker/publisher.js';
import { Api } from './publish/api.js';

const OPTIONS = {
  connect: {
    type: 'string',
    describe: 'Connect to the host at this ADDR',
    excludes: 'listen',
    defaultDescription: 'unix:channel.sock in the runtime folder',
  },
  listen: { type: 'string', describe: 'Wait for the host at this ADDR', excludes: 'connect' },
  'allow-dial': {
    type: 'list',
    describe: 'Dial only what such a RULE allows; can be given more than once. Without any, everything',
    defaultDescription: 'everything',
  },
  'proxy-socket': {
    type: 'string',
    describe: 'Let programs in the VM ask the host for forwards, on a unix socket at this path',
    defaultDescription: 'none',
  },
  'keep-alive': KEEP_ALIVE_OPTION,
  ...DOCKER_OPTIONS,
  'log-level': { ...LOG_LEVEL_OPTION, defaultDescription: 'info' },
  'data-connect': { type: 'string', describe: 'As vpnkit-forwarder has it: connect to this socket path' },
  'data-listen': { type: 'string', describe: 'As vpnkit-forwarder has it: listen on this socket path' },
  'control-listen': {
    type: 'string',
    describe: 'As vpnkit-forwarder has it: answer its control API on this socket path',
  },
  debug: { type: 'boolean', describe: 'As vpnkit-forwarder has it: --log-level debug' },
} as const satisfies OptionDeclarations;

/** How long (ms) the engine may take for one answer when somebody wants to know what lies behind a port. */
const LOOK_TIMEOUT_MS = 3_000;

type Values = OptionValues<typeof OPTIONS>;

/** The command line of `portferry-guest`. */
export const portferryGuest: ProgramDeclaration = {
  name: 'portferry-guest',
  version: VERSION,
  build: BUILD,
  describe: 'The end of portferry in the VM: dials what the host asks for, until SIGINT or SIGTERM.',
  examples: [],
  epilogue: `ADDR: ${ALL_FORMS}.

RULE: [ADDRESS[/PREFIX]][:PORT[-END]][/tcp|/udp] or unix:PATH.

A signal stops it: connections in use may finish, for at most 10 s. A second one ends it at once. SIGUSR2 has it log at debug, and the next one as before.

Options: every option can also be given as environment variable (--log-level as PORTFERRY_LOG_LEVEL) or in the JSON file that --config names ({"log-level": "debug"}). A flag wins over the environment, which wins over the file.

Exit codes: 0 done, 1 it failed (standard error says why), 2 wrong usage.`,
  commands: [
    defineCommand({
      name: '$0',
      describe: 'The end of portferry in the VM: dials what the host asks for',
      options: OPTIONS,
      examples: [
        ['$0', 'connect to the host at the default socket'],
        ['$0 --listen unix:/run/channel.sock', 'wait for the host'],
        [
          '$0 --connect stdio:',
          'what the host starts here: --connect "exec:ssh VM portferry-guest --connect stdio:"',
        ],
        ['$0 --allow-dial 127.0.0.1:8000-8999 --allow-dial "unix:/run/*"', 'dial nothing else'],
        ['$0 --proxy-socket /run/portferry/proxy.sock', 'for vpnkit-expose-port and its like'],
        ['$0 --docker --publish-rules /etc/portferry/rules.json', "publish containers' ports by rules"],
        ['$0 -data-connect /run/channel.sock', 'in the place of vpnkit-forwarder'],
      ],
      async run(values, _operands, { environment }) {
        const log = await logDestination(process.stderr.isTTY === true);
        const { apiPaths, docker, ...options } = readAgentOptions(values, environment, log);
        const { logger } = options;
        const engine = new EngineSocket(docker?.socket ?? DEFAULT_SOCKET, LOOK_TIMEOUT_MS);
        const agent = new Agent({ ...options, engine });
        const api = new Api(agent, logger);
        const { stop, abandon, release } = stopOnSignals({ environment, logger });
        abandon.addEventListener('abort', () => agent.abandon());
        const releaseLevel = changeLevelOnSignal(logger);
        let publisher: DockerPublisher | undefined;
        try {
          await agent.start();
          for (const path of apiPaths) await api.listen(path);
          if (docker) publisher = publishDocker(docker, agent, logger);
          const stopped = new Promise<void>((resolve) => stop.addEventListener('abort', () => resolve()));
          if (!stop.aborted) await Promise.race([stopped, agent.over]);
        } finally {
          publisher?.stop();
          api.close();
          await agent.stop();
          releaseLevel();
          release();
        }
      },
    }),
  ],
};

/**
 * Fills in what was not given, and makes the runtime folder where the proxy socket is to be in it.
 * @throws UsageError, or OperationError when the runtime folder cannot be used
 */
export function readAgentOptions(
  values: Values,
  environment: NodeJS.ProcessEnv,
  log?: DestinationStream,
): AgentOptions & { apiPaths: string[]; docker: DockerOptions | undefined } {
  const { 'proxy-socket': proxySocket, 'control-listen': controlPath, 'keep-alive': keepAlive } = values;
  if (proxySocket !== undefined) makeOwnFolder(dirname(resolve(proxySocket)), environment);
  const level = values.debug ? 'debug' : (values['log-level'] ?? 'info');
  const apiPaths = [proxySocket, controlPath].filter((path) => path !== undefined);
  return {
    channel: readChannel(values, environment),
    version: VERSION,
    ...(keepAlive !== undefined && { keepAliveSeconds: keepAlive }),
    allowDial: values['allow-dial'].map((rule) => parseEndpointRule(rule, '--allow-dial')),
    logger: createLogger(level as LogLevel, log),
    apiPaths,
    docker: readDockerOptions(values, apiPaths.length > 0),
  };
}

/** The environment may say another runtime folder than portferry-proxy looks in by default; both are portferry's. */
function makeOwnFolder(folder: string, environment: NodeJS.ProcessEnv): void {
  if ([runtimeFolder(environment), runtimeFolder({})].includes(folder)) ensureFolder(folder);
}

function readChannel(values: Values, environment: NodeJS.ProcessEnv): AgentOptions['channel'] {
  const given = (['connect', 'listen', 'data-connect', 'data-listen'] as const).flatMap((name) => {
    const text = values[name];
    return text === undefined ? [] : [{ name, text }];
  });
  const [first, second] = given;
  if (!first) return { mode: 'connect', address: defaultChannelAddress(environment) };
  if (second)
    throw new UsageError(`--${first.name} and --${second.name} cannot both be given: there is one channel`);
  const { name, text } = first;
  const mode = name.endsWith('listen') ? 'listen' : 'connect';
  const address = parseAddress(name.startsWith('data-') ? vpnkitAddress(text) : text);
  checkMode(address, mode);
  return { mode, address };
}

/** vpnkit-forwarder takes a vsock port where the text is a number, and else a path. */
function vpnkitAddress(text: string): string {
  return /^(\d+:)?\d+$/.test(text) ? `vsock:${text}` : `unix:${text}`;
}
