import { UsageError } from '../../protocol/errors.js';
import { isLogLevel, LOG_LEVELS } from '../../protocol/program/logger.js';
import { defineCommand } from '../../protocol/program/run-program.js';
import { CLIENT_OPTIONS, makeClient } from './control-option.js';
import { writeJson } from './output.js';

/** `portferry log-level` */
export const logLevelCommand = defineCommand({
  name: 'log-level',
  describe: 'Show how much a running host logs, or change it',
  operands: { name: 'level', describe: LOG_LEVELS.join(', '), required: false },
  words: LOG_LEVELS,
  options: CLIENT_OPTIONS,
  examples: [
    ['$0 log-level', 'how much it logs'],
    ['$0 log-level debug', 'from now on a line for each connection, too'],
    ['$0 log-level info', 'as when nothing is said'],
  ],
  epilogue:
    'It holds until the host ends, which then starts with its own --log-level. The guest is no program of this machine: in its VM, SIGUSR2 has it log at debug, and a second one as before.',
  async run({ control, json }, [level, ...more], { stdout, environment }) {
    if (more.length > 0) throw new UsageError(`one level at a time: what is ${more[0]}?`);
    if (level !== undefined && !isLogLevel(level))
      throw new UsageError(`the level must be one of ${LOG_LEVELS.join(', ')}, not "${level}"`);
    const client = makeClient(control, environment);
    const now = level === undefined ? await client.logLevel() : await client.setLogLevel(level);
    if (json) writeJson(stdout, { level: now });
    else stdout.write(`${now}\n`);
  },
});
