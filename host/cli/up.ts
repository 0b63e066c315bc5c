import { fileURLToPath } from 'node:url';
import { UsageError } from '../../protocol/errors.js';
import {
  LOG_LEVEL_OPTION,
  type OptionDeclarations,
  type OptionValues,
} from '../../protocol/program/declared-options.js';
import { logDestination } from '../../protocol/program/logger.js';
import { type CommandDeclaration, defineCommand } from '../../protocol/program/run-program.js';
import { stopOnSignals } from '../../protocol/program/stop-signals.js';
import { parseDashboardAddress } from '../dashboard/address.js';
import { addressesOverlap, type ForwardRule, formatRule } from '../rule/forward-rule.js';
import { parseSpec, SPEC_FORM, UNIX_SPEC_FORM } from '../rule/forward-spec.js';
import { SOCKET_PATH } from '../up/engine/containers.js';
import { DEFAULT_IMAGE } from '../up/engine/engine.js';
import { EngineGuest } from '../up/engine/engine-guest.js';
import { type LocalGuest, type RemoteGuest, runUp } from '../up/session.js';
import { DASHBOARD_OPTION } from './dashboard-option.js';

const OPTIONS = {
  demo: {
    type: 'boolean',
    describe: 'Serve a small web page in the guest, and show the way of a request to it',
  },
  engine: {
    type: 'string',
    describe:
      "Run the guest in a container, in the network of the Docker engine that the docker command reaches; =CONTEXT chooses one of docker's contexts",
    // The context that docker itself would take.
    bare: '',
    defaultDescription: 'none: the guest runs on this machine',
  },
  publish: {
    type: 'boolean',
    describe: 'With --engine: forward the ports that its containers publish, too',
  },
  image: {
    type: 'string',
    describe: "With --engine: the image of the guest's container, which must have Node.js",
    defaultDescription: DEFAULT_IMAGE,
  },
  'engine-socket': {
    type: 'string',
    describe: "With --engine: the path of the engine's own socket, on the engine's machine",
    defaultDescription: SOCKET_PATH,
  },
  dashboard: DASHBOARD_OPTION,
  'log-level': { ...LOG_LEVEL_OPTION, defaultDescription: 'warn' },
} as const satisfies OptionDeclarations;

type Values = OptionValues<typeof OPTIONS>;

type CommandLine = readonly [file: string, ...args: string[]];

/** The programs that `up` runs: how to call each, without its options. */
export interface UpPrograms {
  host: CommandLine;
  guest: CommandLine;
  docker: CommandLine;
  /** What enters the machine of an engine. */
  enter: CommandLine;
  /** The guest in one file, for a container. */
  bundle: string;
}

const builtPath = (path: string): string => fileURLToPath(new URL(`../../${path}`, import.meta.url));

const INSTALLED: UpPrograms = {
  host: [process.execPath, builtPath('host/main.js')],
  guest: [process.execPath, builtPath('guest/main.js')],
  docker: ['docker'],
  enter: [process.execPath, builtPath('host/enter.js')],
  bundle: builtPath('portferry-guest.mjs'),
};

/** `portferry up` */
export function makeUpCommand(programs: UpPrograms = INSTALLED): CommandDeclaration {
  return defineCommand({
    name: 'up',
    describe: "Run a host, with its guest on this machine or in a Docker engine's, until SIGINT or SIGTERM",
    operands: { name: 'spec', describe: `${SPEC_FORM} or ${UNIX_SPEC_FORM}`, required: false },
    options: OPTIONS,
    examples: [
      ['$0 up --demo', 'see a request going through'],
      ['$0 up --demo --dashboard', 'and a page that shows it'],
      ['$0 up 9080:80', 'localhost:9080 to what listens on port 80'],
      ['$0 up --engine 9080:8080', "localhost:9080 to port 8080 in Docker Desktop's VM"],
      ['$0 up --engine=colima --publish', "containers' ports, in docker's context colima"],
    ],
    epilogue:
      '--engine installs nothing: its container goes with up. It is privileged, and shares network and processes of the machine that the engine runs on.',
    async run(values, specs, { stdout, stderr, environment }) {
      const rules = specs.flatMap(parseSpec);
      refuseContradictions(values, specs, rules);
      const { 'log-level': level = 'warn', dashboard } = values;
      if (dashboard !== undefined) parseDashboardAddress(dashboard);
      const hostArgs = ['--log-level', level, ...dashboardArgs(dashboard)];
      const log = stderr === process.stderr ? await logDestination(process.stderr.isTTY === true) : stderr;
      const { stop, release } = stopOnSignals({ environment });
      return runUp({
        specs,
        demo: values.demo,
        dashboard: dashboard !== undefined,
        stdout,
        stop,
        log: (line) => void log.write(`${line}\n`),
        makeHost: (channel, control) => ({
          name: 'the host',
          command: [...programs.host, 'host', ...channel, '--control', control, ...hostArgs],
        }),
        guest:
          values.engine === undefined
            ? localGuest(programs, level)
            : engineGuest({ ...values, context: values.engine, level }, programs, rules, stop, (line) =>
                stderr.write(`${line}\n`),
              ),
      }).finally(release);
    },
  });
}

/** As they were given to `up`. */
function dashboardArgs(address: string | undefined): string[] {
  if (address === undefined) return [];
  return [address === '' ? '--dashboard' : `--dashboard=${address}`];
}

function localGuest(programs: UpPrograms, level: string): LocalGuest {
  return {
    make: (channel) => ({
      name: 'the guest',
      // Containers' ports are published on this machine already.
      command: [...programs.guest, '--connect', `unix:${channel}`, '--docker=off', '--log-level', level],
    }),
  };
}

function engineGuest(
  { context, publish, image, 'engine-socket': socket, level }: Values & { context: string; level: string },
  { docker, enter, bundle }: UpPrograms,
  rules: readonly ForwardRule[],
  stop: AbortSignal,
  say: (line: string) => void,
): RemoteGuest {
  const published = publish ? SOCKET_PATH : 'off';
  return new EngineGuest({
    docker,
    context,
    image: image ?? DEFAULT_IMAGE,
    socket,
    bundle,
    guestArgs: ['--connect', 'stdio:', `--docker=${published}`, '--log-level', level],
    enter,
    say,
    stop,
    onSameMachine: () => rules.forEach(refuseSelfForward),
  });
}

/** @throws UsageError */
function refuseContradictions(values: Values, specs: readonly string[], rules: readonly ForwardRule[]): void {
  if (values.engine === undefined) {
    const stray = (['publish', 'image', 'engine-socket'] as const).find((name) => values[name]);
    if (stray) throw new UsageError(`--${stray} goes with --engine (see portferry up --help)`);
    if (specs.length === 0 && !values.demo)
      throw new UsageError('up needs a SPEC such as 9080:80, --demo or --engine (see portferry up --help)');
    rules.forEach(refuseSelfForward);
  } else if (values.demo)
    throw new UsageError("--demo and --engine exclude each other: the page is this machine's");
}

/** On one machine a forward to its own address would find its listener instead of the program that is meant. */
function refuseSelfForward(rule: ForwardRule): void {
  const { destination } = rule;
  const same =
    rule.proto === 'unix'
      ? destination.proto === 'unix' && destination.path === rule.hostPath
      : destination.proto !== 'unix' &&
        destination.port === rule.hostPort &&
        rule.hostIps.some((ip) => addressesOverlap(ip, destination.ip));
  if (!same) return;
  throw new UsageError(
    `"${formatRule(rule)}" leads back to itself: host and guest are the same machine here, so that the host's end must differ, as in 9080:80`,
  );
}
