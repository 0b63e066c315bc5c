import { type ChildProcess, spawn } from 'node:child_process';
import { createInterface } from 'node:readline';
import type { Readable } from 'node:stream';
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

/** Variables of this prefix are options, which the child gets as flags only. */
const OPTION_PREFIX = 'PORTFERRY_';

/** Children that run and are not leashed: none is to outlive this process. */
const running = new Set<Child>();

function killAll(): void {
  for (const child of running) child.kill();
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
    const variables = Object.entries(process.env).filter(([variable]) => !variable.startsWith(OPTION_PREFIX));
    const env: NodeJS.ProcessEnv = Object.fromEntries(variables);
    if (leashed) env[LEASH_VARIABLE] = 'stdin';
    // Descriptor 3 is where docker-proxy reports; others leave it alone.
    // A group of its own: Ctrl-C is for us, and a child that gets it too would take our signal for a second one.
    const stdin = leashed ? 'pipe' : 'ignore';
    this.#process = spawn(file, args, { env, detached: true, stdio: [stdin, 'ignore', 'pipe', 'pipe'] });
    this.pid = this.#process.pid;
    this.#stderr = this.#process.stderr as Readable;
    this.ended = this.#watch(name, log);
    if (!leashed) this.#killAtExit();
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
    if (this.pid === undefined) return;
    try {
      process.kill(-this.pid, 'SIGKILL');
    } catch {
      // Nobody is left.
    }
  }

  #killAtExit(): void {
    if (running.size === 0) process.once('exit', killAll);
    running.add(this);
    void this.ended.then(() => {
      running.delete(this);
      if (running.size === 0) process.off('exit', killAll);
    });
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
