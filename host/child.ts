import { type ChildProcess, spawn } from 'node:child_process';
import { createInterface } from 'node:readline';
import type { Readable } from 'node:stream';

/** A program to be run beside this one: its name for messages, and its command line. */
export interface ChildProgram {
  name: string;
  command: readonly [file: string, ...args: string[]];
}

/** Variables of this prefix are options, which the child gets as flags only. */
const OPTION_PREFIX = 'PORTFERRY_';

/** A program that runs until it is told to stop. */
export class Child {
  /** Resolves when it has ended, for whatever cause, with that cause. */
  readonly ended: Promise<string>;
  /** Undefined when it could not be started; `ended` says why. */
  readonly pid: number | undefined;
  readonly #process: ChildProcess;
  readonly #stderr: Readable;

  /** @param log gets each line that it writes to stderr */
  constructor({ name, command: [file, ...args] }: ChildProgram, log: (line: string) => void) {
    const env = Object.fromEntries(
      Object.entries(process.env).filter(([variable]) => !variable.startsWith(OPTION_PREFIX)),
    );
    // Descriptor 3 is where docker-proxy reports; others leave it alone.
    // A group of its own: Ctrl-C is for us, and a child that gets it too would take our signal for a second one.
    this.#process = spawn(file, args, { env, detached: true, stdio: ['ignore', 'ignore', 'pipe', 'pipe'] });
    this.pid = this.#process.pid;
    this.#stderr = this.#process.stderr as Readable;
    const killAtExit = (): void => this.#kill('SIGKILL');
    process.once('exit', killAtExit);
    this.ended = this.#watch(name, log).finally(() => process.off('exit', killAtExit));
  }

  /** Asks it to stop, and makes it if it has not after `deadlineMs`. Resolves when it has ended. */
  async stop(deadlineMs: number): Promise<void> {
    this.#kill('SIGTERM');
    const timer = setTimeout(() => this.#kill('SIGKILL'), deadlineMs);
    await this.ended;
    clearTimeout(timer);
  }

  #watch(name: string, log: (line: string) => void): Promise<string> {
    let reason = '';
    createInterface({ input: this.#stderr }).on('line', (line) => {
      // Log lines are JSON; the line that says why a program ends is not.
      if (!line.startsWith('{')) reason = `: ${line}`;
      log(line);
    });
    return new Promise((resolve) => {
      this.#process.on('error', (error) => resolve(`${name} cannot be started: ${error.message}`));
      this.#process.on('close', (code, signal) =>
        resolve(`${name} ended ${signal ? `by ${signal}` : `with exit code ${code}`}${reason}`),
      );
    });
  }

  #kill(signal: NodeJS.Signals): void {
    this.#process.kill(signal);
  }
}
