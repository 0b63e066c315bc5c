import { spawn } from 'node:child_process';
import { errnoOf, OperationError } from '../../../protocol/errors.js';
import { explainDocker } from './docker-failure.js';

/** What one call of the docker command may take (ms) where it only asks its engine for something. */
const CALL_TIMEOUT_MS = 60_000;

/** Of what docker writes so many characters are kept: more than any answer that is asked for here. */
const MAX_OUTPUT = 1024 * 1024;

/** How the user's docker command is called, without a command of its own. */
export type DockerCall = readonly [file: string, ...args: string[]];

export interface CallOptions {
  /** Gives up, and ends docker, when aborted. */
  signal?: AbortSignal;
  /** In ms; 0 for however long it takes. Default: CALL_TIMEOUT_MS. */
  timeoutMs?: number;
}

export interface DockerResult {
  /** 0 when docker has done what it was asked for. */
  code: number;
  stdout: string;
  stderr: string;
}

/** The user's own docker command, so that contexts, TLS and ssh work as the user has them. Never a shell. */
export class DockerCommand {
  readonly call: DockerCall;

  constructor(call: DockerCall) {
    this.call = call;
  }

  /**
   * Runs a command of docker's.
   * @throws OperationError when there is no docker, it takes too long, or `signal` is aborted
   */
  run(
    args: readonly string[],
    { signal, timeoutMs = CALL_TIMEOUT_MS }: CallOptions = {},
  ): Promise<DockerResult> {
    const [file, ...before] = this.call;
    return new Promise((resolve, reject) => {
      const child = spawn(file, [...before, ...args], { stdio: ['ignore', 'pipe', 'pipe'] });
      const output = { stdout: '', stderr: '' };
      for (const name of ['stdout', 'stderr'] as const)
        child[name].setEncoding('utf8').on('data', (text: string) => {
          output[name] = (output[name] + text).slice(0, MAX_OUTPUT);
        });
      let problem: string | undefined;
      const end = (why: string): void => {
        problem = why;
        child.kill('SIGKILL');
      };
      const onAbort = (): void => end(`docker ${args[0]} was given up`);
      const limit = timeoutMs / 1000;
      const onTimeout = (): void =>
        end(
          `docker ${args[0]} has not ended within ${limit} s: is the engine stuck? Restart it, then try again`,
        );
      const timer = timeoutMs > 0 ? setTimeout(onTimeout, timeoutMs) : undefined;
      signal?.addEventListener('abort', onAbort);
      if (signal?.aborted) onAbort();
      const release = (): void => {
        clearTimeout(timer);
        signal?.removeEventListener('abort', onAbort);
      };
      child.once('error', (error) => {
        release();
        reject(cannotRun(file, error));
      });
      child.once('close', (code) => {
        release();
        if (problem === undefined) resolve({ code: code ?? -1, ...output });
        else reject(new OperationError(problem));
      });
    });
  }

  /**
   * Runs a command of docker's that must succeed.
   * @param what what cannot be done when it fails, such as `cannot create the container`
   * @returns what it printed, without the line's end
   * @throws OperationError with what docker said, and what to do
   */
  async must(what: string, args: readonly string[], options?: CallOptions): Promise<string> {
    const { code, stdout, stderr } = await this.run(args, options);
    if (code !== 0) throw new OperationError(explainDocker(what, stderr));
    return stdout.trim();
  }
}

function cannotRun(file: string, error: Error): OperationError {
  if (errnoOf(error) === 'ENOENT')
    return new OperationError(
      `there is no ${file} command on the PATH: install the Docker CLI, which comes with Docker Desktop, Colima and the like`,
    );
  return new OperationError(`the ${file} command cannot be run: ${error.message}`);
}
