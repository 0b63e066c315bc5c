import { portferryGuest, readAgentOptions } from '../../../guest/cli.js';
import { portferry } from '../../../host/cli/program.js';
import { UsageError } from '../../../protocol/errors.js';
import { readArguments } from '../../../protocol/program/arguments.js';
import { COMMON_OPTIONS, resolveOptions } from '../../../protocol/program/declared-options.js';
import { readPlainArguments } from '../../../protocol/program/plain-arguments.js';
import type { ProgramDeclaration } from '../../../protocol/program/program-declaration.js';
import { allow, byName, equal } from '../target.js';

/** The parser for everything takes so much longer than one for a text. */
const COST = 8;

/** A folder that cannot be: nothing is made by what is only read. */
const ENVIRONMENT = { XDG_RUNTIME_DIR: '/nowhere' };

/** The command lines of both programs, one argument a line. */
export const commandLines = {
  ...byName(
    {
      host: (text) => void read(portferry, text.split('\n')),
      guest(text) {
        const values = read(portferryGuest, text.split('\n'));
        if (!values || values['proxy-socket'] !== undefined) return;
        allow([UsageError], () =>
          readAgentOptions(values as Parameters<typeof readAgentOptions>[0], ENVIRONMENT),
        );
      },
    },
    {
      host: [
        'host\n--connect\nunix:/a\n--forward=8080:80\n--forward\n53/udp\n--allow-remote',
        ...[
          'up\n--demo',
          'expose\n8080:80\n--json',
          'path\nweb\n--control=/c',
          'tail\n--failures',
          'bench\n--runs=3',
        ],
        ...[
          'service\ninstall\n--name=x\n--\nhost\n--hold\n5',
          'capture\n8080\n-w\nx.pcapng',
          '--help',
          '--version',
        ],
      ],
      guest: [
        '--listen\nunix:/run/c\n--allow-dial\n127.0.0.1:80\n--docker\n--log-level=debug',
        '-data-connect\n2:1024\n-control-listen=/x\n-debug',
      ],
    },
  ),
  cost: COST,
};

/** A line that is plain means what the parser for everything makes of it. */
function read(program: ProgramDeclaration, args: readonly string[]): Record<string, unknown> | undefined {
  const plain = readPlainArguments(program.commands, args);
  const full = readFully(program, args);
  if (!plain) return undefined;
  const names = [
    ...Object.keys({ ...plain.command.options, ...COMMON_OPTIONS }),
    plain.command.operands?.name ?? '--',
  ];
  const given = (flags: Readonly<Record<string, unknown>>): object =>
    Object.fromEntries(names.flatMap((name) => (flags[name] === undefined ? [] : [[name, flags[name]]])));
  equal(
    { command: plain.command.name, flags: given(plain.flags) },
    full && { command: full.command.name, flags: given(full.flags) },
    'read plainly it is something else',
  );
  const { config: _, ...flags } = plain.flags;
  return allow([UsageError], () => resolveOptions(plain.command.options, flags, {}, new Set()));
}

/** @returns undefined for what it refuses, or only shows */
function readFully(program: ProgramDeclaration, args: readonly string[]) {
  try {
    const full = readArguments(program, args);
    return 'shown' in full ? undefined : full;
  } catch {
    return undefined;
  }
}
