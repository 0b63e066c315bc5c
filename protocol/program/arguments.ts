import yargs, { type Argv, type Options } from 'yargs';
import { describeBuild } from './build-description.js';
import {
  BUILT_IN_OPTIONS,
  COMMON_OPTIONS,
  describeRange,
  type OptionDeclaration,
} from './declared-options.js';
import type { CommandDeclaration, ProgramDeclaration } from './program-declaration.js';

/** What a command line says: a command with its flags, or that something is to be shown, such as help. */
export type Arguments =
  | { command: CommandDeclaration; flags: Readonly<Record<string, unknown>> }
  | { shown: string };

/** Reads any command line. It is loaded only for those that plain-arguments.ts leaves to it. @throws Error */
export function readArguments(program: ProgramDeclaration, args: readonly string[]): Arguments {
  let read: Arguments | undefined;
  const parser = makeParser(program);
  for (const command of program.commands) {
    const operands = command.operands;
    parser.command(
      operands ? `${command.name} [${operands.name}..]` : command.name,
      command.describe,
      (builder) => buildCommand(builder, command),
      (flags) => {
        read = { command, flags };
      },
    );
  }
  let shown = '';
  // What is wrong with the arguments is thrown, since fail(false) is set.
  parser.parse(markBareOptions(program, args), {}, (_error, _argv, output) => {
    shown = output;
  });
  return read && !shown ? read : { shown };
}

function describeVersion({ version, build }: ProgramDeclaration): string {
  return [version, ...(build === undefined ? [] : [describeBuild(build)])].join('\n');
}

/** An option whose value may be left out gets it after `=` alone: what follows as a word of its own is an operand. */
function markBareOptions(program: ProgramDeclaration, args: readonly string[]): string[] {
  const options = program.commands.flatMap((command) => Object.entries(command.options));
  const bare = new Set(options.flatMap(([name, { bare }]) => (bare === undefined ? [] : [`--${name}`])));
  const end = args.indexOf('--');
  return args.map((arg, index) => (bare.has(arg) && (end < 0 || index < end) ? `${arg}=` : arg));
}

function makeParser(program: ProgramDeclaration): Argv {
  const named = program.commands.filter((command) => command.name !== '$0').map((command) => command.name);
  const parser = yargs()
    .scriptName(program.name)
    .usage(named.length > 0 ? `$0 <command> [options]\n\n${program.describe}` : program.describe)
    .example(program.examples)
    .epilogue(program.epilogue)
    .version('version', BUILT_IN_OPTIONS.version, describeVersion(program))
    .help('help', BUILT_IN_OPTIONS.help)
    .alias('help', 'h')
    .locale('en')
    .strict()
    .exitProcess(false)
    .fail(false)
    .parserConfiguration({
      // Ports are text here (8080:80, 0x50 is none), and vpnkit-forwarder's flags have a single dash.
      'parse-numbers': false,
      'parse-positional-numbers': false,
      'short-option-groups': false,
      'boolean-negation': false,
      'camel-case-expansion': false,
      'dot-notation': false,
      'greedy-arrays': false,
      // What follows -- is an operand, whatever it looks like.
      'populate--': true,
    });
  return named.length === program.commands.length
    ? parser.demandCommand(1, `no command given: one of ${named.join(', ')}`)
    : parser;
}

function buildCommand(builder: Argv, command: CommandDeclaration): Argv {
  const { operands, options, examples, epilogue = '' } = command;
  if (operands)
    builder.positional(operands.name, {
      type: 'string',
      array: true,
      describe: operands.describe,
      defaultDescription: 'none',
    });
  for (const [name, declaration] of Object.entries({ ...options, ...COMMON_OPTIONS }))
    builder.option(name, yargsOption(declaration));
  return builder.example(examples).epilogue(epilogue);
}

/** Values stay text: flags, environment and file are then checked by the same code, with the same messages. */
function yargsOption(declaration: OptionDeclaration): Options {
  const { type, describe, short, choices, defaultDescription, bare } = declaration;
  const allowed = type === 'number' ? describeRange(declaration) : choices?.join(', ');
  const described = allowed === undefined ? describe : `${describe}: ${allowed}`;
  const option: Options = { describe: described, ...(short !== undefined && { alias: short }) };
  if (defaultDescription !== undefined) option.defaultDescription = defaultDescription;
  if (type === 'boolean') option.type = 'boolean';
  else if (type === 'list') Object.assign(option, { type: 'string', array: true, requiresArg: true });
  else if (bare === undefined) option.nargs = 1;
  else option.type = 'string';
  return option;
}
