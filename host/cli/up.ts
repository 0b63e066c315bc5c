import { fileURLToPath } from 'node:url';
import { UsageError } from '../../protocol/errors.js';
import { LOG_LEVEL_OPTION, type OptionDeclarations } from '../../protocol/program/declared-options.js';
import { logDestination } from '../../protocol/program/logger.js';
import { type CommandDeclaration, defineCommand } from '../../protocol/program/run-program.js';
import { stopOnSignals } from '../../protocol/program/stop-signals.js';
import { addressesOverlap, type ForwardRule, formatRule } from '../rule/forward-rule.js';
import { parseSpec, SPEC_FORM, UNIX_SPEC_FORM } from '../rule/forward-spec.js';
import { runUp } from '../up/session.js';

const OPTIONS = {
  demo: {
    type: 'boolean',
    describe: 'Serve a small web page in the guest, and show the way of a request to it',
  },
  'log-level': { ...LOG_LEVEL_OPTION, defaultDescription: 'warn' },
} as const satisfies OptionDeclarations;

/** The two programs that `up` runs: how to call each, without its options. */
export interface UpPrograms {
  host: readonly [file: string, ...args: string[]];
  guest: readonly [file: string, ...args: string[]];
}

const INSTALLED: UpPrograms = {
  host: [process.execPath, fileURLToPath(new URL('../main.js', import.meta.url))],
  guest: [process.execPath, fileURLToPath(new URL('../../guest/main.js', import.meta.url))],
};

/** `portferry up` */
export function makeUpCommand(programs: UpPrograms = INSTALLED): CommandDeclaration {
  return defineCommand({
    name: 'up',
    describe: 'Run host and guest on this machine, until SIGINT or SIGTERM',
    operands: { name: 'spec', describe: `${SPEC_FORM} or ${UNIX_SPEC_FORM}`, required: false },
    options: OPTIONS,
    examples: [
      ['$0 up --demo', 'see a request going through'],
      ['$0 up 9080:80', 'localhost:9080 to what listens on port 80'],
    ],
    async run({ demo, 'log-level': level = 'warn' }, specs, { stdout, stderr, environment }) {
      if (specs.length === 0 && !demo)
        throw new UsageError('up needs a SPEC such as 9080:80, or --demo (see portferry up --help)');
      for (const rule of specs.flatMap(parseSpec)) refuseSelfForward(rule);
      const log = stderr === process.stderr ? logDestination(process.stderr.isTTY === true) : stderr;
      const { stop, release } = stopOnSignals({ environment });
      return runUp({
        specs,
        demo,
        stdout,
        stop,
        log: (line) => void log.write(`${line}\n`),
        makeHost: (channel, control) => ({
          name: 'the host',
          command: [
            ...programs.host,
            'host',
            '--listen',
            `unix:${channel}`,
            '--control',
            control,
            '--log-level',
            level,
          ],
        }),
        makeGuest: (channel) => ({
          name: 'the guest',
          // Containers' ports are published on this machine already.
          command: [...programs.guest, '--connect', `unix:${channel}`, '--docker=off', '--log-level', level],
        }),
      }).finally(release);
    },
  });
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
