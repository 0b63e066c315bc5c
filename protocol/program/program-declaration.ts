import type { Writable } from 'node:stream';
import type { BuildReport } from './build-description.js';
import type { OptionDeclarations, OptionValues } from './declared-options.js';

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
  /** Operands that are always the same words, for completion. */
  readonly words?: readonly string[];
  readonly options: O;
  readonly examples: readonly Example[];
  /** What stands below the options in help. */
  readonly epilogue?: string;
  run(values: OptionValues<O>, operands: readonly string[], context: ProgramContext): Promise<void>;
}

export interface ProgramDeclaration {
  readonly name: string;
  readonly version: string;
  /** What --version shows beside the version, for reports of problems. */
  readonly build?: BuildReport;
  readonly describe: string;
  readonly commands: readonly CommandDeclaration[];
  readonly examples: readonly Example[];
  readonly epilogue: string;
}
