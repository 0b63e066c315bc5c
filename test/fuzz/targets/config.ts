import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { UsageError } from '../../../protocol/errors.js';
import { COMMON_OPTIONS, resolveOptions } from '../../../protocol/program/declared-options.js';
import { readPlainArguments } from '../../../protocol/program/plain-arguments.js';
import { allow, byName } from '../target.js';

const OPTIONS = {
  ...COMMON_OPTIONS,
  connect: { type: 'string', describe: '' },
  listen: { type: 'string', describe: '', excludes: 'connect' },
  forward: { type: 'list', describe: '', short: 'f' },
  hold: { type: 'number', describe: '', min: 0, max: 86_400 },
  'max-streams': { type: 'number', describe: '', min: 1, whole: true },
  'log-level': { type: 'string', describe: '', choices: ['info', 'debug'] },
  'allow-remote': { type: 'boolean', describe: '' },
  'dashboard-port': { type: 'string', describe: '', bare: '0' },
} as const;

const KEYS = new Set(Object.keys(OPTIONS));
const COMMANDS = [
  { name: 'host', options: OPTIONS },
  { name: 'expose', options: OPTIONS, operands: { name: 'spec' } },
];

const folder = mkdtempSync(join(tmpdir(), 'portferry-fuzz-'));
process.on('exit', () => rmSync(folder, { recursive: true, force: true }));

/** Configuration files, the environment, and command lines. */
export const config = byName(
  {
    file(text) {
      const path = join(folder, 'config.json');
      writeFileSync(path, text);
      const values = allow([UsageError], () => resolveOptions(OPTIONS, { config: path }, {}, KEYS));
      if (values) check(values);
    },
    environment(text) {
      const entries = text.split('\n').map((entry) => entry.split('='));
      const values = allow([UsageError], () =>
        resolveOptions(
          OPTIONS,
          {},
          Object.fromEntries(entries.filter(([name]) => name !== 'PORTFERRY_CONFIG')),
          KEYS,
        ),
      );
      if (values) check(values);
    },
    arguments(text) {
      const args = text.split('\n');
      const read = readPlainArguments(COMMANDS, args);
      if (read)
        allow([UsageError], () =>
          check(resolveOptions(OPTIONS, { ...read.flags, config: undefined }, {}, KEYS)),
        );
    },
  },
  {
    file: [
      '{"connect":"unix:/a","forward":["8080:80","53/udp"],"hold":5,"allow-remote":true,"log-level":"debug"}',
      '{"listen":"tcp:127.0.0.1:0","max-streams":"7","dashboard-port":true}',
    ],
    environment: [
      'PORTFERRY_CONNECT=unix:/a\nPORTFERRY_FORWARD=8080:80, 53/udp\nPORTFERRY_HOLD=1.5\nPORTFERRY_ALLOW_REMOTE=1',
    ],
    arguments: [
      'host\n--connect\nunix:/a\n--forward=8080:80\n-f\n53/udp\n--allow-remote\n-hold=5',
      'expose\n8080:80\n--dashboard-port\n--max-streams\n3',
    ],
  },
);

/** Each value is of its type, and in its bounds. */
function check(values: ReturnType<typeof resolveOptions<typeof OPTIONS>>): void {
  const { hold, forward, connect, listen } = values;
  const right =
    (hold === undefined || (hold >= 0 && hold <= 86_400)) &&
    (values['max-streams'] === undefined || Number.isInteger(values['max-streams'])) &&
    (values['log-level'] === undefined ||
      OPTIONS['log-level'].choices.some((known) => known === values['log-level'])) &&
    typeof values['allow-remote'] === 'boolean' &&
    forward.every((spec) => typeof spec === 'string') &&
    (connect === undefined || listen === undefined);
  if (!right) throw new Error(`options that cannot be: ${JSON.stringify(values)}`);
}
