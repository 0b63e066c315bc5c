import type { Writable } from 'node:stream';
import yargs, { type Argv, type Options } from 'yargs';
import { errnoOf, messageOf, OperationError, UsageError } from '../errors.js';
import {
  COMMON_OPTIONS,
  describeRange,
  type OptionDeclaration,
  type OptionDeclarations,
  type OptionValues,
  resolveOptions,
} from './declared-options.js';
import { refuseUnknownVariables } from './environment.js';

/** What a program gets from its process, so that it can also be run inside a test. */
export interface ProgramContext {
  /** Without interpreter and script. */
  readonly args: readonly string[];
  readonly environment: NodeJS.ProcessEnv;
  readonly stdout: Writable;
  readonly stderr: Writable;
}

export type Example = [command: string, what: string];

/** One command. The name `$0` makes it what the program does when no command is named. */
export interface CommandDeclaration<O extends OptionDeclarations = OptionDeclarations> {
  readonly name: string;
  readonly describe: string;
  /** The arguments without a name, given to run() as `operands`; without it there may be none. */
  readonly operands?: { readonly name: string; readonly describe: string; readonly required: boolean };
  readonly options: O;
  readonly examples: readonly Example[];
  /** What stands below the options in help. */
  readonly epilogue?: string;
  run(values: OptionValues<O>, operands: readonly string[], context: ProgramContext): Promise<void>;
}

export interface ProgramDeclaration {
  readonly name: string;
  readonly version: string;
  readonly describe: string;
  readonly commands: readonly CommandDeclaration[];
  readonly examples: readonly Example[];
  readonly epilogue: string;
}

/** Exit codes, as DESIGN has them for both programs. */
export const EXIT = { done: 0, failed: 1, usage: 2 } as const;

/** Keeps the option types of a command for its run(), and forgets them for the list of commands. */
export function defineCommand<const O extends OptionDeclarations>(
  command: CommandDeclaration<O>,
): CommandDeclaration {
  return command as unknown as CommandDeclaration;
}

/**
 * Parses the command line and runs the command it names. What goes wrong is written to stderr as one line.
 * @returns the exit code: 0 done, 1 it failed, 2 wrong usage
 */
export async function runProgram(program: ProgramDeclaration, context: ProgramContext): Promise<number> {
  try {
    await chooseCommand(program, context)();
    return EXIT.done;
  } catch (thrown) {
    context.stderr.write(`${program.name}: ${describeFailure(thrown)}\n`);
    return thrown instanceof UsageError ? EXIT.usage : EXIT.failed;
  }
}

/** One line. An error that nobody foresaw names the place it came from: whoever reports it needs that. */
function describeFailure(thrown: unknown): string {
  const line = messageOf(thrown)
    .trim()
    .replace(/\s*\n\s*/g, '; ');
  const foreseen = thrown instanceof UsageError || thrown instanceof OperationError || errnoOf(thrown);
  if (foreseen || !(thrown instanceof Error)) return line;
  const place = thrown.stack?.split('\n').find((frame) => /^\s+at /.test(frame));
  return `${thrown.name}: ${line}${place ? ` (${place.trim()})` : ''}`;
}

function chooseCommand(program: ProgramDeclaration, context: ProgramContext): () => Promise<void> {
  refuseUnknownCommand(program, context.args);
  let run: (() => Promise<void>) | undefined;
  const parser = makeParser(program);
  const fileKeys = new Set(program.commands.flatMap((command) => Object.keys(command.options)));
  for (const command of program.commands) {
    const operands = command.operands;
    parser.command(
      operands ? `${command.name} [${operands.name}..]` : command.name,
      command.describe,
      (builder) => buildCommand(builder, command),
      (flags) => {
        run = () => runCommand(program, command, flags, context, fileKeys);
      },
    );
  }
  let shown = '';
  try {
    // What is wrong with the arguments is thrown, since fail(false) is set.
    parser.parse(markBareOptions(program, context.args), {}, (_error, _argv, output) => {
      shown = output;
    });
  } catch (thrown) {
    throw new UsageError(`${inLowerCase(messageOf(thrown))} (see ${helpCall(program, context.args)})`);
  }
  return run && !shown ? run : async () => void context.stdout.write(`${shown}\n`);
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
    .version(program.version)
    .help()
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
  const { type, describe, choices, defaultDescription, bare } = declaration;
  const allowed = type === 'number' ? describeRange(declaration) : choices?.join(', ');
  const described = allowed === undefined ? describe : `${describe}: ${allowed}`;
  const option: Options = { describe: described };
  if (defaultDescription !== undefined) option.defaultDescription = defaultDescription;
  if (type === 'boolean') option.type = 'boolean';
  else if (type === 'list') Object.assign(option, { type: 'string', array: true, requiresArg: true });
  else if (bare === undefined) option.nargs = 1;
  else option.type = 'string';
  return option;
}

async function runCommand(
  program: ProgramDeclaration,
  command: CommandDeclaration,
  flags: Readonly<Record<string, unknown>>,
  context: ProgramContext,
  fileKeys: ReadonlySet<string>,
): Promise<void> {
  const operands = operandsOf(flags, command.operands?.name);
  if (!command.operands && operands.length > 0)
    throw new UsageError(
      `${command.name} takes no argument ${operands[0]} (see ${program.name} ${command.name} --help)`,
    );
  if (command.operands?.required && operands.length === 0)
    throw new UsageError(
      `${command.name} needs at least one ${command.operands.name.toUpperCase()} (see ${program.name} ${command.name} --help)`,
    );
  const options = { ...command.options, ...COMMON_OPTIONS };
  refuseUnknownVariables(context.environment, fileKeys);
  await command.run(resolveOptions(options, flags, context.environment, fileKeys), operands, context);
}

function operandsOf(flags: Readonly<Record<string, unknown>>, name = '--'): string[] {
  return [...new Set([name, '--'])].flatMap((key) => (flags[key] ?? []) as string[]);
}

function refuseUnknownCommand(program: ProgramDeclaration, [first]: readonly string[]): void {
  const names = program.commands.map((command) => command.name);
  if (first === undefined || first.startsWith('-') || names.includes(first) || names.includes('$0')) return;
  throw new UsageError(`unknown command '${first}': one of ${names.join(', ')}`);
}

function helpCall(program: ProgramDeclaration, [first]: readonly string[]): string {
  const named = program.commands.some((command) => command.name === first);
  return `${program.name}${named ? ` ${first}` : ''} --help`;
}

function inLowerCase(message: string): string {
  return message.charAt(0).toLowerCase() + message.slice(1);
}
