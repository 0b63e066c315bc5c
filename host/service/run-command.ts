import { execFile } from 'node:child_process';
import { errnoOf, OperationError } from '../../protocol/errors.js';

/** What a program that was run has said. */
export interface CommandResult {
  /** 0 when it has done what it was asked for. */
  code: number;
  stdout: string;
  stderr: string;
}

/** Runs a program, without a shell. */
export type RunCommand = (file: string, args: readonly string[]) => Promise<CommandResult>;

/** Far more (ms) than a manager of services takes to answer. */
const TIMEOUT_MS = 60_000;

/**
 * Runs a program.
 * @throws OperationError when the program cannot be started, or does not end in time (ms)
 */
export const runCommand = (
  file: string,
  args: readonly string[],
  timeoutMs = TIMEOUT_MS,
): Promise<CommandResult> =>
  new Promise((resolve, reject) => {
    execFile(file, [...args], { timeout: timeoutMs }, (error, stdout, stderr) => {
      if (!error) resolve({ code: 0, stdout, stderr });
      else if (typeof error.code === 'number') resolve({ code: error.code, stdout, stderr });
      else if (error.killed)
        reject(new OperationError(`${[file, ...args].join(' ')} has not ended within ${timeoutMs / 1000} s`));
      else if (errnoOf(error) === 'ENOENT')
        reject(
          new OperationError(`there is no program ${file} on the PATH: this system has no such services`),
        );
      else reject(new OperationError(`${file} cannot be run: ${error.message}`));
    });
  });
