import { COMMON_OPTIONS, describeRange, type OptionDeclaration } from './declared-options.js';
import type { CommandDeclaration, Example, ProgramDeclaration } from './run-program.js';

/**
 * A program's manual, for section 1, in the macros of man(7): made of what --help is made of. There is no date in
 * it, so that the same source gives the same page.
 */
export function manPage(program: ProgramDeclaration): string {
  const { name, version, describe, commands, examples, epilogue } = program;
  const lines = [
    `.TH ${name.toUpperCase()} 1 "" ${quote(`portferry ${version}`)} "User commands"`,
    '.SH NAME',
    `${roff(name)} \\- ${roff(describe)}`,
    '.SH SYNOPSIS',
    ...commands.flatMap((command) => ['.PP', synopsis(program, command)]),
    ...commands.flatMap((command) => commandSection(program, command)),
    ...exampleSection('.SH EXAMPLES', name, examples),
    '.SH NOTES',
    ...paragraphs(epilogue),
  ];
  return `${lines.join('\n')}\n`;
}

function synopsis({ name }: ProgramDeclaration, command: CommandDeclaration): string {
  const { operands } = command;
  const words = command.name === '$0' ? [name] : [name, command.name];
  const rest = operands ? [operands.required ? `${operands.name}...` : `[${operands.name}...]`] : [];
  return `\\fB${roff(words.join(' '))}\\fR [options] ${roff(rest.join(' '))}`.trimEnd();
}

function commandSection(program: ProgramDeclaration, command: CommandDeclaration): string[] {
  const { name, describe, operands, options, examples, epilogue = '' } = command;
  const title = name === '$0' ? 'DESCRIPTION' : `${program.name} ${name}`.toUpperCase();
  return [
    `.SH ${quote(title)}`,
    ...paragraphs(describe),
    ...(operands ? ['.TP', `\\fI${roff(operands.name)}\\fR`, line(operands.describe)] : []),
    ...Object.entries({ ...options, ...COMMON_OPTIONS }).flatMap(optionItem),
    ...paragraphs(epilogue),
    ...exampleSection('.SS Examples', program.name, examples),
  ];
}

function optionItem([name, declaration]: [string, OptionDeclaration]): string[] {
  const { type, describe, choices, defaultDescription, bare } = declaration;
  const value = type === 'boolean' ? '' : bare === undefined ? ` \\fI${type}\\fR` : `[=\\fI${type}\\fR]`;
  const allowed = type === 'number' ? describeRange(declaration) : choices?.join(', ');
  const text = [describe, ...(allowed === undefined ? [] : [`: ${allowed}`])].join('');
  const more = defaultDescription === undefined ? '' : ` (default: ${defaultDescription})`;
  return ['.TP', `\\fB\\-\\-${roff(name)}\\fR${value}`, line(`${text}${more}`)];
}

function exampleSection(heading: string, name: string, examples: readonly Example[]): string[] {
  if (examples.length === 0) return [];
  const items = examples.flatMap(([command, what]) => [
    '.TP',
    `\\fB${roff(command.replace('$0', name))}\\fR`,
    line(what),
  ]);
  return [heading, ...items];
}

function paragraphs(text: string): string[] {
  return text.split('\n\n').flatMap((paragraph) => (paragraph === '' ? [] : ['.PP', line(paragraph)]));
}

/** A line that begins like a request is none. */
function line(text: string): string {
  return roff(text).replace(/^(?=[.'])/, '\\&');
}

/** What stands for itself on every device: a hyphen may be broken at, and a quote turned into another. */
function roff(text: string): string {
  return text
    .replaceAll('\\', '\\e')
    .replaceAll('-', '\\-')
    .replaceAll("'", '\\(aq')
    .replaceAll('^', '\\(ha')
    .replaceAll('~', '\\(ti')
    .replaceAll('…', '...')
    .replaceAll('→', '\\(->')
    .replaceAll('\n', ' ');
}

function quote(text: string): string {
  return `"${roff(text).replaceAll('"', '\\(dq')}"`;
}
