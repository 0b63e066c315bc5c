import { readFileSync } from 'node:fs';
import { messageOf, UsageError } from '../errors.js';
import { environmentName } from './environment.js';
import { LOG_LEVELS } from './logger.js';

/** One option of a program. It can be given as flag, as environment variable, and in a configuration file. */
export interface OptionDeclaration {
  readonly type: 'string' | 'number' | 'boolean' | 'list';
  readonly describe: string;
  /** One letter, where other programs have the option by it: `w` for `-w`. */
  readonly short?: string;
  /** What help shows as default; the program itself fills it in. */
  readonly defaultDescription?: string;
  /** The value of an option that is given without one: as a flag alone, or `true` in the file. */
  readonly bare?: string;
  /** The only values allowed. */
  readonly choices?: readonly string[];
  /** The least and the greatest value of a number; the least is 0 where nothing is said. */
  readonly min?: number;
  readonly max?: number;
  /** Whether a number must be a whole one. */
  readonly whole?: boolean;
  /** An option that contradicts this one. Given in the same place it is an error, else the stronger wins. */
  readonly excludes?: string;
}

export type OptionDeclarations = Readonly<Record<string, OptionDeclaration>>;

type ValueOf<D extends OptionDeclaration> = D['type'] extends 'list'
  ? string[]
  : D['type'] extends 'boolean'
    ? boolean
    : (D['type'] extends 'number' ? number : string) | undefined;

/** What a command gets: lists are empty and booleans false where nothing was given. */
export type OptionValues<O extends OptionDeclarations> = { [K in keyof O]: ValueOf<O[K]> };

/** One place that options come from; `name` says how an option is called there, for messages. */
interface Layer {
  name(option: string): string;
  get(option: string): unknown;
}

/** Options that every command of both programs has. */
export const COMMON_OPTIONS = {
  config: { type: 'string', describe: 'Take options from this JSON file; flags and environment win over it' },
} as const satisfies OptionDeclarations;

/** What the parser itself brings, and every command has. */
export const BUILT_IN_OPTIONS = {
  help: 'Show help',
  version: 'Show version, Node.js, platform and protocol features; with --json as one document',
} as const;

/** The option of the programs that run on and log. */
export const LOG_LEVEL_OPTION = {
  type: 'string',
  describe: 'How much is logged',
  choices: LOG_LEVELS,
} as const satisfies OptionDeclaration;

/**
 * The values of `options`: a flag wins over the environment, which wins over the configuration file that the
 * option `config` names.
 *
 * @param flags what stood on the command line: a string, boolean or array of strings each
 * @param fileKeys every key that the file may have, of other commands too
 * @throws UsageError
 */
export function resolveOptions<O extends OptionDeclarations>(
  options: O,
  flags: Readonly<Record<string, unknown>>,
  environment: NodeJS.ProcessEnv,
  fileKeys: ReadonlySet<string>,
): OptionValues<O> {
  const layers: Layer[] = [
    { name: (option) => `--${option}`, get: (option) => flags[option] },
    { name: environmentName, get: (option) => environment[environmentName(option)] || undefined },
  ];
  const config = layers.map((layer) => layer.get('config')).find((value) => value !== undefined);
  if (config !== undefined) layers.push(fileLayer(text('--config', config), fileKeys));
  const values: Record<string, unknown> = {};
  for (const [name, declaration] of Object.entries(options))
    values[name] = resolveOption(name, declaration, layers);
  return values as OptionValues<O>;
}

function resolveOption(name: string, declaration: OptionDeclaration, layers: readonly Layer[]): unknown {
  for (const layer of layers) {
    const given = layer.get(name);
    const rival = declaration.excludes;
    const contradicted = rival !== undefined && layer.get(rival) !== undefined;
    if (given !== undefined) {
      if (contradicted)
        throw new UsageError(`${layer.name(name)} and ${layer.name(rival)} exclude each other`);
      return convert(layer.name(name), declaration, given);
    }
    if (contradicted) break;
  }
  if (declaration.type === 'list') return [];
  return declaration.type === 'boolean' ? false : undefined;
}

function convert(name: string, declaration: OptionDeclaration, given: unknown): unknown {
  switch (declaration.type) {
    case 'boolean':
      return truth(name, given);
    case 'number':
      return number(name, declaration, given);
    case 'list':
      return list(name, given);
    default:
      if (declaration.bare !== undefined && (given === '' || given === true)) return declaration.bare;
      return choice(name, declaration, text(name, given));
  }
}

function truth(name: string, given: unknown): boolean {
  if (given === true || given === 'true' || given === '1') return true;
  if (given === false || given === 'false' || given === '0') return false;
  throw new UsageError(`${name} must be true or false, not ${JSON.stringify(given)}`);
}

function number(name: string, declaration: OptionDeclaration, given: unknown): number {
  const { min = 0, max = Number.MAX_VALUE, whole = false } = declaration;
  const value = typeof given === 'number' ? given : Number(text(name, given));
  if (value >= min && value <= max && (!whole || Number.isInteger(value))) return value;
  throw new UsageError(`${name} must be ${describeRange(declaration)}, not ${JSON.stringify(given)}`);
}

/** `a number of at least 0 and at most 86400`: for messages and for help. */
export function describeRange({ min = 0, max, whole = false }: OptionDeclaration): string {
  const most = max === undefined ? '' : ` and at most ${max}`;
  return `a ${whole ? 'whole ' : ''}number of at least ${min}${most}`;
}

/** Flags and the file give lists as arrays; in the environment commas or spaces stand between the entries. */
function list(name: string, given: unknown): string[] {
  const entries = typeof given === 'string' ? given.split(/[,\s]+/).filter((entry) => entry !== '') : given;
  if (Array.isArray(entries) && entries.every((entry) => typeof entry === 'string')) return entries;
  throw new UsageError(`${name} must be a list of strings, not ${JSON.stringify(given)}`);
}

function text(name: string, given: unknown): string {
  if (typeof given === 'string' && given !== '') return given;
  if (Array.isArray(given))
    throw new UsageError(`${name} is given ${given.length} times, it can be given once`);
  throw new UsageError(`${name} must be a string that is not empty, not ${JSON.stringify(given)}`);
}

function choice(name: string, { choices }: OptionDeclaration, given: string): string {
  if (!choices || choices.includes(given)) return given;
  throw new UsageError(`${name} must be one of ${choices.join(', ')}, not ${JSON.stringify(given)}`);
}

function fileLayer(path: string, keys: ReadonlySet<string>): Layer {
  const values = readConfiguration(path);
  for (const key of Object.keys(values)) {
    if (!keys.has(key) || key === 'config')
      throw new UsageError(
        `unknown key "${key}" in the configuration file ${path}: known are ${[...keys].filter((known) => known !== 'config').join(', ')}`,
      );
  }
  return {
    name: (option) => `"${option}" in ${path}`,
    get: (option) => (Object.hasOwn(values, option) ? values[option] : undefined),
  };
}

function readConfiguration(path: string): Record<string, unknown> {
  let values: unknown;
  try {
    values = JSON.parse(readFileSync(path, 'utf8'));
  } catch (thrown) {
    const problem = thrown instanceof SyntaxError ? 'is not valid JSON' : 'cannot be read';
    throw new UsageError(`the configuration file ${path} ${problem}: ${messageOf(thrown)}`);
  }
  if (typeof values !== 'object' || values === null || Array.isArray(values))
    throw new UsageError(
      `the configuration file ${path} must hold one JSON object of options, such as {"hold": 5}`,
    );
  return values as Record<string, unknown>;
}
