import {
  BUILT_IN_OPTIONS,
  COMMON_OPTIONS,
  describeRange,
  type OptionDeclaration,
} from './declared-options.js';
import type { CommandDeclaration, Example, ProgramDeclaration } from './run-program.js';

/** mandoc remarks on longer lines, and an escape at the start of one must have room. */
const MAX_LINE_CHARACTERS = 78;

/** A word of more characters may be broken where one of its parts ends: a narrow page has no room for it. */
const MAX_UNBROKEN_CHARACTERS = 30;

/**
 * A program's manual, for section 1, in the macros of man(7): made of what --help is made of. There is no date in
 * it, so that the same source gives the same page.
 */
export function manPage(program: ProgramDeclaration): string {
  const { name, version, describe, commands, examples, epilogue } = program;
  const page = [
    `.TH ${name.toUpperCase()} 1 "" ${quote(`portferry ${version}`)} "User commands"`,
    // Forms of arguments are words without an end: spaces would be stretched between them.
    '.ad l',
    '.SH NAME',
    ...lines(`${name} - ${describe}`),
    '.SH SYNOPSIS',
    ...separated(commands.map((command) => [synopsis(program, command)])),
    ...commands.flatMap((command) => commandSection(program, command)),
    '.SH OPTIONS',
    'Beside its own options every command has these.',
    ...Object.entries(BUILT_IN_OPTIONS).flatMap(([option, text]) =>
      optionItem([option, { type: 'boolean', describe: text }]),
    ),
    ...exampleSection('.SH EXAMPLES', name, examples),
    '.SH NOTES',
    ...paragraphs(epilogue),
  ];
  return `${page.join('\n')}\n`;
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
    ...(operands ? ['.TP', `\\fI${roff(operands.name)}\\fR`, ...lines(operands.describe)] : []),
    ...Object.entries({ ...options, ...COMMON_OPTIONS }).flatMap(optionItem),
    ...(epilogue === '' ? [] : ['.PP', ...paragraphs(epilogue)]),
    ...exampleSection('.SS Examples', program.name, examples),
  ];
}

function optionItem([name, declaration]: [string, OptionDeclaration]): string[] {
  const { type, describe, short, choices, defaultDescription, bare } = declaration;
  const value = type === 'boolean' ? '' : bare === undefined ? ` \\fI${type}\\fR` : `[=\\fI${type}\\fR]`;
  const allowed = type === 'number' ? describeRange(declaration) : choices?.join(', ');
  const text = [describe, ...(allowed === undefined ? [] : [`: ${allowed}`])].join('');
  const more = defaultDescription === undefined ? '' : ` (default: ${defaultDescription})`;
  const letter = short === undefined ? '' : `\\fB\\-${short}\\fR, `;
  return ['.TP', `${letter}\\fB\\-\\-${roff(name)}\\fR${value}`, ...lines(`${text}${more}`)];
}

function exampleSection(heading: string, name: string, examples: readonly Example[]): string[] {
  if (examples.length === 0) return [];
  const items = examples.flatMap(([command, what]) => [
    '.TP',
    `\\fB${roff(command.replace('$0', name))}\\fR`,
    ...lines(what),
  ]);
  return [heading, ...items];
}

/** The first one follows its heading. */
function paragraphs(text: string): string[] {
  return separated(text.split('\n\n').map(lines));
}

function separated(parts: readonly string[][]): string[] {
  return parts.flatMap((part, index) => (index === 0 ? part : ['.PP', ...part]));
}

/** Text, broken at spaces into lines that editors and mandoc like. */
function lines(text: string): string[] {
  const broken: string[] = [];
  let line = '';
  for (const word of text.split(/\s+/).map((plain) => breakable(roff(plain)))) {
    if (line !== '' && line.length + 1 + word.length > MAX_LINE_CHARACTERS) {
      broken.push(asText(line));
      line = word;
    } else line = line === '' ? word : `${line} ${word}`;
  }
  return [...broken, asText(line)];
}

/** A line that begins like a request is none. */
function asText(line: string): string {
  return line.replace(/^(?=[.'])/, '\\&');
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
    .replaceAll('→', '\\(->');
}

/** Where a long word may be broken without a hyphen. */
function breakable(word: string): string {
  return word.length > MAX_UNBROKEN_CHARACTERS ? word.replace(/[\]|:/](?=.)/g, '$&\\:') : word;
}

function quote(text: string): string {
  return `"${roff(text).replaceAll('"', '\\(dq')}"`;
}
