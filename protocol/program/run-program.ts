import { errnoOf, messageOf, OperationError, UsageError } from '../errors.js';
import { COMMON_OPTIONS, type OptionDeclarations, resolveOptions } from './declared-options.js';
import { refuseUnknownVariables } from './environment.js';
import { readPlainArguments } from './plain-arguments.js';
import type { CommandDeclaration, ProgramContext, ProgramDeclaration } from './program-declaration.js';

export type {
  CommandDeclaration,
  Example,
  ProgramContext,
  ProgramDeclaration,
} from './program-declaration.js';

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
    await (await chooseCommand(program, context))();
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

/** Most calls are plain: they need no parser that can also help. */
async function chooseCommand(
  program: ProgramDeclaration,
  context: ProgramContext,
): Promise<() => Promise<void>> {
  refuseUnknownCommand(program, context.args);
  if (asksForVersion(context.args)) return async () => void context.stdout.write(versionDocument(program));
  const fileKeys = new Set(program.commands.flatMap((command) => Object.keys(command.options)));
  const plain = readPlainArguments(program.commands, context.args);
  if (plain) return () => runCommand(program, plain.command, plain.flags, context, fileKeys);
  const { readArguments } = await import('./arguments.js');
  try {
    const read = readArguments(program, context.args);
    return 'shown' in read
      ? async () => void context.stdout.write(`${read.shown}\n`)
      : () => runCommand(program, read.command, read.flags, context, fileKeys);
  } catch (thrown) {
    throw new UsageError(`${inLowerCase(messageOf(thrown))} (see ${helpCall(program, context.args)})`);
  }
}

/** `--version --json`, for programs; what is for people the parser for everything knows. */
function asksForVersion(args: readonly string[]): boolean {
  return args.length === 2 && args.includes('--version') && args.includes('--json');
}

function versionDocument({ name, version, build }: ProgramDeclaration): string {
  return `${JSON.stringify({ name, version, ...build }, undefined, 2)}\n`;
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
