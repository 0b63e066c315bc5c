import type { EventEmitter } from 'node:events';
import type { Writable } from 'node:stream';
import { EXIT, type ProgramDeclaration, runProgram } from './run-program.js';

/** The part of `process` that a program needs of its process. */
export type HostingProcess = EventEmitter & {
  readonly argv: readonly string[];
  readonly env: NodeJS.ProcessEnv;
  readonly stdout: Writable;
  readonly stderr: Writable;
  exit(code: number): void;
};

/**
 * Runs a program as this process, and ends it with the program's exit code, once what was written has been
 * taken by whoever reads it, however slowly. A reader that goes away, as `head` does, is no failure.
 */
export async function runProcess(program: ProgramDeclaration, self: HostingProcess = process): Promise<void> {
  const { argv, env: environment, stdout, stderr } = self;
  let failed = false;
  const readerGone = new Set<Writable>();
  const watch = (output: Writable, onProblem: (error: NodeJS.ErrnoException) => void): void => {
    output.on('error', (error: NodeJS.ErrnoException) => {
      readerGone.add(output);
      onProblem(error);
    });
  };
  watch(stdout, (error) => {
    if (error.code === 'EPIPE' || failed) return;
    failed = true;
    stderr.write(`${program.name}: cannot write to standard output: ${error.message}\n`);
  });
  // Nobody is left who could be told.
  watch(stderr, () => {});
  let code = await runProgram(program, { args: argv.slice(2), environment, stdout, stderr });
  if (!readerGone.has(stdout)) await written(stdout);
  if (failed) code ||= EXIT.failed;
  if (!readerGone.has(stderr)) await written(stderr);
  self.exit(code);
}

/** Resolves when everything has been taken, or nothing more will be. */
function written(output: Writable): Promise<void> {
  return new Promise((resolve) => {
    output.once('error', () => resolve());
    // After all that is still buffered.
    output.write('', () => resolve());
  });
}
