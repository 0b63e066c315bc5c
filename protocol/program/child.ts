import { type ChildProcess, spawn } from 'node:child_process';
import { createInterface } from 'node:readline';
import type { Readable } from 'node:stream';
import { childEnvironment, killGroupAtExit, signalGroup } from './process-group.js';
import { LEASH_VARIABLE } from './stop-signals.js';

/** A program to be run beside this one: its name for messages, and its command line. */
export interface ChildProgram {
  name: string;
  command: readonly [file: string, ...args: string[]];
  /**
   * Whether it stops on signals as portferry's own programs do: such a one ends by itself, and resets what is
   * open, when this process has ended in whatever way. Others are killed when this process exits.
   */
  leashed?: boolean;
}

/** A program that runs until it is told to stop. What it has started itself ends with it. */
export class Child {
  /** Resolves when it has ended, for whatever cause, with that cause. */
  readonly ended: Promise<string>;
  /** Undefined when it could not be started; `ended` says why. */
  readonly pid: number | undefined;
  readonly #process: ChildProcess;
  readonly #stderr: Readable;

  /** @param log gets each line that it writes to stderr */
  constructor(program: ChildProgram, log: (line: string) => void) {
    const { name, leashed = false } = program;
    const [file, ...args] = program.command;
    const env = childEnvironment();
    if (leashed) env[LEASH_VARIABLE] = 'stdin';
    // Descriptor 3 is where docker-proxy reports; others leave it alone.
    // A group of its own: Ctrl-C is for us, and a child that gets it too would take our signal for a second one.
    const stdin = leashed ? 'pipe' : 'ignore';
    this.#process = spawn(file, args, { env, detached: true, stdio: [stdin, 'ignore', 'pipe', 'pipe'] });
    this.pid = this.#process.pid;
    this.#stderr = this.#process.stderr as Readable;
    this.ended = this.#watch(name, log);
    if (!leashed && this.pid !== undefined) killGroupAtExit(this.pid, this.ended);
  }

  /** Asks it to stop, and makes it if it has not after `deadlineMs`. Resolves when it has ended. */
  async stop(deadlineMs: number): Promise<void> {
    this.#process.kill('SIGTERM');
    const timer = setTimeout(() => this.kill(), deadlineMs);
    await this.ended;
    clearTimeout(timer);
  }

  /** Ends it, and what it has started in its process group, at once. */
  kill(): void {
    if (this.pid !== undefined) signalGroup(this.pid, 'SIGKILL');
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
      // Its own children would hold the other end of its standard error, whose close is waited for.
      this.#process.on('exit', () => this.kill());
      this.#process.on('close', (code, signal) =>
        resolve(`${name} ended ${signal ? `by ${signal}` : `with exit code ${code}`}${reason}`),
      );
    });
  }
}
