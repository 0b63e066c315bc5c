import { COMMON_OPTIONS, type OptionDeclaration, type OptionDeclarations } from './declared-options.js';

/** What of a command its arguments are read by. */
interface ReadableCommand {
  readonly name: string;
  readonly operands?: { readonly name: string };
  readonly options: OptionDeclarations;
}

/** An option: `--name`, `--name=value`, or with one dash, as vpnkit-forwarder has it; and `-w`. */
const FLAG = /^(?:--(?<name>[a-z][a-z-]+)(?:=(?<value>.*))?|-(?<single>[a-z][a-z-]*))$/s;

/** What a parser might take for something else than a value: a flag, nothing, or quotes to be removed. */
const UNUSUAL = /^(?:[-'"`]|$)/;

/** What may stand behind a boolean flag and belong to it. */
const TRUTH = ['true', 'false'];

/**
 * Reads a command line that says nothing but a command, known options with their values, and operands. That is all
 * that most calls say, and the parser for the others takes longer to load than a command takes to run.
 * @returns undefined for any other command line, right or wrong: readArguments() knows what to make of it
 */
export function readPlainArguments<C extends ReadableCommand>(
  commands: readonly C[],
  args: readonly string[],
): { command: C; flags: Record<string, unknown> } | undefined {
  const named = commands.find(({ name }) => name === args[0]);
  const command = named ?? commands.find(({ name }) => name === '$0');
  if (!command) return undefined;
  const flags = readFlags(command, named ? args.slice(1) : args);
  return flags && { command, flags };
}

function readFlags({ operands, options }: ReadableCommand, args: string[] | readonly string[]) {
  const known: OptionDeclarations = { ...options, ...COMMON_OPTIONS };
  const flags: Record<string, unknown> = {};
  const values: string[] = [];
  for (let at = 0; at < args.length; ) {
    const arg = args[at++] as string;
    const flag = FLAG.exec(arg)?.groups;
    const name = flag?.['name'] ?? nameOf(flag?.['single'], known);
    if (name === undefined) {
      if (!operands || UNUSUAL.test(arg)) return undefined;
      values.push(arg);
      continue;
    }
    const declaration = Object.hasOwn(known, name) ? known[name] : undefined;
    const next = args[at];
    const given = declaration && readValue(declaration, flag?.['value'], next);
    if (given === undefined || !add(flags, name, declaration?.type === 'list', given.value)) return undefined;
    if (given.tookNext) at++;
  }
  if (operands) flags[operands.name] = values;
  return flags;
}

/** What is meant by a single dash: an option's name, or its one letter. */
function nameOf(single: string | undefined, known: OptionDeclarations): string | undefined {
  if (single?.length !== 1) return single;
  return Object.keys(known).find((name) => known[name]?.short === single) ?? single;
}

/** @returns undefined where it is not plain what the value is */
function readValue(
  { type, bare }: OptionDeclaration,
  inline: string | undefined,
  next: string | undefined,
): { value: string | true; tookNext: boolean } | undefined {
  if (type === 'boolean')
    return inline === undefined && !TRUTH.includes(next ?? '') ? { value: true, tookNext: false } : undefined;
  // An option whose value may be left out gets it after `=` alone.
  if (bare !== undefined && inline === undefined) return { value: '', tookNext: false };
  const value = inline ?? next;
  return value !== undefined && !UNUSUAL.test(value) ? { value, tookNext: inline === undefined } : undefined;
}

/** @returns false for what can be given but once, and is given again */
function add(flags: Record<string, unknown>, name: string, list: boolean, value: unknown): boolean {
  const before = flags[name];
  if (before !== undefined && !list) return false;
  flags[name] = list ? [...((before ?? []) as unknown[]), value] : value;
  return true;
}
